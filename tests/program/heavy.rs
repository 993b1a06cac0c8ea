//! Tests that keep the machine busy: they run one at a time.

mod alerts;

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use crate::common::script::{bash, command, sh};
use crate::common::wait::{wait_until, wait_within};
use crate::common::{World, alive, process};
use crate::page;

#[test]
fn f28_a_hundred_random_kills_lose_nobody_and_double_nobody() {
    const KILLS: u32 = 110;
    let brief = "backoff = { min = \"20ms\", max = \"60ms\" }\nmax_restarts = 10000\nstop_timeout = \"1s\"\n";
    let pulsing = bash("alone; pulse_every 0.1");
    let mut world = World::plan()
        .service("pulsing", &format!("{pulsing}interval = \"60s\""))
        .service("sleeper", &bash("alone; exec sleep 1000"))
        .service(
            "family",
            &bash("alone; (setsid sleep 1000 &); exec sleep 1000"),
        )
        .service(
            "crasher",
            &format!("{}{brief}", bash("alone; sleep 0.$((RANDOM % 4))5; exit 3")),
        )
        .service(
            "leaver",
            &format!(
                "{}{brief}",
                bash("alone; setsid sleep 1000 & sleep 0.$((RANDOM % 5))5; exit 4")
            ),
        )
        .start();
    let steady = ["pulsing", "sleeper", "family"];
    let identity = |world: &World, name: &str| {
        let service = world.wait_healthy(name);
        (service.pid, service.generation)
    };
    let before = steady.map(|name| identity(&world, name));
    let pids = before.map(|(pid, _)| {
        let pid = pid.expect("a process");
        (pid, process::stat(pid).expect("it lives").started)
    });

    // A fixed seed: the moments differ by the machine's mood anyway.
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut throw = |limit: u64| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % limit
    };
    for kill in 0..KILLS {
        // Half of the kills meet it while it starts, half while it works.
        if throw(2) == 0 {
            world.wait_ready();
        }
        std::thread::sleep(Duration::from_millis(throw(250)));
        world.kill();
        for (pid, started) in pids {
            let stat = process::stat(pid).unwrap_or_else(|| panic!("kill {kill}: {pid} is gone"));
            assert!(
                stat.started == started && stat.state != 'Z',
                "kill {kill}: {pid} died"
            );
        }
        assert_eq!(world.read("doubled"), "", "kill {kill}");
        world.spawn();
    }
    world.wait_ready();

    let after = steady.map(|name| identity(&world, name));
    assert_eq!(before, after);
    for name in steady {
        assert_eq!(
            world.pids(&format!("{name}.pids")).len(),
            1,
            "{name} was started more than once"
        );
    }
    for name in ["crasher", "leaver"] {
        // The last two lives, whole: it is still looked after.
        let generation = world.service(name).generation;
        assert!(generation > 1, "{name} was never restarted");
        world.wait_for(name, "goes on crashing", |service| {
            service.generation > generation + 1
        });
        let lives = u64::try_from(world.pids(&format!("{name}.pids")).len()).expect("a count");
        let generation = world.service(name).generation;
        assert!(
            lives <= generation,
            "{name} had {lives} lives in {generation} generations"
        );
    }
    assert_eq!(world.read("doubled"), "");
    // Nothing stays behind of all those lives; a shim that has said that all is over may be
    // seen on its last step.
    world.terminate();
    wait_until("nothing is left", || {
        process::belonging_to(world.dir()).is_empty().then_some(())
    });
}

#[test]
fn f12_a_gigabyte_without_a_newline_costs_no_memory_and_little_disk() {
    let script = sh("head -c 1000000000 /dev/zero; echo >done; exec sleep 1000");
    let keys = format!("{script}log_max_size = \"1 MB\"\nlog_keep = 2");
    let world = World::plan().service("flood", &keys).start();
    let pid = world
        .wait_for("flood", "runs", |service| service.pid.is_some())
        .pid
        .expect("a process");
    let shim = world.shim_of("flood");
    let most = |pid| process::status_kb(pid, "VmHWM").expect("its memory");
    let before = most(world.pid());
    wait_within(Duration::from_secs(100), "all is written", || {
        world.file("done").exists().then_some(())
    });

    assert!(most(shim) < 8 * 1024, "the shim took {} kB", most(shim));
    assert!(
        most(world.pid()) < before + 32 * 1024,
        "the supervisor took {} kB",
        most(world.pid())
    );
    let logs: u64 = fs::read_dir(world.data().join("log"))
        .expect("log")
        .filter_map(Result::ok)
        .map(|entry| entry.metadata().expect("metadata").size())
        .sum();
    assert!((500_000..6_000_000).contains(&logs), "{logs} bytes of logs");
    assert!(alive(pid));
    // Whoever asks for the end of such a log gets an answer of a bearable size.
    let reply = world.get("/api/logs/flood?tail=10");
    assert_eq!(reply.status, 200);
    assert!(reply.body.len() < 8_000_000, "{} bytes", reply.body.len());
}

