//! Pulses from heartbeat files, pauses from pause files and ESTOP.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::common::World;
use crate::common::script::{command, sh};
use crate::common::wait::{wait_until, watch_for};

/// Writes a Deacon's heartbeat as its own program does, in place; keeps the cycle moving.
const BEAT: &str = r#"
beat() {
    mkdir -p deacon
    n=$((n + 1))
    printf '{\n  "timestamp": "%s",\n  "cycle": %d,\n  "healthy_agents": 3,\n  "unhealthy_agents": 0\n}' \
        "$(date -u +%FT%TZ)" "$n" >deacon/heartbeat.json
}
"#;

const FILE: &str = "heartbeat_file = \"deacon/heartbeat.json\"\n";

/// A heartbeat of so many seconds ago; negative for the future.
fn heartbeat(world: &World, seconds_ago: i64, cycle: u32) {
    let date = std::process::Command::new("date")
        .args(["-u", "-d", &format!("{seconds_ago} seconds ago"), "+%FT%TZ"])
        .output()
        .expect("date");
    let date = String::from_utf8(date.stdout).expect("a date");
    write(
        &world.file("deacon/heartbeat.json"),
        &format!("{{\"timestamp\":\"{}\",\"cycle\":{cycle}}}", date.trim()),
    );
}

fn write(file: &Path, text: &str) {
    fs::create_dir_all(file.parent().expect("a directory")).expect("made");
    fs::write(file, text).expect("written");
}

#[test]
fn a_deacon_that_writes_is_healthy_and_its_silence_turns_it_critical_and_gets_it_restarted() {
    let script =
        format!("{BEAT}\nwhile [ ! -e hang ]; do beat; sleep 0.1; done\nrm hang; exec sleep 1000");
    let world = World::plan()
        .service(
            "deacon",
            &format!("{}interval = \"300ms\"\n{FILE}", sh(&script)),
        )
        .start();
    let first = world.wait_healthy("deacon");
    watch_for(Duration::from_secs(2), || {
        assert_eq!(world.service("deacon").generation, first.generation);
    });
    assert!(world.service("deacon").total_pulses >= 10);
    fs::write(world.file("hang"), "").expect("written");
    world.wait_event("critical by silence", |event| {
        event.service == "deacon" && event.to.as_deref() == Some("critical")
    });
    world.wait_event("poked", |event| {
        event.service == "deacon"
            && event.kind == "restarted"
            && event.to.as_deref() == Some("stale")
    });
    world.wait_for("deacon", "its next life is healthy", |service| {
        service.generation > first.generation && service.status == "healthy"
    });
}

#[test]
fn a_deacon_that_others_run_is_poked_by_its_restart_command() {
    let plan = World::plan();
    let beat = plan.dir().join("beat.sh");
    fs::write(
        &beat,
        format!("n=0\n{BEAT}\nwhile [ -e go ]; do beat; sleep 0.1; done\n"),
    )
    .expect("written");
    let world = plan
        .service(
            "deacon",
            &format!(
                "interval = \"1s\"\n{FILE}restart_command = [\"sh\", \"-c\", \"echo poked >>poked\"]\n"
            ),
        )
        .start();
    fs::write(world.file("go"), "").expect("written");
    let mut loop_ = std::process::Command::new("sh")
        .arg(&beat)
        .current_dir(world.dir())
        .spawn()
        .expect("a loop");
    world.wait_healthy("deacon");
    watch_for(Duration::from_secs(2), || {
        assert_eq!(world.service("deacon").status, "healthy");
    });
    fs::remove_file(world.file("go")).expect("removed");
    loop_.wait().expect("ended");
    world.wait_for("deacon", "critical", |service| service.status == "critical");
    world.wait_event("its restart command", |event| {
        event.service == "deacon" && event.kind == "restarted"
    });
    wait_until("the poke", || {
        (!world.read("poked").is_empty()).then_some(())
    });
}

