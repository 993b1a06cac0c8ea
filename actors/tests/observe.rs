//! What is observed of services: minutes of history, rhythm, and what is shown of changes.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use supervisor_actors::feed::{News, Reader};
use supervisor_actors::handle::Inform;
use supervisor_actors::ports::Clock as _;
use supervisor_actors::testing::{Running, Script, Stage, alive, external, settle};
use supervisor_core::Level;
use supervisor_core::rhythm::Trend;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[actix_rt::test(system = "supervisor_actors::testing::PausedSystem")]
async fn each_minute_of_each_service_is_kept_once() {
    let stage = Stage::new();
    let universe = stage
        .start(vec![
            external("steady", secs(10)),
            external("silent", secs(10)),
        ])
        .await;
    for _ in 0..30 {
        universe.pulse("steady");
        sleep(secs(10)).await;
    }
    let minutes = stage.history.of("steady");
    assert!((4..=5).contains(&minutes.len()), "{minutes:?}");
    for pair in minutes.windows(2) {
        assert_eq!(pair[0].0 + 1, pair[1].0);
    }
    let (_, whole) = &minutes[2];
    assert_eq!((whole.pulses, whole.errors, whole.misses), (6, 0, 0));
    assert!((59_000..=61_000).contains(&whole.levels[0]), "{whole:?}");
    let gaps = whole.gaps.expect("gaps");
    assert!(
        (gaps.min - 10.0).abs() < 0.1 && (gaps.max - 10.0).abs() < 0.1,
        "{gaps:?}"
    );
    let silent = stage.history.of("silent");
    let all: u64 = silent.iter().map(|(_, slice)| slice.misses).sum();
    assert!((20..=30).contains(&all), "{silent:?}");
    assert!(silent[3].1.uptime() < Some(0.1), "{:?}", silent[3]);
    let names: Vec<_> = stage.history.of("internal.supervisor");
    assert_eq!(names, [], "our own actors have no history");
}

#[actix_rt::test(system = "supervisor_actors::testing::PausedSystem")]
async fn the_minute_under_way_is_kept_when_we_stop() {
    let stage = Stage::new();
    let universe = stage.start(vec![external("a", secs(10))]).await;
    universe.pulse("a");
    sleep(secs(3)).await;
    universe.supervisor.shutdown(false).await;
    let pulses: u64 = stage
        .history
        .of("a")
        .iter()
        .map(|(_, slice)| slice.pulses)
        .sum();
    assert_eq!(pulses, 1);
}

#[actix_rt::test(system = "supervisor_actors::testing::PausedSystem")]
async fn f24_a_minute_ends_where_the_machine_was_suspended() {
    let stage = Stage::new();
    let universe = stage.start(vec![external("a", secs(10))]).await;
    universe.pulse("a");
    sleep(secs(70)).await;
    let before = stage.clock.wall();
    stage.clock.suspend(secs(3_600));
    sleep(secs(70)).await;
    let (mut until, mut lacking) = (None::<i64>, Vec::new());
    for minutes in stage.history.minutes() {
        let (since, end) = (minutes.since.0, minutes.until.0);
        assert!(end - since <= 61_000_000, "{minutes:?}");
        let known: Vec<u64> = minutes
            .slices
            .iter()
            .map(|(_, one)| one.covered())
            .collect();
        assert!(
            known
                .iter()
                .all(|ms| ms.abs_diff((end - since) as u64 / 1_000) < 1_500),
            "{minutes:?}"
        );
        if let Some(until) = until
            && since - until > 1_000_000
        {
            lacking.push((until, since));
        }
        until = Some(end);
    }
    let [(from, to)] = lacking[..] else {
        panic!("one stretch is lacking: {lacking:?}");
    };
    assert!((from - before.0).abs() < 2_000_000, "{from} {before:?}");
    assert!((to - from - 3_600_000_000).abs() < 2_000_000, "{from} {to}");
}

