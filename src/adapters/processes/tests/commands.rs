//! Commands that are run to their end, and whatever they start.

use std::path::Path;

use tokio::time::timeout;

use super::super::command::{Commands, Remains, Trouble};
use super::*;

struct Bench {
    home: tempfile::TempDir,
    commands: Commands,
    remains: Remains,
    process: ProcessSpec,
}

impl Bench {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let url = "http://127.0.0.1:5001".to_owned();
        let commands = Commands::new(home.path().to_owned(), url);
        let process = ProcessSpec {
            cwd: home.path().to_owned(),
            ..spec(&[])
        };
        Self {
            home,
            commands,
            remains: Remains::default(),
            process,
        }
    }

    async fn run(&self, command: &[&str], patience: Duration) -> Result<(), Trouble> {
        let process = ProcessSpec {
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            ..self.process.clone()
        };
        let name = ServiceName::new("web").unwrap();
        self.commands
            .run(&name, &process, patience, &self.remains)
            .await
    }

    async fn shell(&self, script: &str) -> Result<(), Trouble> {
        self.run(&["sh", "-c", script], PATIENCE).await
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Until nothing of the last one lives.
    async fn over(&self) {
        let over = async {
            while self.remains.are_left() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, over).await.unwrap();
    }
}

fn failed(text: &str) -> Result<(), Trouble> {
    Err(Trouble::Failed(text.to_owned()))
}

