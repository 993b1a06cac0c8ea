//! The stop ladder over the whole tree.

use super::*;

#[actix_rt::test]
async fn a_process_starts_and_its_exit_code_is_told_once() {
    let world = World::new();
    let processes = world.processes();
    let mut run = launch(&processes, "web", 1, shell("echo hello; exit 3"));
    run.started().await;
    let (exit, left) = run.exited().await;
    assert_eq!(
        (exit.code, exit.signal, exit.oom, left),
        (Some(3), None, false, false)
    );
    let dir = world.generation("web", 1);
    until("the exit record", || dir.exit_record().unwrap().is_some()).await;
    assert_eq!(dir.exit_record().unwrap().unwrap().exit(), exit);
    until("the shim's end", || !dir.is_locked()).await;
    assert_eq!(world.log("web"), "hello\n");
    run.assert_silent();
}

#[actix_rt::test]
async fn a_shim_is_waited_for_though_its_process_was_let_go_at_the_exit() {
    let world = World::new();
    let processes = world.processes();
    let mut run = launch(&processes, "a", 1, shell("exec sleep 1000"));
    run.started().await;
    let shim = world.record("a").shim_pid;
    run.process.stop();
    run.ended().await;
    drop(run);
    let place = format!("/proc/{shim}");
    until("a zombie less", || !Path::new(&place).exists()).await;
}

#[actix_rt::test]
async fn a_stop_is_the_stop_signal_first() {
    let world = World::new();
    let processes = world.processes();
    let mut process = shell("trap 'exit 7' USR1; echo > ready; while :; do sleep 0.01; done");
    process.cwd = world.path().to_owned();
    process.stop_signal = libc::SIGUSR1;
    let mut run = launch(&processes, "web", 1, process);
    run.started().await;
    until("the trap", || world.file("ready").exists()).await;
    run.process.stop();
    assert_eq!(run.ended().await.code, Some(7));
}

#[actix_rt::test]
async fn f01_a_stopped_process_is_woken_to_hear_its_stop_signal() {
    let world = World::new();
    let processes = world.processes();
    let mut run = launch(&processes, "web", 1, spec(&["sleep", "1000"]));
    let pid = run.started().await;
    assert!(proc_fs::signal(identity(pid), libc::SIGSTOP));
    let state = format!("/proc/{pid}/stat");
    until("it is stopped", || {
        std::fs::read_to_string(&state).unwrap().contains(") T ")
    })
    .await;
    run.process.stop();
    // Far within the 10 s after which SIGKILL would end it.
    assert_eq!(run.ended().await.signal, Some(libc::SIGTERM));
}

#[actix_rt::test]
async fn f02_who_ignores_the_stop_signal_is_killed_after_the_timeout() {
    let world = World::new();
    let processes = world.processes();
    let mut process = shell("trap '' TERM; echo > ready; while :; do sleep 0.01; done");
    process.cwd = world.path().to_owned();
    process.stop_timeout = Duration::from_millis(300);
    let mut run = launch(&processes, "web", 1, process);
    run.started().await;
    until("the trap", || world.file("ready").exists()).await;
    let begin = tokio::time::Instant::now();
    run.process.stop();
    assert_eq!(run.ended().await.signal, Some(libc::SIGKILL));
    assert!(begin.elapsed() >= Duration::from_millis(300));
}

#[actix_rt::test]
async fn a_second_stop_kills_at_once() {
    let world = World::new();
    let processes = world.processes();
    let mut process = shell("trap '' TERM; echo > ready; while :; do sleep 0.01; done");
    process.cwd = world.path().to_owned();
    process.stop_timeout = Duration::from_secs(1000);
    let mut run = launch(&processes, "web", 1, process);
    run.started().await;
    until("the trap", || world.file("ready").exists()).await;
    run.process.stop();
    run.process.stop();
    assert_eq!(run.ended().await.signal, Some(libc::SIGKILL));
}

#[actix_rt::test]
async fn f03_a_daemon_that_forked_twice_is_stopped_with_the_rest() {
    let world = World::new();
    let processes = world.processes();
    let mut process = shell(
        "(setsid sh -c 'trap \"\" TERM; echo $$ > daemon; while :; do sleep 0.01; done' &) ; \
         while :; do sleep 0.01; done",
    );
    process.cwd = world.path().to_owned();
    process.stop_timeout = Duration::from_millis(300);
    let mut run = launch(&processes, "web", 1, process);
    run.started().await;
    let daemon = identity(number_in(&world.file("daemon")).await);
    run.process.stop();
    let (exit, left) = run.exited().await;
    assert_eq!((exit.signal, left), (Some(libc::SIGTERM), true));
    assert!(
        proc_fs::lives(daemon),
        "it ignores TERM and has a session of its own"
    );
    run.gone().await;
    assert!(!proc_fs::lives(daemon));
}

#[actix_rt::test]
async fn f05_what_main_leaves_behind_is_ended_before_gone_is_said() {
    let world = World::new();
    let processes = world.processes();
    let mut process = shell("setsid sleep 1000 & echo $! > child; exit 4");
    process.cwd = world.path().to_owned();
    let mut run = launch(&processes, "web", 1, process);
    run.started().await;
    let (exit, left) = run.exited().await;
    assert_eq!((exit.code, left), (Some(4), true));
    let child = number_in(&world.file("child")).await;
    run.gone().await;
    assert_eq!(proc_fs::status(child), None, "ended and reaped");
    let dir = world.generation("web", 1);
    until("the record says so", || {
        dir.exit_record().unwrap().is_some_and(|exit| !exit.left)
    })
    .await;
}

