//! After our own death: what the next supervisor finds. Our death is the end of every
//! connection at once, which is what dropping the processes does.

use std::fs;
use std::os::unix::net::UnixDatagram;

use supervisor_actors::ports::Kept;

use super::*;

/// The life of a supervisor that starts one process and dies.
async fn start_and_die(world: &World, name: &str, process: &ProcessSpec) -> i32 {
    let processes = world.processes();
    let mut run = launch(&processes, name, 1, process.clone());
    run.started().await
}

fn in_world(world: &World, script: &str) -> ProcessSpec {
    let mut process = shell(script);
    process.cwd = world.path().to_owned();
    process
}

#[actix_rt::test]
async fn f28_a_living_process_is_adopted_as_it_is() {
    let world = World::new();
    let process = in_world(&world, "while [ ! -e end ]; do sleep 0.01; done; exit 9");
    let pid = start_and_die(&world, "web", &process).await;
    for _ in 0..3 {
        let processes = world.processes();
        let (found, _) = adopt(&processes, "web", &process).await;
        let Some(Adoption::Living {
            generation,
            pid: found,
            ..
        }) = found
        else {
            panic!("not found alive");
        };
        assert_eq!((generation, found), (Generation(1), pid));
    }
    let processes = world.processes();
    let (found, events) = adopt(&processes, "web", &process).await;
    let Some(Adoption::Living {
        process: adopted, ..
    }) = found
    else {
        panic!("not found alive");
    };
    let mut run = Run {
        process: adopted,
        events,
    };
    fs::write(world.file("end"), "").unwrap();
    assert_eq!(
        run.ended().await.code,
        Some(9),
        "what happens from now on is heard"
    );
}

#[actix_rt::test]
async fn an_adopted_process_is_stopped_like_any_other() {
    let world = World::new();
    let process = spec(&["sleep", "1000"]);
    start_and_die(&world, "web", &process).await;
    let processes = world.processes();
    let (found, events) = adopt(&processes, "web", &process).await;
    let Some(Adoption::Living {
        process: adopted, ..
    }) = found
    else {
        panic!("not found alive");
    };
    let mut run = Run {
        process: adopted,
        events,
    };
    run.process.stop();
    assert_eq!(run.ended().await.signal, Some(libc::SIGTERM));
}

#[actix_rt::test]
async fn f90_a_shim_that_was_stopped_is_continued_to_be_adopted() {
    let world = World::new();
    let process = spec(&["sleep", "1000"]);
    let pid = start_and_die(&world, "web", &process).await;
    assert!(proc_fs::signal(world.record("web").shim(), libc::SIGSTOP));
    let processes = world.processes();
    let (found, _) = adopt(&processes, "web", &process).await;
    let Some(Adoption::Living { pid: found, .. }) = found else {
        panic!("not found alive");
    };
    assert_eq!(found, pid);
}

#[actix_rt::test]
async fn an_exit_that_happened_meanwhile_is_learnt_with_its_code() {
    let world = World::new();
    let process = in_world(&world, "while [ ! -e end ]; do sleep 0.01; done; exit 42");
    start_and_die(&world, "web", &process).await;
    fs::write(world.file("end"), "").unwrap();
    let dir = world.generation("web", 1);
    until("the shim's end", || !dir.is_locked()).await;
    let processes = world.processes();
    for _ in 0..2 {
        let (found, _) = adopt(&processes, "web", &process).await;
        let Some(Adoption::Ended { generation, exit }) = found else {
            panic!("not found ended");
        };
        assert_eq!((generation, exit.code), (Generation(1), Some(42)));
    }
}

#[actix_rt::test]
async fn an_exit_amid_the_adoption_is_never_lost() {
    let world = World::new();
    let process = in_world(&world, "while [ ! -e end ]; do sleep 0.01; done; exit 42");
    for round in 0..20 {
        let name = format!("web-{round}");
        start_and_die(&world, &name, &process).await;
        fs::write(world.file("end"), "").unwrap();
        let processes = world.processes();
        let (found, events) = adopt(&processes, &name, &process).await;
        let exit = match found {
            Some(Adoption::Ended { exit, .. }) => exit,
            Some(Adoption::Living { process, .. }) => Run { process, events }.ended().await,
            _ => panic!("nothing found"),
        };
        assert_eq!(exit.code, Some(42));
        fs::remove_file(world.file("end")).unwrap();
    }
}

