//! Starts that fail, output that does not end, shims that are killed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use supervisor_core::event::StartFault;

use super::*;

async fn failure(world: &World, process: ProcessSpec) -> StartFailure {
    let processes = world.processes();
    let mut run = launch(&processes, "web", 1, process);
    let failure = run.failed().await;
    let dir = world.generation("web", 1);
    until("nothing is left", || !dir.path.exists()).await;
    run.assert_silent();
    failure
}

fn assert_failure(found: &StartFailure, fault: StartFault, parts: &[&str]) {
    assert_eq!(found.fault, fault, "{}", found.detail);
    for part in parts {
        assert!(
            found.detail.contains(part),
            "{part:?} is missing in: {}",
            found.detail
        );
    }
}

fn script(world: &World, name: &str, text: &str, mode: u32) -> String {
    let path = world.file(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path.display().to_string()
}

#[actix_rt::test]
async fn f09_a_missing_program_or_interpreter_is_said_as_such() {
    let world = World::new();
    let found = failure(&world, spec(&["no-such-program-anywhere"])).await;
    assert_failure(
        &found,
        StartFault::NotFound,
        &["no-such-program-anywhere", "PATH"],
    );
    let found = failure(&world, spec(&["/no/such/program"])).await;
    assert_failure(
        &found,
        StartFault::NotFound,
        &["/no/such/program does not exist"],
    );
    let path = script(&world, "run", "#!/no/such/shell -e\n", 0o755);
    let found = failure(&world, spec(&[&path])).await;
    assert_failure(
        &found,
        StartFault::NotFound,
        &[&path, "interpreter `/no/such/shell`"],
    );
}

#[actix_rt::test]
async fn f09_a_program_that_may_not_be_executed_is_said_as_such() {
    let world = World::new();
    let path = script(&world, "run", "#!/bin/sh\n", 0o644);
    let found = failure(&world, spec(&[&path])).await;
    assert_failure(
        &found,
        StartFault::NotPermitted,
        &[&path, "mode 644", "chmod +x"],
    );
    let dir = world.path().display().to_string();
    let found = failure(&world, spec(&[&dir])).await;
    assert_failure(&found, StartFault::NotPermitted, &[&dir, "is a directory"]);
}

#[actix_rt::test]
async fn f09_a_file_in_no_format_to_execute_is_said_as_such() {
    let world = World::new();
    let path = script(&world, "run", "echo hello\n", 0o755);
    let found = failure(&world, spec(&[&path])).await;
    assert_failure(&found, StartFault::NotExecutable, &[&path, "#!/bin/sh"]);
}

#[actix_rt::test]
async fn f09_a_program_that_is_being_written_is_tried_again_and_then_said_as_such() {
    let world = World::new();
    let path = world.file("program");
    fs::copy("/bin/sleep", &path).unwrap();
    let program = path.display().to_string();
    let writer = fs::OpenOptions::new().append(true).open(&path).unwrap();
    let found = failure(&world, spec(&[&program, "1000"])).await;
    assert_failure(&found, StartFault::Busy, &[&program]);

    let processes = world.processes();
    let mut run = launch(&processes, "web", 1, spec(&[&program, "1000"]));
    let dir = world.generation("web", 1);
    until("it is being tried", || {
        dir.start_record().unwrap().is_some()
    })
    .await;
    drop(writer);
    run.started().await;
    run.process.stop();
    run.ended().await;
}

#[actix_rt::test]
async fn f10_a_missing_directory_or_user_is_said_as_such() {
    let world = World::new();
    let mut process = spec(&["true"]);
    process.cwd = "/no/such/dir".into();
    let found = failure(&world, process.clone()).await;
    assert_failure(
        &found,
        StartFault::NoDirectory,
        &["/no/such/dir", "does not exist", "cwd"],
    );
    process.cwd = "/etc/passwd".into();
    let found = failure(&world, process).await;
    assert_failure(&found, StartFault::NoDirectory, &["is no directory"]);

    let mut process = spec(&["true"]);
    process.user = Some("no-such-user".into());
    let found = failure(&world, process.clone()).await;
    assert_failure(&found, StartFault::NoUser, &["no user `no-such-user`"]);
    process.user = None;
    process.group = Some("no-such-group".into());
    let found = failure(&world, process).await;
    assert_failure(&found, StartFault::NoUser, &["no group `no-such-group`"]);
}

#[actix_rt::test]
async fn f10_a_directory_closed_to_the_user_is_said_as_such() {
    if !nix::unistd::Uid::effective().is_root() {
        eprintln!("skipped: only root can become other users");
        return;
    }
    let world = World::new();
    let mut process = spec(&["true"]);
    process.user = Some("nobody".into());
    process.cwd = world.file("closed");
    fs::create_dir(&process.cwd).unwrap();
    fs::set_permissions(&process.cwd, fs::Permissions::from_mode(0o700)).unwrap();
    let found = failure(&world, process).await;
    assert_failure(
        &found,
        StartFault::NoDirectory,
        &["may not be entered", "`nobody`"],
    );
}

#[actix_rt::test]
async fn a_limit_or_niceness_out_of_reach_is_said_as_such() {
    let world = World::new();
    let mut process = spec(&["true"]);
    process.limits = vec![("speed".into(), 1)];
    let found = failure(&world, process.clone()).await;
    assert_failure(&found, StartFault::Other, &["no limit `speed`", "nofile"]);
    process.limits = vec![("nofile".into(), 1 << 40)];
    let found = failure(&world, process).await;
    assert_failure(&found, StartFault::Other, &["nofile = 1099511627776"]);
}

#[actix_rt::test]
async fn f12_endless_output_without_a_line_costs_no_memory() {
    let world = World::new();
    let processes = world.processes();
    let mut process = shell("head -c 268435456 /dev/zero; echo > done; sleep 1000");
    process.cwd = world.path().to_owned();
    process.log_max_size = 1 << 20;
    process.log_keep = 2;
    let mut run = launch(&processes, "web", 1, process);
    run.started().await;
    let shim = world.record("web").shim_pid;
    let peak = || {
        let status = fs::read_to_string(format!("/proc/{shim}/status")).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmHWM:"))
            .unwrap();
        line.split_whitespace()
            .nth(1)
            .unwrap()
            .parse::<u64>()
            .unwrap()
    };
    until("all of it is written", || world.file("done").exists()).await;
    assert!(peak() < 512, "{} kB at its peak", peak());
    for (name, most) in [
        ("web.log", 1 << 20),
        ("web.log.1", 1 << 20),
        ("web.log.2", 1 << 20),
    ] {
        // Between a rotation and the next write there is none of the first name.
        let path = world.path().join("log").join(name);
        until("it is there", || path.exists()).await;
        let size = fs::metadata(&path).unwrap().len();
        assert!(size <= most, "{name}: {size}");
    }
    assert!(!world.path().join("log/web.log.3").exists());
    run.process.stop();
    run.ended().await;
}

#[actix_rt::test]
async fn f15_a_child_that_closes_its_output_lives_on() {
    let world = World::new();
    let processes = world.processes();
    let mut process = shell(
        "exec >/dev/null 2>&1; echo > closed; while [ ! -e end ]; do sleep 0.01; done; exit 5",
    );
    process.cwd = world.path().to_owned();
    let mut run = launch(&processes, "web", 1, process);
    run.started().await;
    until("its output is closed", || world.file("closed").exists()).await;
    fs::write(world.file("end"), "").unwrap();
    assert_eq!(run.ended().await.code, Some(5));
}

#[actix_rt::test]
async fn f16_a_process_that_ends_at_once_gives_one_start_and_one_exit() {
    let world = World::new();
    let processes = world.processes();
    for generation in 1..50 {
        let mut run = launch(&processes, "web", generation, spec(&["true"]));
        run.started().await;
        let (exit, left) = run.exited().await;
        assert_eq!((exit.code, left), (Some(0), false));
        let dir = world.generation("web", generation);
        until("the shim's end", || !dir.is_locked()).await;
        run.assert_silent();
    }
    let dirs = GenerationDir::all(&world.path().join("shim"), &service("web")).unwrap();
    assert!(dirs.len() <= 3, "older lives are cleaned up: {dirs:?}");
}

#[actix_rt::test]
async fn f44_output_goes_on_when_the_log_is_deleted() {
    let world = World::new();
    let processes = world.processes();
    let mut process = shell("echo one; while [ ! -e go ]; do sleep 0.01; done; echo two");
    process.cwd = world.path().to_owned();
    let mut run = launch(&processes, "web", 1, process);
    run.started().await;
    until("the first line", || world.log("web") == "one\n").await;
    fs::remove_file(world.path().join("log/web.log")).unwrap();
    fs::write(world.file("go"), "").unwrap();
    assert_eq!(run.ended().await.code, Some(0));
    until("the second line", || world.log("web") == "two\n").await;
}

#[actix_rt::test]
async fn f90_when_a_shim_is_killed_its_tree_is_ended_whole() {
    let world = World::new();
    for cgroups in [true, false] {
        let mut processes = world.processes();
        if !cgroups {
            processes.cgroups = None;
        }
        let name = if cgroups { "with" } else { "without" };
        let mut process = shell(
            "(setsid sh -c 'trap \"\" TERM HUP; echo $$ > daemon; while :; do sleep 0.01; done' &) ; \
             while :; do sleep 0.01; done",
        );
        process.cwd = world.path().to_owned();
        process.stop_timeout = Duration::from_millis(200);
        let mut run = launch(&processes, name, 1, process);
        let pid = run.started().await;
        let main = identity(pid);
        let daemon = identity(number_in(&world.file("daemon")).await);
        let shim = world.record(name).shim();
        assert!(proc_fs::signal(shim, libc::SIGKILL));
        assert_eq!(run.next().await, ProcessEvent::ShimLost);
        run.gone().await;
        assert!(
            !proc_fs::lives(main) && !proc_fs::lives(daemon),
            "cgroups: {cgroups}"
        );
        until("the shim is reaped", || proc_fs::status(shim.pid).is_none()).await;
        assert!(!world.generation(name, 1).path.exists());
        fs::remove_file(world.file("daemon")).unwrap();
    }
}

#[actix_rt::test]
async fn the_shim_runs_from_a_file_where_memory_may_not_be_executed() {
    let world = World::new();
    let processes = world.processes();
    processes.nursery.use_disk();
    let mut run = launch(&processes, "web", 1, shell("exit 6"));
    run.started().await;
    assert_eq!(run.ended().await.code, Some(6));
}

#[actix_rt::test]
async fn f90_a_shim_that_hangs_does_not_hold_up_a_stop_for_ever() {
    let world = World::new();
    let processes = world.processes();
    let mut process = spec(&["sleep", "1000"]);
    process.stop_timeout = Duration::from_millis(100);
    let mut run = launch(&processes, "web", 1, process);
    let main = identity(run.started().await);
    hold(world.record("web").shim_pid);
    run.process.stop();
    assert_eq!(run.next().await, ProcessEvent::ShimLost);
    run.gone().await;
    assert!(!proc_fs::lives(main));
}

#[actix_rt::test]
async fn f90_a_shim_that_was_stopped_is_continued_when_its_service_is_to_stop() {
    let world = World::new();
    let processes = world.processes();
    let mut run = launch(&processes, "web", 1, spec(&["sleep", "1000"]));
    run.started().await;
    assert!(proc_fs::signal(world.record("web").shim(), libc::SIGSTOP));
    run.process.stop();
    assert_eq!(run.ended().await.signal, Some(libc::SIGTERM));
}

#[actix_rt::test]
async fn f90_a_shim_that_was_stopped_does_not_hide_the_end_of_its_service() {
    let world = World::new();
    let processes = world.processes();
    let mut run = launch(&processes, "web", 1, spec(&["sleep", "1000"]));
    let main = identity(run.started().await);
    assert!(proc_fs::signal(world.record("web").shim(), libc::SIGSTOP));
    assert!(proc_fs::signal(main, libc::SIGUSR1));
    assert_eq!(run.ended().await.signal, Some(libc::SIGUSR1));
}

#[actix_rt::test]
async fn f90_a_shim_that_hangs_does_not_hide_the_end_of_its_service() {
    let world = World::new();
    let processes = world.processes();
    let mut run = launch(&processes, "web", 1, spec(&["sleep", "1000"]));
    let main = identity(run.started().await);
    let shim = world.record("web").shim();
    hold(shim.pid);
    // As on a disk that was full when it began.
    fs::remove_file(world.generation("web", 1).path.join("start.json")).unwrap();
    assert!(proc_fs::signal(main, libc::SIGKILL));
    assert_eq!(run.next().await, ProcessEvent::ShimLost);
    run.gone().await;
    assert!(!proc_fs::lives(shim));
}

#[actix_rt::test]
async fn a_spare_shim_waits_for_the_next_start_and_may_be_killed_without_harm() {
    let world = World::new();
    let processes = world.processes();
    let spare = async || {
        until("a spare shim waits", || {
            processes.nursery.spare_pid().is_some()
        })
        .await;
        processes.nursery.spare_pid().unwrap()
    };
    let mut first = launch(&processes, "web", 1, spec(&["sleep", "1000"]));
    first.started().await;
    let waiting = spare().await;
    let mut second = launch(&processes, "db", 1, spec(&["sleep", "1000"]));
    second.started().await;
    assert_eq!(world.record("db").shim_pid, waiting);

    let waiting = spare().await;
    assert!(proc_fs::signal(identity(waiting), libc::SIGKILL));
    until("it is dead", || {
        proc_fs::status(waiting).is_none_or(|status| status.dead)
    })
    .await;
    let mut third = launch(&processes, "cache", 1, spec(&["sleep", "1000"]));
    third.started().await;
    assert_ne!(world.record("cache").shim_pid, waiting);
    until("it is reaped", || proc_fs::status(waiting).is_none()).await;

    let waiting = spare().await;
    for run in [&mut first, &mut second, &mut third] {
        run.process.stop();
        run.ended().await;
    }
    drop(processes);
    until("the last spare one has ended", || {
        proc_fs::status(waiting).is_none_or(|status| status.dead)
    })
    .await;
}