#[test]
fn a_deacon_is_judged_by_its_timestamp_at_first_sight() {
    for (seconds, status) in [(30, "healthy"), (180, "warning"), (400, "critical")] {
        let plan = World::plan();
        let mut world = plan
            .service(
                "deacon",
                &format!("profile = \"deacon\"\ninterval = \"1m\"\n{FILE}"),
            )
            .prepare();
        heartbeat(&world, seconds, 1);
        world.start();
        let service = world.wait_for("deacon", status, |service| service.status == status);
        assert!(
            service.age.is_some_and(|age| age >= seconds as f64 - 1.0),
            "{service:?}"
        );
        assert_eq!(service.total_pulses, 0);
        // A change while we run is a pulse, however old its timestamp is.
        heartbeat(&world, 500, 2);
        let service = world.wait_for("deacon", "healthy", |service| service.total_pulses == 1);
        assert_eq!(service.status, "healthy");
    }
}

#[test]
fn a_fresh_process_is_not_judged_by_the_old_file_of_its_predecessor() {
    let plan = World::plan();
    let script = format!(
        "n=0\n{BEAT}\nwhile [ ! -e go ]; do sleep 0.1; done\nwhile :; do beat; sleep 0.2; done"
    );
    let mut world = plan
        .service(
            "deacon",
            &format!(
                "{}interval = \"10s\"\nstart_grace = \"1m\"\n{FILE}",
                sh(&script)
            ),
        )
        .prepare();
    heartbeat(&world, 3_600, 7);
    world.start();
    world.wait_for("deacon", "started", |service| service.pid.is_some());
    watch_for(Duration::from_secs(2), || {
        let service = world.service("deacon");
        assert_eq!(
            (service.state.as_str(), service.status.as_str()),
            ("starting", "unknown")
        );
        assert_eq!((service.generation, service.total_pulses), (1, 0));
    });
    fs::write(world.file("go"), "").expect("written");
    let service = world.wait_healthy("deacon");
    assert_eq!(service.generation, 1);
}

#[test]
fn f26_a_timestamp_from_the_future_is_received_now_and_never_renews_itself() {
    let world = World::plan()
        .service(
            "deacon",
            &format!("interval = \"2s\"\ndegraded_after = 2\ncritical_after = 2\n{FILE}"),
        )
        .start();
    heartbeat(&world, -86_400, 1);
    let service = world.wait_for("deacon", "healthy", |service| service.status == "healthy");
    assert!(
        service
            .message
            .is_some_and(|message| message.contains("ahead of our clock"))
    );
    world.wait_for("deacon", "critical", |service| service.status == "critical");
    // A zero timestamp is no better and no worse.
    write(&world.file("deacon/heartbeat.json"), "{}");
    world.wait_for("deacon", "healthy", |service| service.status == "healthy");
}

#[test]
fn f43_a_file_read_while_it_is_written_is_read_again_and_kills_nobody() {
    let script = format!(
        "n=0\n{BEAT}\nmkdir -p deacon\nwhile :; do : >deacon/heartbeat.json; sleep 0.05; \
         printf '{{\"timest' >deacon/heartbeat.json; sleep 0.05; beat; sleep 0.1; done"
    );
    let world = World::plan()
        .service(
            "deacon",
            // Longer than a busy machine may keep the script waiting.
            &format!("{}interval = \"5s\"\n{FILE}", sh(&script)),
        )
        .start();
    world.wait_healthy("deacon");
    watch_for(Duration::from_secs(4), || {
        let service = world.service("deacon");
        assert_eq!(
            (service.status.as_str(), service.generation),
            ("healthy", 1)
        );
    });
    let service = world.wait_for("deacon", "goes on pulsing", |service| {
        service.total_pulses > 10
    });
    assert_eq!((service.error_count, service.generation), (0, 1));
}