#[actix_rt::test]
async fn what_main_left_behind_is_found_as_remains_and_ended() {
    let world = World::new();
    let mut process = in_world(
        &world,
        "(setsid sh -c 'trap \"\" TERM; echo $$ > daemon; while :; do sleep 0.01; done' &) ; \
         while [ ! -e end ]; do sleep 0.01; done; exit 8",
    );
    process.stop_timeout = Duration::from_secs(1000);
    start_and_die(&world, "web", &process).await;
    let daemon = identity(number_in(&world.file("daemon")).await);
    fs::write(world.file("end"), "").unwrap();
    let dir = world.generation("web", 1);
    until("main's end", || {
        dir.exit_record().unwrap().is_some_and(|exit| exit.left)
    })
    .await;

    let processes = world.processes();
    let (found, events) = adopt(&processes, "web", &process).await;
    let Some(Adoption::Remains {
        exit,
        process: adopted,
        ..
    }) = found
    else {
        panic!("not found as remains");
    };
    assert_eq!(exit.code, Some(8));
    assert!(
        proc_fs::lives(daemon),
        "it ignores TERM, and the timeout is long"
    );
    let mut run = Run {
        process: adopted,
        events,
    };
    run.process.stop();
    run.process.stop();
    run.gone().await;
    assert!(!proc_fs::lives(daemon));
}

#[actix_rt::test]
async fn f90_a_shim_lost_together_with_us_is_noticed_and_its_tree_ended() {
    let world = World::new();
    let process = spec(&["sleep", "1000"]);
    let pid = start_and_die(&world, "web", &process).await;
    let main = identity(pid);
    let dir = world.generation("web", 1);
    assert!(proc_fs::signal(world.record("web").shim(), libc::SIGKILL));
    until("the shim's end", || !dir.is_locked()).await;
    assert!(proc_fs::lives(main));
    let processes = world.processes();
    let (found, events) = adopt(&processes, "web", &process).await;
    let Some(Adoption::ShimLost {
        process: adopted, ..
    }) = found
    else {
        panic!("not found lost");
    };
    Run {
        process: adopted,
        events,
    }
    .gone()
    .await;
    assert!(!proc_fs::lives(main));
    let (found, _) = adopt(&processes, "web", &process).await;
    assert!(found.is_none(), "nothing is left to find");
}

#[actix_rt::test]
async fn f08_a_stranger_with_the_recorded_number_is_neither_signalled_nor_adopted() {
    let world = World::new();
    let process = spec(&["sleep", "1000"]);
    let mut stranger = Stranger::new();
    let real = stranger.id();
    let dir = world.generation("web", 1);
    let boot_id = super::super::boot_id().unwrap();
    let write = |pid: i32, start_time: i64, boot: &str| {
        fs::create_dir_all(&dir.path).unwrap();
        fs::write(dir.path.join("lock"), "").unwrap();
        let record = format!(
            r#"{{"protocol":1,"service":"web","generation":1,"boot_id":"{boot}","shim_pid":{pid},
                "shim_start_time":{start_time},"pid":{pid},"start_time":{start_time},"cgroup":""}}"#
        );
        fs::write(dir.path.join("start.json"), record).unwrap();
    };
    let processes = world.processes();
    // The number is right, the start time is not; or all is right, but of another boot.
    for (start_time, boot) in [
        (real.start_time - 1, boot_id.as_str()),
        (real.start_time, "x"),
    ] {
        write(real.pid, start_time, boot);
        let (found, _) = adopt(&processes, "web", &process).await;
        assert!(found.is_none());
        assert!(!dir.path.exists(), "what means nothing is cleaned up");
    }
    assert!(stranger.lives());
}

#[actix_rt::test]
async fn the_newest_life_counts_and_older_ones_are_cleaned_up() {
    let world = World::new();
    let process = spec(&["sleep", "1000"]);
    let processes = world.processes();
    let mut first = launch(&processes, "web", 3, shell("exit 1"));
    first.started().await;
    first.ended().await;
    until("its end", || !world.generation("web", 3).is_locked()).await;
    let mut second = launch(&processes, "web", 12, process.clone());
    let pid = second.started().await;
    assert!(!world.generation("web", 3).path.exists());
    drop(second);
    let (found, events) = adopt(&processes, "web", &process).await;
    let Some(Adoption::Living {
        generation,
        pid: found,
        process,
        ..
    }) = found
    else {
        panic!("not found alive");
    };
    assert_eq!((generation, found), (Generation(12), pid));
    let mut run = Run { process, events };
    run.process.stop();
    run.ended().await;
}