#[actix_rt::test(system = "supervisor_actors::testing::PausedSystem")]
async fn one_that_leaves_keeps_the_minute_under_way() {
    let stage = Stage::new();
    let universe = stage.start(vec![]).await;
    let name = supervisor_core::ServiceName::new("late").expect("a name");
    let says = supervisor_actors::registration::Registration::new(name.clone(), secs(10));
    let answer = universe.supervisor.register(says).await;
    answer.expect("answers").expect("registered");
    universe.pulse("late");
    sleep(secs(5)).await;
    universe.pulse("late");
    settle().await;
    let answer = universe.supervisor.unregister(&name).await;
    answer.expect("answers").expect("gone").expect("recorded");
    sleep(secs(120)).await;
    let minutes = stage.history.of("late");
    let pulses: u64 = minutes.iter().map(|(_, slice)| slice.pulses).sum();
    assert_eq!((minutes.len(), pulses), (1, 2), "{minutes:?}");
    assert!(
        (4_900..=5_200).contains(&minutes[0].1.covered()),
        "{minutes:?}"
    );
}

#[actix_rt::test(system = "supervisor_actors::testing::PausedSystem")]
async fn one_that_slows_down_is_told_of_long_before_it_is_late() {
    let stage = Stage::new();
    let universe = stage.start(vec![external("drifter", secs(30))]).await;
    for n in 0..60 {
        universe.pulse("drifter");
        // A little unevenness, as everything has.
        sleep(Duration::from_millis(14_800 + (n * 37) % 400)).await;
    }
    let view = universe.view("drifter").await;
    assert_eq!(
        (view.trend, view.predicted_miss_at),
        (Some(Trend::Steady), None)
    );
    let suspicion = view.suspicion.expect("it is known well");
    assert!(suspicion < 3.0, "{suspicion}");
    let mut gap = 15_000.0_f64;
    let mut told = None;
    for beat in 0..150 {
        gap *= 1.005;
        universe.pulse("drifter");
        sleep(Duration::from_millis(gap as u64)).await;
        let view = universe.view("drifter").await;
        assert_eq!(view.status, Level::Healthy, "beat {beat}");
        if view.trend == Some(Trend::Slowing) && told.is_none() {
            told = Some(beat);
        }
        if view.predicted_miss_at.is_some() && told.is_some_and(|told| beat > told + 5) {
            break;
        }
    }
    let told = told.expect("it was told of");
    assert!(told <= 58, "told at beat {told}");
    let open = universe.alerts.open().await.expect("the alerter answers");
    let alert = open
        .iter()
        .find(|alert| alert.subject.to_string() == "drifter");
    let alert = alert.expect("there is an alert");
    assert_eq!(alert.level, Level::Warning);
    assert!(alert.reason.contains("slows down"), "{}", alert.reason);
    let noted = universe.events("drifter").await;
    assert!(noted.iter().any(|event| event.kind == "alert"), "{noted:?}");
}

#[actix_rt::test(system = "supervisor_actors::testing::PausedSystem")]
async fn a_new_life_or_a_pause_is_no_gap() {
    let stage = Stage::new();
    let universe = stage.start(vec![external("a", secs(10))]).await;
    for _ in 0..3 {
        universe.pulse("a");
        sleep(secs(10)).await;
    }
    universe.pulse("a");
    settle().await;
    let name = supervisor_core::ServiceName::new("a").expect("a name");
    let order = supervisor_actors::messages::Verb::Pause(None);
    universe
        .supervisor
        .control(&name, order)
        .await
        .expect("answers")
        .expect("done");
    sleep(secs(300)).await;
    let order = supervisor_actors::messages::Verb::Resume;
    universe
        .supervisor
        .control(&name, order)
        .await
        .expect("answers")
        .expect("done");
    for _ in 0..8 {
        universe.pulse("a");
        sleep(secs(10)).await;
    }
    let longest = stage.history.of("a").into_iter();
    let longest = longest
        .filter_map(|(_, slice)| Some(slice.gaps?.max))
        .fold(0.0, f64::max);
    assert!(longest < 11.0, "{longest}");
}