/// The numbers in a file, once it is there.
async fn numbers(path: &Path) -> Vec<i32> {
    let read = async {
        loop {
            if let Ok(text) = std::fs::read_to_string(path) {
                return text
                    .split_whitespace()
                    .map(|n| n.parse().unwrap())
                    .collect();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, read).await.unwrap()
}

fn lives(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

#[actix_rt::test]
async fn a_command_that_ends_well_is_well_and_others_say_how_and_their_last_words() {
    let bench = Bench::new();
    assert_eq!(bench.shell("exit 0").await, Ok(()));
    assert_eq!(
        bench.shell("echo one; echo two >&2; exit 3").await,
        failed("sh ended with code 3: one | two")
    );
    assert_eq!(
        bench.shell("echo last words; kill -SEGV $$").await,
        failed("sh was ended by SIGSEGV: last words")
    );
    bench.over().await;
}

#[actix_rt::test]
async fn one_that_cannot_be_started_says_why_and_what_would_help() {
    let bench = Bench::new();
    for (command, why) in [
        ("/no/such/program", "/no/such/program"),
        ("no-such-program", "no-such-program"),
        ("/etc/passwd", "/etc/passwd"),
    ] {
        match bench.run(&[command], PATIENCE).await {
            Err(Trouble::Failed(said)) => assert!(said.contains(why), "{said}"),
            other => panic!("{other:?}"),
        }
    }
    let mut bench = Bench::new();
    bench.process.cwd = "/no/such/directory".into();
    let said = bench.shell("true").await;
    assert_eq!(
        said,
        failed(
            "its working directory /no/such/directory does not exist; create it or correct `cwd`"
        )
    );
    bench.process.user = Some("no-such-user".to_owned());
    match bench.shell("true").await {
        Err(Trouble::Failed(said)) => assert!(said.contains("no-such-user"), "{said}"),
        other => panic!("{other:?}"),
    }
}

#[actix_rt::test]
async fn it_has_the_service_s_directory_environment_and_limits_but_not_its_token() {
    let mut bench = Bench::new();
    bench.process.env = vec![("COLOUR".to_owned(), "red".to_owned())];
    bench.process.umask = Some(0o027);
    bench.process.limits = vec![("core".to_owned(), 0)];
    let said = bench
        .shell("pwd; echo $COLOUR $SUPERVISOR_SERVICE $SUPERVISOR_URL; umask; ulimit -c; exit 1")
        .await;
    let home = bench.home.path().canonicalize().unwrap();
    assert_eq!(
        said,
        failed(&format!(
            "sh ended with code 1: {} | red web http://127.0.0.1:5001 | 0027 | 0",
            home.display()
        ))
    );
    let said = bench.shell("env | cut -d= -f1 | sort; exit 1").await;
    let Err(Trouble::Failed(said)) = said else {
        panic!("{said:?}");
    };
    assert!(
        !said.contains("TOKEN") && !said.contains("NOTIFY"),
        "{said}"
    );
    assert!(
        !said.contains("CARGO"),
        "our own environment is ours: {said}"
    );
}

#[actix_rt::test]
async fn it_runs_as_the_service_s_user() {
    if !nix::unistd::Uid::effective().is_root() {
        // Only root may become somebody else; the whole suite runs as root.
        return;
    }
    let mut bench = Bench::new();
    bench.process.user = Some("nobody".to_owned());
    bench.process.cwd = "/".into();
    assert_eq!(
        bench.shell("id -un; exit 1").await,
        failed("sh ended with code 1: nobody")
    );
}

#[actix_rt::test]
async fn it_has_nothing_to_read_and_no_descriptor_of_ours() {
    let bench = Bench::new();
    let said = bench
        .shell("test -z \"$(cat)\" || exit 9; ls /proc/self/fd; exit 1")
        .await;
    // The fourth is the directory that ls reads.
    assert_eq!(said, failed("sh ended with code 1: 0 | 1 | 2 | 3"));
}

#[actix_rt::test]
async fn its_whole_tree_is_killed_when_its_time_is_up() {
    let bench = Bench::new();
    let pids = bench.path("pids");
    // One in its group, one in a session of its own, and one whose parent is gone.
    let script = format!(
        "trap '' TERM; sleep 1000 & echo $! > a; \
         setsid sh -c 'echo $$ > b; exec sleep 1000' & \
         (setsid sh -c 'echo $$ > c; exec sleep 1000' &) ; \
         while ! test -s a || ! test -s b || ! test -s c; do sleep 0.01; done; \
         cat a b c > pids.new; echo $$ >> pids.new; mv pids.new {}; echo waiting; wait",
        pids.display()
    );
    let patience = Duration::from_secs(3);
    let said = bench.run(&["sh", "-c", &script], patience).await;
    assert_eq!(
        said,
        failed("sh did not end within 3s and was killed: waiting")
    );
    let pids = numbers(&pids).await;
    assert_eq!(pids.len(), 4);
    bench.over().await;
    for pid in pids {
        assert!(!lives(pid), "{pid} lives");
    }
}

#[actix_rt::test]
async fn what_it_leaves_behind_when_it_ends_is_killed_and_not_waited_for() {
    let bench = Bench::new();
    let script = "setsid sh -c 'echo $$ > left.new; mv left.new left; exec sleep 1000' & \
                  while ! test -s left; do sleep 0.01; done; echo done; exit 1";
    assert_eq!(
        bench.shell(script).await,
        failed("sh ended with code 1: done")
    );
    let left = numbers(&bench.path("left")).await;
    bench.over().await;
    assert!(!lives(left[0]));
}

#[actix_rt::test]
async fn one_that_nobody_waits_for_any_more_is_killed() {
    let bench = Bench::new();
    let script = "echo $$ > pid.new; mv pid.new pid; exec sleep 1000";
    let pid = {
        let run = bench.shell(script);
        let file = bench.path("pid");
        let begun = numbers(&file);
        tokio::select! {
            biased;
            said = run => panic!("{said:?}"),
            pid = begun => pid[0],
        }
    };
    assert!(bench.remains.are_left());
    bench.over().await;
    assert!(!lives(pid));
}

#[actix_rt::test]
async fn an_endless_output_is_bounded() {
    let bench = Bench::new();
    let said = bench.shell("cat /dev/zero").await;
    let Err(Trouble::Failed(said)) = said else {
        panic!("{said:?}");
    };
    assert!(said.starts_with("sh ended with code 1: "), "{said}");
    assert!(said.len() < 2_000);
}

#[actix_rt::test]
async fn on_a_machine_that_forbids_executable_memory_it_runs_from_a_file() {
    let bench = Bench::new();
    let file = bench.path("supervisor-shim");
    assert_eq!(bench.shell("true").await, Ok(()));
    assert!(!file.exists(), "from memory, where that may be executed");
    bench.commands.use_disk();
    assert_eq!(bench.shell("true").await, Ok(()));
    assert!(file.exists());
}