#[actix_rt::test]
async fn nothing_is_started_beside_a_living_shim_of_the_same_number() {
    let world = World::new();
    let process = spec(&["sleep", "1000"]);
    let pid = start_and_die(&world, "web", &process).await;
    let processes = world.processes();
    let mut run = launch(&processes, "web", 1, process.clone());
    let failure = run.failed().await;
    assert!(failure.detail.contains("still runs"), "{}", failure.detail);
    assert!(proc_fs::status(pid).is_some());
    assert!(
        world.generation("web", 1).start_record().unwrap().is_some(),
        "its files stay"
    );
}

#[actix_rt::test]
async fn f42_a_cut_record_is_no_record() {
    let world = World::new();
    let process = spec(&["sleep", "1000"]);
    let pid = start_and_die(&world, "web", &process).await;
    let dir = world.generation("web", 1);
    let whole = fs::read(dir.path.join("start.json")).unwrap();
    let processes = world.processes();
    for end in 0..whole.len() - 2 {
        fs::write(dir.path.join("start.json"), &whole[..end]).unwrap();
        assert!(dir.start_record().unwrap().is_none(), "cut at {end}");
    }
    // The shim itself still answers, so nothing is lost.
    let (found, _) = adopt(&processes, "web", &process).await;
    assert!(matches!(found, Some(Adoption::Living { pid: found, .. }) if found == pid));
    fs::write(dir.path.join("start.json"), whole).unwrap();
}

#[actix_rt::test]
async fn a_record_of_a_newer_shim_with_unknown_fields_is_read() {
    let world = World::new();
    let dir = world.generation("web", 1);
    fs::create_dir_all(&dir.path).unwrap();
    fs::write(dir.path.join("lock"), "").unwrap();
    let record =
        r#"{"protocol":99,"code":5,"time_us":7,"mood":"fine","left":false,"new":{"a":[1]}}"#;
    fs::write(dir.path.join("exit.json"), record).unwrap();
    let processes = world.processes();
    let (found, _) = adopt(&processes, "web", &spec(&["true"])).await;
    let Some(Adoption::Ended { exit, .. }) = found else {
        panic!("not found ended");
    };
    assert_eq!((exit.code, exit.at.0), (Some(5), 7));
}

#[actix_rt::test]
async fn f28_who_runs_without_a_shim_or_a_record_is_found_and_ended() {
    let world = World::new();
    let process = spec(&["sleep", "1000"]);
    for cgroups in [true, false] {
        let name = if cgroups { "with" } else { "without" };
        let main = identity(start_and_die(&world, name, &process).await);
        // Killed together with us, right after the program was executed.
        assert!(proc_fs::signal(world.record(name).shim(), libc::SIGKILL));
        fs::remove_file(world.generation(name, 1).path.join("start.json")).unwrap();
        let mut processes = world.processes();
        if !cgroups {
            processes.cgroups = None;
        }
        let (found, events) = adopt(&processes, name, &process).await;
        let Some(Adoption::ShimLost {
            process: adopted, ..
        }) = found
        else {
            panic!("not found, cgroups: {cgroups}");
        };
        Run {
            process: adopted,
            events,
        }
        .gone()
        .await;
        assert!(!proc_fs::lives(main));
    }
}

#[actix_rt::test]
async fn f28_a_program_that_waits_to_be_executed_dies_with_its_shim() {
    let world = World::new();
    let path = world.file("program");
    fs::copy("/bin/sleep", &path).unwrap();
    // As long as it is being written it cannot be executed, and is tried again.
    let writer = fs::OpenOptions::new().append(true).open(&path).unwrap();
    let processes = world.processes();
    let program = path.display().to_string();
    let run = launch(&processes, "web", 1, spec(&[&program, "1000"]));
    let dir = world.generation("web", 1);
    until("it is being tried", || {
        dir.start_record().unwrap().is_some()
    })
    .await;
    let record = world.record("web");
    drop((run, processes));
    assert!(proc_fs::signal(record.shim(), libc::SIGKILL));
    until("the shim is dead", || !proc_fs::lives(record.shim())).await;
    drop(writer);
    until("it is gone", || !proc_fs::lives(record.main())).await;
}