#[actix_rt::test(system = "supervisor_actors::testing::PausedSystem")]
async fn of_a_service_that_pulses_often_the_latest_is_shown() {
    let stage = Stage::new();
    let universe = stage.start(vec![external("a", secs(10))]).await;
    let mut reader = universe.feed.read();
    for _ in 0..1_000 {
        universe.pulse("a");
        sleep(Duration::from_millis(5)).await;
    }
    sleep(secs(1)).await;
    let items = reader.next(1_000).expect("all is kept");
    let shown: Vec<u64> = items
        .iter()
        .filter_map(|item| match &item.news {
            News::Service(view) if view.name.as_str() == "a" => Some(view.total_pulses),
            News::Service(_) | News::Removed(_) | News::Event(_) | News::Alert(_) => None,
        })
        .collect();
    assert_eq!(shown, [1_000]);
    drop(reader);
    sleep(secs(70)).await;
    assert!(!universe.feed.is_on(), "nobody looks on any more");
}

#[actix_rt::test(system = "supervisor_actors::testing::PausedSystem")]
async fn how_long_a_silence_has_lasted_is_shown_again_and_again() {
    let stage = Stage::new();
    let universe = stage
        .start(vec![external("a", secs(1)), external("b", secs(1_000))])
        .await;
    universe.pulse("a");
    universe.pulse("b");
    // Critical for long: nothing will happen to it any more.
    sleep(secs(60)).await;
    let mut reader = universe.feed.read();
    sleep(secs(35)).await;
    let items = reader.next(1_000).expect("all is kept");
    let shown = |name: &str| {
        let of_it = items.iter().filter_map(|item| match &item.news {
            News::Service(view) if view.name.as_str() == name => Some(view.missed),
            News::Service(_) | News::Removed(_) | News::Event(_) | News::Alert(_) => None,
        });
        of_it.collect::<Vec<_>>()
    };
    let missed = shown("a");
    assert!(missed.last() >= Some(&85), "{missed:?}");
    assert_eq!(shown("b"), [0_u32; 0], "it is well");
}

#[actix_rt::test(system = "supervisor_actors::testing::PausedSystem")]
async fn a_change_is_shown_at_once_whatever_others_do_and_further_ones_wait() {
    let stage = Stage::new();
    let specs = vec![external("busy", secs(10)), external("a", secs(10))];
    let universe = stage.start(specs).await;
    universe.pulse("a");
    let reader = universe.feed.read();
    let shown = Rc::new(RefCell::new(Vec::new()));
    let looking = actix_rt::spawn(look_on(reader, Rc::clone(&shown)));
    let began = Instant::now();
    let busy = {
        let busy = universe.directory.get("busy").expect("watched");
        let clock = Arc::clone(&stage.clock);
        actix_rt::spawn(async move {
            loop {
                busy.pulse(clock.mono()).expect("taken");
                sleep(Duration::from_millis(5)).await;
            }
        })
    };
    // In every phase of the rhythm in which the other one is shown.
    for round in 0..10_u64 {
        sleep(secs(2) + Duration::from_millis(27 * round)).await;
        let told = Instant::now();
        fail(&universe, &stage).await;
        sleep(Duration::from_millis(200)).await;
        let first = shown
            .borrow()
            .iter()
            .copied()
            .find(|(at, name, level)| *at >= told && *name == 'a' && *level == Level::Warning);
        let waited = first.expect("it is shown").0 - told;
        assert!(waited < Duration::from_millis(40), "{round}: {waited:?}");
        universe.pulse("a");
    }
    // One whose level changes all the time.
    sleep(secs(1)).await;
    let flaps = Instant::now();
    for _ in 0..150 {
        fail(&universe, &stage).await;
        sleep(Duration::from_millis(10)).await;
        universe.pulse("a");
        sleep(Duration::from_millis(10)).await;
    }
    let lasted = flaps.elapsed().as_secs_f64();
    sleep(secs(1)).await;
    let times = |wanted: char, from: Instant| {
        let shown = shown.borrow();
        let of_it = shown.iter().filter(|(_, name, _)| *name == wanted);
        of_it.filter(|(at, ..)| *at >= from).count() as f64
    };
    assert!(
        times('a', flaps) <= 4.0 * lasted + 2.0,
        "{}",
        times('a', flaps)
    );
    assert!(times('a', flaps) >= 3.0 * lasted, "{}", times('a', flaps));
    let all = began.elapsed().as_secs_f64();
    assert!(
        times('b', began) <= 4.0 * all + 2.0,
        "{}",
        times('b', began)
    );
    let (_, _, last) = *shown.borrow().last().expect("something");
    assert_eq!(last, Level::Healthy);
    busy.abort();
    looking.abort();
}

