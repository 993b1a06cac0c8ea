//! Exact pictures.

use super::*;

const PLAIN: Look = Look {
    color: false,
    terminal: false,
    json: false,
};
const PIPE: Room = Room {
    width: None,
    height: None,
};

fn services() -> Vec<Service> {
    serde_json::from_str(
        r#"[
        {"name":"worker","status":"healthy","state":"running","pid":4711,"generation":1,
         "interval":5.0,"age":2.34,"missed":0,"restarts":0,"reason":"","uptime":130.0,
         "total_pulses":61,"error_count":0,"consecutive_failures":0,"critical":true,
         "last_heartbeat":"2026-01-02T18:30:00Z","freshness":"fresh",
         "started_at":"2026-01-02T18:27:50Z","message":null,"tags":[],"depends_on":[]},
        {"name":"hangs","status":"critical","state":"running","pid":4712,"generation":3,
         "interval":2.0,"age":11.0,"missed":5,"restarts":2,
         "reason":"no pulse for 11 s, critical after 10.2 s","uptime":61.0,
         "total_pulses":9,"error_count":1,"consecutive_failures":5,"critical":true,
         "last_heartbeat":"2026-01-02T18:29:51Z","freshness":"very_stale",
         "started_at":"2026-01-02T18:29:01Z","message":"step 3","cycle":7,"progress":0.5,
         "run":{"rid":"7","started_at":"2026-01-02T18:29:56Z","running_for":4.0},
         "last_run":{"rid":null,"outcome":"failure","exit_code":3,"duration":2.5,"message":"disk full",
                     "started_at":null,"ended_at":"2026-01-02T18:29:50Z"},
         "metrics":{"queue":{"value":12.0,"count":3,"min":-1.0,"mean":3.6666667,"max":12.0},
                    "rows":{"value":1e-9,"count":1,"min":1e-9,"mean":1e-9,"max":1e-9}},
         "tags":["core","demo"],"depends_on":["worker"]},
        {"name":"crashes","status":"warning","state":"backoff","pid":null,"generation":8,
         "interval":null,"age":null,"missed":0,"restarts":7,
         "reason":"it exited with code 1","next_start_in":2.0,"critical":false,
         "total_pulses":0,"error_count":0,"consecutive_failures":1,"tags":[],"depends_on":[]},
        {"name":"internal.archive","status":"healthy","state":"running","interval":10.0,"age":1.0,
         "missed":0,"restarts":0,"reason":"","tags":[],"depends_on":[]}
        ]"#,
    )
    .unwrap()
}

fn picture(look: Look, room: Room) -> String {
    let services = services();
    table(&services.iter().take(3).collect::<Vec<_>>(), look, room)
}

#[test]
fn a_pipe_gets_everything_uncut_and_uncoloured() {
    assert_eq!(
        picture(PLAIN, PIPE),
        "\
NAME     LEVEL     STATE    AGE / INTERVAL  MISSED   PID  UPTIME  RESTARTS  REASON
worker   healthy   running  2.3 s / 5 s          0  4711  2m 10s         0
hangs    critical  running  11 s / 2 s           5  4712   1m 1s         2  no pulse for 11 s, critical after 10.2 s
crashes  warning   backoff  -                    0     -       -         7  it exited with code 1; next start in 2 s"
    );
}

#[test]
fn one_that_pulses_on_demand_shows_its_age_and_no_promise() {
    let [mut worker, ..] = <[Service; 4]>::try_from(services()).unwrap();
    worker.interval = None;
    assert_eq!(age(&worker), "2.3 s");
    // One that pulses by living.
    worker.age = Some(0.0);
    assert_eq!(age(&worker), "-");
}

fn within(width: u16, height: Option<u16>) -> String {
    let room = Room {
        width: Some(width),
        height,
    };
    let picture = picture(PLAIN, room);
    for line in picture.lines() {
        assert!(line.chars().count() <= usize::from(width), "{picture}");
    }
    picture
}

#[test]
fn reasons_wrap_at_the_terminals_edge() {
    assert_eq!(
        within(110, None),
        "\
NAME     LEVEL     STATE    AGE / INTERVAL  MISSED   PID  UPTIME  RESTARTS  REASON
worker   healthy   running  2.3 s / 5 s          0  4711  2m 10s         0
hangs    critical  running  11 s / 2 s           5  4712   1m 1s         2  no pulse for 11 s, critical after
                                                                            10.2 s
crashes  warning   backoff  -                    0     -       -         7  it exited with code 1; next start
                                                                            in 2 s"
    );
}

#[test]
fn where_nothing_may_scroll_reasons_are_cut() {
    assert_eq!(
        within(110, Some(24)),
        "\
NAME     LEVEL     STATE    AGE / INTERVAL  MISSED   PID  UPTIME  RESTARTS  REASON
worker   healthy   running  2.3 s / 5 s          0  4711  2m 10s         0
hangs    critical  running  11 s / 2 s           5  4712   1m 1s         2  no pulse for 11 s, critical after…
crashes  warning   backoff  -                    0     -       -         7  it exited with code 1; next start…"
    );
}