#[actix_rt::test]
async fn a_hung_shim_is_taken_for_lost_in_the_end() {
    let world = World::new();
    let process = spec(&["sleep", "1000"]);
    let pid = start_and_die(&world, "web", &process).await;
    let main = identity(pid);
    hold(world.record("web").shim_pid);
    let processes = world.processes();
    let (found, events) = adopt(&processes, "web", &process).await;
    let Some(Adoption::ShimLost {
        process: adopted, ..
    }) = found
    else {
        panic!("not found lost");
    };
    Run {
        process: adopted,
        events,
    }
    .gone()
    .await;
    assert!(!proc_fs::lives(main));
}

#[actix_rt::test]
async fn what_the_configuration_no_longer_knows_is_ended_and_the_rest_is_left() {
    let world = World::new();
    let process = spec(&["sleep", "1000"]);
    let kept = identity(start_and_die(&world, "kept", &process).await);
    let stray = identity(start_and_die(&world, "stray", &process).await);
    let orphan = identity(start_and_die(&world, "orphan", &process).await);
    assert!(proc_fs::signal(
        world.record("orphan").shim(),
        libc::SIGKILL
    ));
    let processes = world.processes();
    let known = [service("kept")].into();
    let mut ended = processes.end_strays(&known, quiet()).await;
    ended.sort();
    assert_eq!(ended, [service("orphan"), service("stray")]);
    assert!(!proc_fs::lives(stray) && !proc_fs::lives(orphan));
    assert!(proc_fs::lives(kept));
    assert!(processes.end_strays(&known, quiet()).await.is_empty());
}

fn quiet() -> Rc<dyn Fn(&str)> {
    Rc::new(|why| panic!("nothing is unclear, but {why}"))
}

/// As if it could not be looked at: neither is it there nor is it not.
fn hide(path: &Path) {
    let hidden = path.with_extension("hidden");
    fs::rename(path, &hidden).unwrap();
    std::os::unix::fs::symlink(path, path).unwrap();
}

fn show(path: &Path) {
    use rustix::fs::{CWD, RenameFlags, renameat_with};

    let hidden = path.with_extension("hidden");
    // At once: there is no moment at which nothing is there.
    renameat_with(CWD, &hidden, CWD, path, RenameFlags::EXCHANGE).unwrap();
    fs::remove_file(hidden).unwrap();
}

#[actix_rt::test]
async fn f34_what_cannot_be_looked_at_is_not_taken_for_gone() {
    let world = World::new();
    let process = spec(&["sleep", "1000"]);
    let shims = world.path().join("shim");
    for hidden in ["web/1/lock", "web/1/exit.json", "web/1/start.json", "web"] {
        let pid = start_and_die(&world, "web", &process).await;
        let hidden = shims.join(hidden);
        if hidden.ends_with("exit.json") {
            fs::write(&hidden, "").unwrap();
        }
        hide(&hidden);
        let processes = world.processes();
        let (sink, mut events) = sink();
        let name = service("web");
        let adoption = processes.adopt(&name, &process, None, sink);
        let mut adoption = std::pin::pin!(adoption);
        // Said, and nothing else happens.
        tokio::select! {
            biased;
            _ = &mut adoption => panic!("it was not seen: {}", hidden.display()),
            event = events.recv() => {
                let Some(ProcessEvent::Unclear(Some(why))) = event else {
                    panic!("expected Unclear, got {event:?}");
                };
                assert!(why.contains("symbolic links"), "{why}");
            }
        }
        let again = tokio::time::timeout(Duration::from_millis(300), &mut adoption).await;
        assert!(again.is_err(), "it was not seen: {}", hidden.display());
        show(&hidden);
        let found = tokio::time::timeout(PATIENCE, adoption).await.unwrap();
        let Some(Adoption::Living {
            pid: found,
            process,
            ..
        }) = found
        else {
            panic!("not found alive");
        };
        assert_eq!(found, pid);
        assert_eq!(events.recv().await, Some(ProcessEvent::Unclear(None)));
        let mut run = Run { process, events };
        run.process.stop();
        run.ended().await;
        until("its end", || !world.generation("web", 1).is_locked()).await;
    }
}