#[test]
fn f31_a_flood_of_pulses_is_counted_exactly_and_costs_no_memory() {
    let world = World::plan()
        .service("flooded", "interval = \"1h\"")
        .service("sleeper", &command(&["sleep", "1000"]))
        .start();
    world.wait_healthy("sleeper");
    let memory = |world: &World| process::status_kb(world.pid(), "VmRSS").expect("its memory");
    let before = memory(&world);
    let address = world.tcp();
    let senders: Vec<_> = (0..6)
        .map(|sender| {
            let address = address.clone();
            std::thread::spawn(move || {
                let mut taken = 0_u64;
                let mut refused = 0_u64;
                for round in 0..700 {
                    // Every tenth carries something, so that it must go through the mailbox.
                    let body = if round % 10 == sender {
                        "{\"message\":\"m\"}"
                    } else {
                        ""
                    };
                    let reply = address.request("POST", "/api/pulse/flooded", &[], body.as_bytes());
                    match reply.expect("an answer").status {
                        202 => taken += 1,
                        429 | 503 => refused += 1,
                        other => panic!("{other}"),
                    }
                }
                (taken, refused)
            })
        })
        .collect();
    let (taken, refused) = senders
        .into_iter()
        .map(|sender| sender.join().expect("a sender"))
        .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    wait_until("all are counted", || {
        (world.service("flooded").total_pulses == taken).then_some(())
    });
    assert!(taken > refused, "{taken} taken, {refused} refused");
    assert!(
        memory(&world) < before + 64 * 1024,
        "{before} kB, then {} kB",
        memory(&world)
    );
    assert_eq!(world.service("sleeper").status, "healthy");
}

#[test]
fn two_hundred_random_kills_while_500_files_change_lose_no_last_content() {
    use crate::common::mirror::{difference, files, path, plan, rows, wait_quiet};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    const KILLS: u32 = 200;
    let mut world = plan("on_delete = \"delete\"\nmax_wait = \"500ms\"").prepare();
    let tree = path(&world, "docs");
    let stop = Arc::new(AtomicBool::new(false));
    let mutator = {
        let stop = Arc::clone(&stop);
        let mut throw = random(7);
        std::thread::spawn(move || {
            let name = |n: u64| tree.join(format!("d{}/f{n}.md", n % 9));
            for n in 0..9 {
                fs::create_dir_all(tree.join(format!("d{n}"))).expect("a directory");
            }
            for n in 0..500 {
                fs::write(name(n), format!("first {n}")).expect("written");
            }
            let mut number = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                number += 1;
                let (one, other) = (throw(500), throw(500));
                // Errors: what was renamed or removed by the last turn is not there.
                let _ = match throw(10) {
                    0 => fs::rename(name(one), name(other)),
                    1 => fs::remove_file(name(one)),
                    2 => {
                        let new = tree.join(format!("d{}/.new", one % 9));
                        fs::write(&new, format!("saved {number}"))
                            .and_then(|()| fs::rename(new, name(one)))
                    }
                    _ => fs::write(name(one), format!("edit {number} of {one}")),
                };
                std::thread::sleep(Duration::from_micros(500));
            }
        })
    };
    let mut throw = random(11);
    for _ in 0..KILLS {
        world.spawn();
        std::thread::sleep(Duration::from_millis(20 + throw(130)));
        world.kill();
    }
    stop.store(true, Ordering::Relaxed);
    mutator.join().expect("the files have changed");
    world.start();
    wait_quiet(&world);
    // Held as too many at once, perhaps.
    world.cli(&["sync", "confirm"]);
    wait_quiet(&world);
    let (files, rows) = (files(&world, "docs"), rows(&world, "docs"));
    assert!(
        files.len() > 100 && files == rows,
        "{}",
        difference(&files, &rows)
    );
    let verified = world.cli(&["sync", "verify"]);
    assert_eq!(verified.code, Some(0), "{verified:?}");
}

/// Numbers below a limit that look random, the same for the same seed.
fn random(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed;
    move |limit| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % limit
    }
}

#[test]
fn ten_thousand_services_are_on_the_page_soon_and_scroll_smoothly() {
    let services = (0..10_000).map(|n| format!("[services.many-{n:05}]\ninterval = \"1h\"\n"));
    let mut world = World::plan().config(&services.collect::<String>()).start();
    page::drive(&mut world, "many.mjs");
}