#[test]
fn narrow_terminals_lose_the_lesser_columns_first() {
    assert_eq!(
        within(80, Some(24)),
        "\
NAME     LEVEL     STATE    AGE / INTERVAL   PID  RESTARTS  REASON
worker   healthy   running  2.3 s / 5 s     4711         0
hangs    critical  running  11 s / 2 s      4712         2  no pulse for 11 s,…
crashes  warning   backoff  -                  -         7  it exited with code…"
    );
    assert_eq!(
        within(72, Some(24)),
        "\
NAME     LEVEL     STATE    AGE / INTERVAL   PID  REASON
worker   healthy   running  2.3 s / 5 s     4711
hangs    critical  running  11 s / 2 s      4712  no pulse for 11 s, cr…
crashes  warning   backoff  -                  -  it exited with code 1…"
    );
    assert_eq!(
        within(52, Some(24)),
        "\
NAME     LEVEL     STATE    REASON
worker   healthy   running
hangs    critical  running  no pulse for 11 s, crit…
crashes  warning   backoff  it exited with code 1;…"
    );
}

#[test]
fn levels_have_a_colour_and_a_word() {
    let look = Look {
        color: true,
        ..PLAIN
    };
    let picture = picture(look, PIPE);
    let line = |n: usize| picture.lines().nth(n).unwrap().to_owned();
    assert!(line(1).contains("\x1b[38;5;2mhealthy"), "{picture:?}");
    assert!(line(2).contains("critical"), "{picture:?}");
    assert!(
        line(2).contains("\x1b[38;5;9m") || line(2).contains("\x1b[38;5;1m"),
        "{picture:?}"
    );
    assert!(line(3).contains("\x1b[38;5;3mwarning"), "{picture:?}");
    assert!(!PLAIN.color && !super::table(&[], PLAIN, PIPE).contains('\x1b'));
}

#[test]
fn f13_what_services_say_cannot_move_the_cursor() {
    let mut evil = services();
    for service in &mut evil {
        service.name = "a\x1b[2Jb".to_owned();
        service.status = "crit\0ical".to_owned();
        service.state = "\u{9b}31m".to_owned();
        service.reason = Some("two\nlines\x1b]0;owned\x07".to_owned());
        service.message = Some("\u{202e}".to_owned());
        service.blocked_by = Some("1 (\r)".to_owned());
        service.tags = vec!["\x08".to_owned()];
        service.last_heartbeat = Some("\x1bc".to_owned());
        service.freshness = Some("\x1bc".to_owned());
        service.started_at = Some("\x1bc".to_owned());
        service.metrics = [("\x1bc".to_owned(), Default::default())].into();
    }
    let all: Vec<_> = evil.iter().collect();
    let narrow = Room {
        width: Some(60),
        height: Some(10),
    };
    let shown = [
        table(&all, PLAIN, PIPE),
        table(&all, PLAIN, narrow),
        card(&evil[1], PLAIN),
        summary(&all, PLAIN),
    ];
    for text in shown {
        for line in text.lines() {
            assert_eq!(super::escape(line), line);
        }
    }
}

#[test]
fn the_summary_puts_the_worst_first() {
    let services = services();
    let all: Vec<_> = services.iter().collect();
    assert_eq!(summary(&all, PLAIN), "1 critical, 1 warning, 2 healthy");
    assert_eq!(summary(&[], PLAIN), "no services");
}

#[test]
fn the_end_of_the_output_stands_below_the_card_and_moves_no_cursor() {
    assert_eq!(last_output("\n \n"), "");
    let long = "x".repeat(1_000);
    assert_eq!(
        last_output(&format!("one\n\n\u{1b}[2Jtwo\n{long}")),
        format!(
            "  last output\n    one\n    \\x1b[2Jtwo\n    {}…\n",
            &long[1..LAST_OUTPUT_WIDTH]
        )
    );
}

#[test]
fn a_card_tells_all_that_is_known() {
    let services = services();
    assert_eq!(
        card(&services[1], PLAIN),
        "\
hangs: critical, running
  reason       no pulse for 11 s, critical after 10.2 s
  process      pid 4712, generation 3, up 1m 1s (since 2026-01-02T18:29:01Z)
  last pulse   11 s ago (2026-01-02T18:29:51Z), expected every 2 s, 5 missed, very stale
  pulses       9, 1 error, 5 in a row missed or failed
  run          under way for 4 s
  last run     failure with exit code 3, took 2.5 s (2026-01-02T18:29:50Z): disk full
  restarts     2
  message      step 3
  progress     cycle 7, 0.5
  metrics      queue 12 (mean 3.667, -1 to 12); rows 1e-9
  depends on   worker
  tags         core, demo
"
    );
    assert_eq!(
        card(&services[2], PLAIN),
        "\
crashes: warning, backoff
  reason       it exited with code 1
  next         next start in 2 s
  process      generation 8
  last pulse   never
  pulses       0, 0 errors, 1 in a row missed or failed
  restarts     7
  critical     no: counts for degraded at most
"
    );
}