#[actix_rt::test]
async fn who_lives_under_a_lock_that_nobody_lets_go_is_ended_before_another_is_started() {
    let world = World::new();
    let process = spec(&["sleep", "1000"]);
    let main = identity(start_and_die(&world, "web", &process).await);
    let dir = world.generation("web", 1);
    let shim = world.record("web").shim();
    assert!(proc_fs::signal(shim, libc::SIGKILL));
    until("the shim's end", || !dir.is_locked()).await;
    // As by a shim that waits for a disk, and is not even moved by SIGKILL.
    let held = fs::File::open(dir.path.join("lock")).unwrap();
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let processes = world.processes();
    let (found, events) = adopt(&processes, "web", &process).await;
    let Some(Adoption::ShimLost {
        process: adopted, ..
    }) = found
    else {
        panic!("not found lost, and it lives: {}", proc_fs::lives(main));
    };
    Run {
        process: adopted,
        events,
    }
    .gone()
    .await;
    assert!(!proc_fs::lives(main));
}

/// Launches a process that keeps a socket; gives its other end.
async fn with_socket(world: &World, process: &ProcessSpec) -> (Run, UnixDatagram) {
    let path = world.file("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_nonblocking(true).unwrap();
    let client = UnixDatagram::unbound().unwrap();
    client.connect(&path).unwrap();
    let (sink, events) = sink();
    let launch = Launch {
        name: service("web"),
        generation: Generation(1),
        process: Arc::new(process.clone()),
        environment: Vec::new(),
        hearing: None,
        socket: Some(Arc::new(socket.into())),
    };
    let process = world.processes().launch(launch, sink);
    let mut run = Run { process, events };
    run.started().await;
    (run, client)
}

async fn kept(world: &World, process: &ProcessSpec) -> (Kept, Run) {
    let processes = world.processes();
    let (found, events) = adopt(&processes, "web", process).await;
    match found {
        Some(Adoption::Living { process, kept, .. }) => (kept, Run { process, events }),
        _ => panic!("not found alive"),
    }
}

fn receive(from: &Kept) -> Option<Vec<u8>> {
    let socket = from.socket.as_ref().expect("a socket").try_clone().unwrap();
    let mut text = [0; 64];
    let count = UnixDatagram::from(socket).recv(&mut text).ok()?;
    Some(text[..count].to_vec())
}

#[actix_rt::test]
async fn f28_a_socket_outlives_us_with_all_that_was_sent_meanwhile() {
    let world = World::new();
    let process = spec(&["sleep", "1000"]);
    let (run, client) = with_socket(&world, &process).await;
    client.send(b"one").unwrap();
    drop(run);
    client.send(b"two").unwrap();
    for round in 0..3 {
        let (kept, run) = kept(&world, &process).await;
        if round == 0 {
            assert_eq!(receive(&kept).as_deref(), Some(&b"one"[..]));
            assert_eq!(receive(&kept).as_deref(), Some(&b"two"[..]));
        }
        assert_eq!(receive(&kept), None);
        client.send(b"more").unwrap();
        assert_eq!(receive(&kept).as_deref(), Some(&b"more"[..]));
        assert_eq!(kept.note, if round == 0 { "" } else { "main 1 2" });
        run.process.remember("main 1 2");
        // Until it is on its way: the shim obeys what came before it takes a new connection.
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[actix_rt::test]
async fn a_socket_that_nobody_reads_for_long_holds_up_nobody() {
    let world = World::new();
    let process = spec(&["sleep", "1000"]);
    let (run, client) = with_socket(&world, &process).await;
    drop(run);
    // Blocking: it comes to an end only if somebody reads.
    let sent = actix_rt::task::spawn_blocking(move || {
        for _ in 0..5_000 {
            client.send(b"WATCHDOG=1").unwrap();
        }
        client
    });
    let client = tokio::time::timeout(PATIENCE, sent).await;
    let client = client.expect("it is held up").unwrap();
    let (kept, _run) = kept(&world, &process).await;
    while receive(&kept).is_some() {}
    client.send(b"again").unwrap();
    assert_eq!(receive(&kept).as_deref(), Some(&b"again"[..]));
}