#[test]
fn a_session_may_be_idle_and_is_poked_when_it_says_that_it_is_stuck() {
    let world = World::plan()
        .service(
            "session",
            "interval = \"300ms\"\nheartbeat_file = \"s.json\"\nheartbeat_file_kind = \"session\"\n\
             restart_command = [\"sh\", \"-c\", \"echo poked >>poked\"]\n",
        )
        .start();
    let says = |state: &str| {
        let text = format!("{{\"timestamp\":\"2026-01-02T18:30:00Z\",\"state\":\"{state}\"}}\n");
        write(&world.file("s.json"), &text);
    };
    says("idle");
    world.wait_healthy("session");
    watch_for(Duration::from_secs(3), || {
        assert_eq!(world.service("session").status, "healthy");
    });
    says("working");
    wait_until("the pulse", || {
        (world.service("session").total_pulses >= 1).then_some(())
    });
    says("stuck");
    let service = world.wait_for("session", "critical", |service| {
        service.status == "critical"
    });
    assert!(service.reason.contains("stuck"), "{service:?}");
    wait_until("the poke", || {
        (!world.read("poked").is_empty()).then_some(())
    });
    // And silence alone gets it poked as well.
    says("working");
    world.wait_healthy("session");
    fs::remove_file(world.file("poked")).expect("removed");
    wait_until("the poke for its silence", || {
        (!world.read("poked").is_empty()).then_some(())
    });
    let service = world.service("session");
    assert!(service.reason.contains("no pulse for"), "{service:?}");
}

#[test]
fn of_any_file_the_mtime_counts_and_its_silence_is_poked() {
    let world = World::plan()
        .service(
            "touched",
            "interval = \"1s\"\ndegraded_after = 2\ncritical_after = 2\nheartbeat_file = \"alive\"\nheartbeat_file_kind = \"mtime\"\n\
             restart_command = [\"touch\", \"poked\"]\n",
        )
        .start();
    for _ in 0..2 {
        write(&world.file("alive"), "");
        world.wait_healthy("touched");
        let _none = fs::remove_file(world.file("poked"));
        world.wait_for("touched", "critical", |service| {
            service.status == "critical"
        });
        wait_until("the poke", || world.file("poked").exists().then_some(()));
    }
}

#[test]
fn a_pause_file_holds_while_it_says_so() {
    let world = World::plan()
        .service(
            "worker",
            &format!(
                "{}pause_file = \"paused.json\"\n",
                command(&["sleep", "1000"])
            ),
        )
        .service("other", &command(&["sleep", "1000"]))
        .start();
    world.wait_healthy("worker");
    write(
        &world.file("paused.json"),
        "{\"paused\":true,\"reason\":\"maintenance\",\"paused_by\":\"human\"}",
    );
    let service = world.wait_for("worker", "paused", |service| service.state == "paused");
    assert_eq!(service.reason, "paused: pause file: maintenance (by human)");
    assert_eq!(world.service("other").state, "running");
    // Half a file changes nothing.
    write(&world.file("paused.json"), "{\"paused\":");
    watch_for(Duration::from_secs(2), || {
        assert_eq!(world.service("worker").state, "paused");
    });
    write(&world.file("paused.json"), "{\"paused\":false}");
    world.wait_for("worker", "resumed", |service| service.state == "running");
    write(&world.file("paused.json"), "{\"paused\":true}");
    world.wait_for("worker", "paused", |service| service.state == "paused");
    fs::remove_file(world.file("paused.json")).expect("removed");
    world.wait_for("worker", "resumed", |service| service.state == "running");
}

#[test]
fn estop_pauses_all_and_leaves_what_an_operator_paused() {
    let world = World::plan()
        .service("a", &command(&["sleep", "1000"]))
        .service("b", &command(&["sleep", "1000"]))
        .start();
    world.wait_healthy("a");
    world.wait_healthy("b");
    assert_eq!(world.control("b", "pause").status, 202);
    write(
        &world.data().join("ESTOP"),
        "manual\t2026-01-02T18:30:00Z\tdisk on fire\n",
    );
    let service = world.wait_for("a", "paused", |service| {
        service.reason == "paused: ESTOP: disk on fire"
    });
    assert_eq!(service.state, "paused");
    let pid = service.pid.expect("it runs on");
    crate::common::signal(pid, nix::sys::signal::Signal::SIGKILL);
    watch_for(Duration::from_secs(2), || {
        assert!(
            world.service("a").pid.is_none_or(|now| now == pid),
            "nothing is started"
        );
    });
    fs::remove_file(world.data().join("ESTOP")).expect("removed");
    world.wait_for("a", "running again", |service| {
        service.state == "running" && service.generation == 2
    });
    assert_eq!(world.service("b").reason, "paused: operator");
}