async fn fail(universe: &Running, stage: &Stage) {
    let a = universe.directory.get("a").expect("watched");
    let error = Inform::Error {
        message: "broken".to_owned(),
        critical: false,
    };
    a.inform(stage.clock.mono(), error).await.expect("taken");
}

/// Notes when which service is shown, by the first letter of its name, and how it is.
async fn look_on(mut reader: Reader, shown: Rc<RefCell<Vec<(Instant, char, Level)>>>) {
    loop {
        for item in reader.next(1_000).expect("all is kept") {
            if let News::Service(view) = &item.news
                && let Some(letter) = view.name.as_str().chars().next()
                && !view.name.is_internal()
            {
                shown
                    .borrow_mut()
                    .push((Instant::now(), letter, view.status));
            }
        }
        reader.wait().await;
    }
}

#[actix_rt::test(system = "supervisor_actors::testing::PausedSystem")]
async fn memory_is_weighed_each_minute_and_more_often_while_somebody_looks() {
    let stage = Stage::new();
    let eats = |memory| Script {
        memory,
        ..Script::default()
    };
    stage.machine.script("eater", eats(5 << 20));
    let universe = stage
        .start(vec![alive("eater"), external("other", secs(10))])
        .await;
    sleep(secs(65)).await;
    assert_eq!(universe.view("eater").await.memory, Some(5 << 20));
    assert_eq!(universe.view("other").await.memory, None);
    // Asked for just now.
    stage.machine.script("eater", eats(7 << 20));
    sleep(secs(7)).await;
    assert_eq!(universe.view("eater").await.memory, Some(7 << 20));
    // Who looks on is told, and of what is nearly the same not.
    let mut reader = universe.feed.read();
    stage.machine.script("eater", eats(9 << 20));
    sleep(secs(7)).await;
    stage.machine.script("eater", eats((9 << 20) + 5_000));
    sleep(secs(7)).await;
    let told = |reader: &mut Reader| -> Vec<Option<u64>> {
        let items = reader.next(1_000).expect("all is kept");
        let of = |news: &News| match news {
            News::Service(view) if view.name.as_str() == "eater" => Some(view.memory),
            News::Service(_) | News::Removed(_) | News::Event(_) | News::Alert(_) => None,
        };
        items.iter().filter_map(|item| of(&item.news)).collect()
    };
    assert_eq!(told(&mut reader), [Some(9 << 20)]);
    // Another process is another weight.
    stage.machine.exit("eater", 1);
    sleep(Duration::from_millis(500)).await;
    assert_eq!(told(&mut reader).last(), Some(&None));
    drop(reader);
    sleep(secs(120)).await;
    let (before, _) = stage.machine.weighings();
    sleep(secs(600)).await;
    let (after, _) = stage.machine.weighings();
    assert!((9..=11).contains(&(after - before)), "{}", after - before);
}

#[actix_rt::test(system = "supervisor_actors::testing::PausedSystem")]
async fn many_are_weighed_some_at_a_time_and_all_in_the_end() {
    let stage = Stage::new();
    let names: Vec<String> = (0..1_000).map(|n| format!("s{n}")).collect();
    for name in &names {
        let script = Script {
            memory: 3 << 20,
            ..Script::default()
        };
        stage.machine.script(name, script);
    }
    let universe = stage
        .start(names.iter().map(|name| alive(name)).collect())
        .await;
    sleep(secs(15)).await;
    for name in &names {
        assert_eq!(universe.view(name).await.memory, Some(3 << 20), "{name}");
    }
    assert_eq!(stage.machine.weighings().1, 256);
}