#[actix_rt::test]
async fn without_a_cgroup_the_tree_is_found_as_well() {
    let world = World::new();
    let mut processes = world.processes();
    processes.cgroups = None;
    let mut process = shell(
        "(setsid sh -c 'trap \"\" TERM; echo $$ > daemon; while :; do sleep 0.01; done' &) ; \
         while :; do sleep 0.01; done",
    );
    process.cwd = world.path().to_owned();
    process.stop_timeout = Duration::from_millis(200);
    let mut run = launch(&processes, "web", 1, process);
    run.started().await;
    assert_eq!(world.record("web").cgroup(), None);
    let daemon = identity(number_in(&world.file("daemon")).await);
    run.process.stop();
    run.ended().await;
    assert!(!proc_fs::lives(daemon));
}

#[actix_rt::test]
async fn cgroups_are_made_for_a_service_and_nothing_of_them_is_left_in_the_end() {
    let world = World::new();
    let processes = world.processes();
    let Some(root) = processes.cgroups.clone() else {
        eprintln!("skipped: there is no cgroup v2 here that we may write");
        return;
    };
    let mut runs = Vec::new();
    for name in ["a", "b"] {
        let mut run = launch(&processes, name, 1, spec(&["sleep", "1000"]));
        let pid = run.started().await;
        let cgroup = world.record(name).cgroup().unwrap();
        assert_eq!(super::super::cgroup::members(&cgroup).unwrap(), [pid]);
        runs.push(run);
    }
    for run in &mut runs {
        run.process.stop();
        run.ended().await;
    }
    until("the cgroups are gone", || !root.exists()).await;

    std::fs::create_dir_all(root.join("left.1")).unwrap();
    drop(processes);
    world.processes();
    assert!(!root.exists(), "what a killed shim left is removed, too");
}

#[actix_rt::test]
async fn f06_zombies_of_strangers_children_are_reaped_and_do_not_hold_up_the_end() {
    let world = World::new();
    let processes = world.processes();
    // Orphans end up at the shim, which reaps them while main lives on.
    let mut process =
        shell("(sh -c 'echo $$ > orphan' &); while [ ! -e end ]; do sleep 0.01; done");
    process.cwd = world.path().to_owned();
    let mut run = launch(&processes, "web", 1, process);
    run.started().await;
    let orphan = number_in(&world.file("orphan")).await;
    until("it is reaped", || proc_fs::status(orphan).is_none()).await;
    std::fs::write(world.file("end"), "").unwrap();
    let (exit, left) = run.exited().await;
    assert_eq!((exit.code, left), (Some(0), false));
}

#[actix_rt::test]
async fn f18_an_exit_while_stopping_is_told_like_any_other_and_ends_the_stop() {
    let world = World::new();
    let processes = world.processes();
    let mut process = shell("trap 'exit 1' TERM; echo > ready; while :; do sleep 0.01; done");
    process.cwd = world.path().to_owned();
    let mut run = launch(&processes, "web", 1, process);
    run.started().await;
    until("the trap", || world.file("ready").exists()).await;
    run.process.stop();
    let (exit, left) = run.exited().await;
    assert_eq!((exit.code, left), (Some(1), false));
    run.process.stop();
    let dir = world.generation("web", 1);
    until("the shim's end", || !dir.is_locked()).await;
    run.assert_silent();
}

#[actix_rt::test]
async fn a_stop_right_after_the_launch_is_not_lost() {
    let world = World::new();
    let processes = world.processes();
    for generation in 1..20 {
        let mut run = launch(&processes, "web", generation, spec(&["sleep", "1000"]));
        run.process.stop();
        run.started().await;
        assert_eq!(run.ended().await.signal, Some(libc::SIGTERM));
    }
}

#[actix_rt::test]
async fn a_signal_reaches_main_and_is_refused_when_it_is_gone() {
    let world = World::new();
    let processes = world.processes();
    let mut run = launch(&processes, "web", 1, spec(&["sleep", "1000"]));
    assert!(
        run.process.signal(libc::SIGUSR1).is_err(),
        "not started yet"
    );
    run.started().await;
    run.process.signal(libc::SIGUSR1).unwrap();
    assert_eq!(run.ended().await.signal, Some(libc::SIGUSR1));
    assert!(run.process.signal(libc::SIGUSR1).is_err());
}

/// Not even SIGKILL ends what the old freezer holds: a stand-in for a disk that never answers.
struct Frozen(PathBuf);

impl Frozen {
    fn new(pid: i32) -> Option<Self> {
        let path = PathBuf::from(format!("/sys/fs/cgroup/freezer/supervisor-test-{pid}"));
        std::fs::create_dir(&path).ok()?;
        let frozen = Self(path);
        std::fs::write(frozen.0.join("cgroup.procs"), pid.to_string()).ok()?;
        std::fs::write(frozen.0.join("freezer.state"), "FROZEN").ok()?;
        Some(frozen)
    }

    fn thaw(&self) {
        std::fs::write(self.0.join("freezer.state"), "THAWED").unwrap();
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let _ = std::fs::write(self.0.join("freezer.state"), "THAWED");
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[actix_rt::test]
async fn a_stop_names_who_blocks_it_and_ends_when_that_does() {
    let world = World::new();
    let processes = world.processes();
    let mut process = spec(&["sleep", "1000"]);
    process.stop_timeout = Duration::from_millis(50);
    let mut run = launch(&processes, "web", 1, process);
    let pid = run.started().await;
    let Some(frozen) = Frozen::new(pid) else {
        eprintln!("skipped: there is no freezer of cgroup v1 here");
        return;
    };
    run.process.stop();
    for _ in 0..2 {
        assert_eq!(
            run.next().await,
            ProcessEvent::Blocked(format!("{pid} (sleep)"))
        );
    }
    frozen.thaw();
    run.ended().await;
}
