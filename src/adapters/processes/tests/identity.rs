//! What a process starts with.

use super::*;
use std::collections::BTreeMap;

fn is_root() -> bool {
    let root = nix::unistd::Uid::effective().is_root();
    if !root {
        eprintln!("skipped: only root can become other users");
    }
    root
}

/// Runs a script to its end; gives what it wrote.
async fn output(world: &World, process: ProcessSpec) -> String {
    let processes = world.processes();
    let mut run = launch(&processes, "probe", 1, process);
    run.started().await;
    let exit = run.ended().await;
    let dir = world.generation("probe", 1);
    until("the shim's end", || !dir.is_locked()).await;
    let log = world.log("probe");
    assert_eq!(exit.code, Some(0), "{log}");
    log
}

#[actix_rt::test]
async fn the_environment_is_what_the_contract_names_and_nothing_else() {
    let world = World::new();
    let mut process = spec(&["env"]);
    process.env = vec![
        ("COLOUR".into(), "a b=c".into()),
        ("COLOUR".into(), "blue".into()),
    ];
    process.pass_env = vec!["CARGO_MANIFEST_DIR".into(), "NOT_SET_ANYWHERE".into()];
    process.watchdog = Some(Duration::from_millis(1500));
    let text = output(&world, process).await;
    let found: BTreeMap<&str, &str> = text
        .lines()
        .filter_map(|line| line.split_once('='))
        .collect();
    let mut expected = vec![
        "COLOUR",
        "HOME",
        "PATH",
        "SUPERVISOR_SERVICE",
        "SUPERVISOR_TOKEN",
        "SUPERVISOR_URL",
        "USER",
        "WATCHDOG_PID",
        "WATCHDOG_USEC",
    ];
    for optional in ["CARGO_MANIFEST_DIR", "LANG", "TZ"] {
        if std::env::var_os(optional).is_some() {
            expected.push(optional);
        }
    }
    expected.sort_unstable();
    assert_eq!(found.keys().copied().collect::<Vec<_>>(), expected);
    assert_eq!(found["COLOUR"], "blue");
    assert_eq!(found["WATCHDOG_USEC"], "1500000");
    assert_eq!(found["SUPERVISOR_SERVICE"], "probe");
    assert_eq!(found["SUPERVISOR_URL"], "http://127.0.0.1:5001");
    let token = crate::adapters::child_token::child_token(&world.key, "probe");
    assert_eq!(found["SUPERVISOR_TOKEN"], token);
}

#[actix_rt::test]
async fn watchdog_pid_is_the_childs_own() {
    let world = World::new();
    let mut process = shell("test $WATCHDOG_PID = $$ && echo yes");
    process.watchdog = Some(Duration::from_secs(1));
    assert_eq!(output(&world, process).await, "yes\n");
}

#[actix_rt::test]
async fn f11_a_child_has_three_descriptors_whatever_we_leak() {
    let world = World::new();
    // Not closed on exec, as a careless library would leave it.
    let leak = std::fs::File::open("/etc/passwd").unwrap();
    rustix::io::fcntl_setfd(&leak, rustix::io::FdFlags::empty()).unwrap();
    let text = output(
        &world,
        // No pipeline: the shell itself would hold its ends for a moment.
        shell("readlink /proc/$$/fd/*; ls -m /proc/$$/fd"),
    )
    .await;
    let mut lines: Vec<&str> = text.lines().collect();
    // dash itself keeps nothing else open.
    assert_eq!(lines.pop(), Some("0, 1, 2"), "{text}");
    assert_eq!(lines[0], "/dev/null");
    assert!(
        lines[1].starts_with("pipe:") && lines[1] == lines[2],
        "{text}"
    );
}

#[actix_rt::test]
async fn f14_a_child_that_reads_its_input_gets_its_end() {
    let world = World::new();
    assert_eq!(output(&world, shell("cat; echo end")).await, "end\n");
}

#[actix_rt::test]
async fn a_child_leads_its_own_session_with_default_signals() {
    let world = World::new();
    let text = output(
        &world,
        shell("cut -d' ' -f1,5,6 /proc/$$/stat; exec grep -E '^Sig(Blk|Ign)' /proc/self/status"),
    )
    .await;
    let lines: Vec<&str> = text.lines().collect();
    let ids: Vec<&str> = lines[0].split(' ').collect();
    assert!(
        ids[0] == ids[1] && ids[1] == ids[2],
        "pid, group, session: {text}"
    );
    assert_eq!(lines[1], "SigBlk:\t0000000000000000");
    assert_eq!(lines[2], "SigIgn:\t0000000000000000");
}

#[actix_rt::test]
async fn user_group_umask_nice_and_limits_are_taken_on() {
    if !is_root() {
        return;
    }
    let world = World::new();
    let mut process = shell(
        "id -un; id -gn; id -G; umask; nice; ulimit -n; ulimit -c; echo $HOME $USER; \
         grep NoNewPrivs /proc/$$/status | tr -d '\\t'; echo again > /dev/stdout",
    );
    process.user = Some("nobody".into());
    process.umask = Some(0o027);
    process.nice = Some(5);
    process.limits = vec![("nofile".into(), 256), ("core".into(), 0)];
    let text = output(&world, process).await;
    let user = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    let gid = user.gid.to_string();
    let group = nix::unistd::Group::from_gid(user.gid)
        .unwrap()
        .unwrap()
        .name;
    let home = format!("{} nobody", user.dir.display());
    let expected = [
        "nobody",
        &group,
        &gid,
        "0027",
        "5",
        "256",
        "0",
        &home,
        "NoNewPrivs:1",
        "again",
        "",
    ];
    assert_eq!(text, expected.join("\n"));
}

#[actix_rt::test]
async fn a_group_alone_changes_only_the_group() {
    if !is_root() {
        return;
    }
    let world = World::new();
    let mut process = shell("id -u; id -g; id -G; grep NoNewPrivs /proc/$$/status | tr -d '\\t'");
    process.group = Some("65534".into());
    assert_eq!(
        output(&world, process).await,
        "0\n65534\n65534\nNoNewPrivs:0\n"
    );
}

#[actix_rt::test]
async fn large_environments_arrive_whole() {
    let world = World::new();
    let mut process = shell("env | grep -c ^BIG_; echo ${#BIG_7}");
    // More than a socket's buffer takes at once.
    process.env = (0..10)
        .map(|i| (format!("BIG_{i}"), "x".repeat(100_000)))
        .collect();
    assert_eq!(output(&world, process).await, "10\n100000\n");
}

#[actix_rt::test]
async fn nothing_secret_is_in_the_shims_command_line_or_environment() {
    let world = World::new();
    let processes = world.processes();
    let mut process = spec(&["sleep", "1000"]);
    process.env = vec![("SECRET".into(), "hunter2".into())];
    let mut run = launch(&processes, "web", 1, process);
    run.started().await;
    let shim = world.record("web").shim_pid;
    let read = |file: &str| std::fs::read(format!("/proc/{shim}/{file}")).unwrap();
    // It overwrites the title it waited under: zeros fill the rest.
    let title = String::from_utf8(read("cmdline")).unwrap();
    assert_eq!(title.trim_end_matches('\0'), "supervisor-shim web");
    assert_eq!(read("environ"), b"");
    assert_eq!(read("comm"), b"supervisor-shim\n");
    run.process.stop();
    run.ended().await;
}