#[test]
fn nothing_is_started_under_an_estop_and_all_is_when_it_goes() {
    let mut world = World::plan()
        .service(
            "a",
            &command(&["sh", "-c", "echo began >>began; exec sleep 1000"]),
        )
        .prepare();
    write(
        &world.data().join("ESTOP"),
        "manual\t2026-01-02T18:30:00Z\tno\n",
    );
    let rights = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    fs::set_permissions(world.data(), rights).expect("chmod");
    world.start();
    watch_for(Duration::from_secs(2), || {
        assert_eq!(world.service("a").reason, "paused: ESTOP: no");
        assert_eq!(world.read("began"), "");
    });
    fs::remove_file(world.data().join("ESTOP")).expect("removed");
    world.wait_for("a", "running", |service| service.state == "running");
}

#[test]
fn the_commands_touch_and_status_need_no_supervisor() {
    let world = World::plan().prepare();
    let town = world.file("town").display().to_string();
    let status = || world.cli(&["deacon", "status", "--town", &town]);
    assert_eq!(status().code, Some(3), "missing");
    let touched = world.cli(&["deacon", "touch", "--town", &town]);
    assert_eq!(
        (touched.code, touched.out.as_str()),
        (Some(0), ""),
        "{touched:?}"
    );
    let said = world.cli(&[
        "deacon",
        "touch",
        "--town",
        &town,
        "--action",
        "a & b",
        "--healthy",
        "3",
        "--unhealthy",
        "1",
    ]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let text = world.read("town/deacon/heartbeat.json");
    assert!(text.contains("\"cycle\": 2,\n  \"last_action\": \"a \\u0026 b\",\n  \"healthy_agents\": 3,\n  \"unhealthy_agents\": 1\n}"), "{text}");
    let fresh = status();
    assert_eq!(fresh.code, Some(0), "{fresh:?}");
    assert!(fresh.out.starts_with("fresh: "), "{fresh:?}");
    for (seconds, code) in [(180, 1), (400, 3)] {
        let date = std::process::Command::new("date")
            .args(["-u", "-d", &format!("{seconds} seconds ago"), "+%FT%TZ"])
            .output()
            .expect("date");
        let date = String::from_utf8(date.stdout).expect("a date");
        let text = format!("{{\"timestamp\":\"{}\"}}", date.trim());
        write(&world.file("town/deacon/heartbeat.json"), &text);
        assert_eq!(status().code, Some(code));
    }
}

/// CPU time of the supervisor so far, in ticks of 10 ms.
fn ticks(world: &World) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", world.pid())).expect("stat");
    let (_, fields) = stat.rsplit_once(") ").expect("a name");
    let fields: Vec<&str> = fields.split(' ').collect();
    let number = |at: usize| fields[at].parse::<u64>().expect("a number");
    number(11) + number(12)
}

#[test]
fn ten_thousand_watched_files_cost_nothing_while_nothing_changes() {
    const FILES: usize = 10_000;
    let mut plan = World::plan();
    for number in 0..FILES {
        plan = plan.service(
            &format!("s{number}"),
            &format!(
                "interval = \"1h\"\nheartbeat_file = \"beats/{}/{number}.json\"\n",
                number % 100
            ),
        );
    }
    let mut world = plan.prepare();
    for number in 0..FILES {
        let file = world.file(&format!("beats/{}/{number}.json", number % 100));
        write(
            &file,
            "{\"timestamp\":\"2026-01-02T18:30:00Z\",\"cycle\":1}",
        );
    }
    world.start();
    // Once all first looks are done, however long that takes on a busy machine: what costs
    // something again and again never lets it come to this.
    wait_until("nearly no CPU", || {
        let before = ticks(&world);
        std::thread::sleep(Duration::from_secs(4));
        let spent = ticks(&world) - before;
        println!("{FILES} watched files: {spent} ticks of 10 ms in 4 s");
        (spent <= 12).then_some(())
    });
    // And each is still heard.
    let file = world.file("beats/42/4242.json");
    let before = world.service("s4242").total_pulses;
    write(
        &file,
        "{\"timestamp\":\"2026-01-02T18:31:00Z\",\"cycle\":2}",
    );
    world.wait_for("s4242", "its pulse", |service| {
        service.total_pulses == before + 1
    });
}
