//! What services print, told besides the log; and what takes the place of a shim that cannot.

use std::io::Write as _;

use supervisor_actors::ports::output::{Hearing, Output};
use supervisor_shim::protocol::{encode, key, kind};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixListener;

use super::super::records::Cradle;
use super::*;

/// How often lines are looked for where the kernel tells of none, and some.
const SILENCE: Duration = Duration::from_millis(600);

fn hear(processes: &ShimProcesses, process: ProcessSpec, hearing: Hearing) -> Run {
    let (sink, events) = sink();
    let launch = Launch {
        name: service("web"),
        generation: Generation(1),
        process: Arc::new(process),
        environment: Vec::new(),
        hearing: Some(hearing),
        socket: None,
    };
    Run {
        process: processes.launch(launch, sink),
        events,
    }
}

/// Adopts a process that lives, to hear its lines.
async fn adopt_to_hear(processes: &ShimProcesses, process: &ProcessSpec) -> Run {
    let (sink, events) = sink();
    let name = service("web");
    let adoption = processes.adopt(&name, process, Some(Hearing::Lines), sink);
    let found = tokio::time::timeout(PATIENCE, adoption).await;
    let Some(Adoption::Living { process, .. }) = found.expect("no adoption") else {
        panic!("not found alive");
    };
    Run { process, events }
}

impl Run {
    async fn output(&mut self) -> Output {
        match self.next().await {
            ProcessEvent::Output(output) => output,
            other => panic!("expected Output, got {other:?}"),
        }
    }

    /// All that it prints until its end, and how often that was told.
    async fn printed(&mut self) -> (Output, u32) {
        let mut all = Output {
            lines: 0,
            lost: 0,
            text: Vec::new(),
            more: supervisor_actors::ports::output::More::default(),
        };
        let mut frames = 0;
        loop {
            match self.next().await {
                ProcessEvent::Output(output) => {
                    all.lines += output.lines;
                    all.lost += output.lost;
                    all.text.extend(output.text);
                    frames += 1;
                }
                ProcessEvent::Exited { left: false, .. } => return (all, frames),
                ProcessEvent::Started { .. } => {}
                other => panic!("expected Output or Exited, got {other:?}"),
            }
        }
    }
}

#[actix_rt::test]
async fn every_line_is_told_in_order_the_last_before_the_end() {
    let world = World::new();
    let processes = world.processes();
    let script = "echo one; echo two >&2; printf 'thr'; sleep 0.05; echo ee; printf end";
    let mut run = hear(&processes, shell(script), Hearing::Lines);
    let (all, _) = run.printed().await;
    let text = String::from_utf8(all.text).unwrap();
    assert_eq!(text, "one\ntwo\nthree\nend\n");
    assert_eq!((all.lines, all.lost), (4, 0));
    let dir = world.generation("web", 1);
    until("the shim's end", || !dir.is_locked()).await;
    assert_eq!(world.log("web"), "one\ntwo\nthree\nend");
}

#[actix_rt::test]
async fn lines_that_are_only_counted_are_all_counted() {
    let world = World::new();
    let processes = world.processes();
    let mut run = hear(&processes, shell("seq 100000"), Hearing::Count);
    let (all, frames) = run.printed().await;
    assert_eq!((all.lines, all.lost, all.text.len()), (100_000, 0, 0));
    assert!(frames < 1_000, "{frames} frames");
}

#[actix_rt::test]
async fn nobody_who_does_not_ask_is_told() {
    let world = World::new();
    let processes = world.processes();
    let mut run = launch(&processes, "web", 1, shell("seq 1000"));
    run.started().await;
    run.exited().await;
}

#[actix_rt::test]
async fn f71_a_flood_that_nobody_reads_holds_up_nobody_and_is_in_the_log() {
    const LINES: u32 = 300_000;
    let world = World::new();
    let processes = world.processes();
    // It closes its output before it ends.
    let script = format!("seq {LINES}; exec >&- 2>&-; sleep 0.1");
    let mut process = shell(&script);
    process.log_max_size = 0;
    let mut run = hear(&processes, process, Hearing::Lines);
    // Nothing is given back: no more may come.
    let mut kept = Vec::new();
    let (mut told, mut lost) = (0, 0);
    loop {
        match run.next().await {
            ProcessEvent::Output(output) => {
                told += output.lines;
                lost += output.lost;
                kept.push(output);
            }
            ProcessEvent::Exited { .. } => break,
            ProcessEvent::Started { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(kept.len() <= 5, "{} frames", kept.len());
    assert!(kept.iter().all(|output| output.text.len() <= 16 << 10));
    assert!(told > 1_000 && lost > LINES / 2, "{told} and {lost}");
    let dir = world.generation("web", 1);
    until("the shim's end", || !dir.is_locked()).await;
    let log = world.log("web");
    assert_eq!(log.lines().count(), LINES as usize);
    assert!(log.ends_with(&format!("{LINES}\n")));
}

#[actix_rt::test]
async fn f12_a_gigantic_line_costs_the_shim_little() {
    let world = World::new();
    let processes = world.processes();
    let script = "head -c 30000000 /dev/zero; echo; echo short; read -r _ <hold";
    let mut process = shell(script);
    process.cwd = world.path().to_owned();
    process.log_max_size = 1 << 20;
    let hold = world.file("hold");
    nix::unistd::mkfifo(&hold, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut run = hear(&processes, process, Hearing::Lines);
    run.started().await;
    let mut text = Vec::new();
    while !text.ends_with(b"\nshort\n") {
        text.extend(run.output().await.text);
    }
    assert_eq!(
        text.len(),
        4096 + "\nshort\n".len(),
        "cut at some kilobytes"
    );
    let shim = world.record("web").shim_pid;
    let status = std::fs::read_to_string(format!("/proc/{shim}/status")).unwrap();
    let rss = status
        .lines()
        .find(|line| line.starts_with("RssAnon"))
        .unwrap();
    let kb: u32 = rss.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(kb < 200, "{rss}");
    std::fs::write(hold, "\n").unwrap();
    assert_eq!(run.ended().await.code, Some(0));
}

#[actix_rt::test]
async fn an_adopted_process_is_heard_again_and_nothing_twice() {
    let world = World::new();
    let process = shell("n=0; while :; do n=$((n + 1)); echo line $n; sleep 0.01; done");
    let mut last = 0;
    let mut follow = |output: Output, seen: u32| {
        let text = String::from_utf8(output.text).unwrap();
        let numbers = text.lines().map(|line| {
            let number = line.strip_prefix("line ").expect("a whole line");
            number.parse::<u32>().expect("a number")
        });
        for (place, number) in numbers.enumerate() {
            // What was printed while nobody listened is in the log alone.
            let gap = seen == 0 && place == 0 && number > last;
            assert!(gap || number == last + 1, "{number} after {last}");
            last = number;
        }
    };
    let processes = world.processes();
    let mut run = hear(&processes, process.clone(), Hearing::Lines);
    run.started().await;
    for seen in 0..5 {
        follow(run.output().await, seen);
    }
    drop(run);
    for _ in 0..3 {
        let processes = world.processes();
        let mut run = adopt_to_hear(&processes, &process).await;
        for seen in 0..10 {
            follow(run.output().await, seen);
        }
    }
    // Who does not want to hear is not told, whoever wanted before.
    let processes = world.processes();
    let (found, mut events) = adopt(&processes, "web", &process).await;
    assert!(matches!(found, Some(Adoption::Living { .. })));
    tokio::time::sleep(SILENCE).await;
    assert!(events.try_recv().is_err());
}

/// A shim of the first version, as far as an adoption needs one: it says what it runs, keeps
/// its lock, and ignores what it does not know.
async fn old_shim(world: &World, main: &Stranger) -> actix_rt::task::JoinHandle<()> {
    let dir = world.generation("web", 1);
    let cradle = Cradle::make(&world.path().join("shim"), 0).unwrap();
    let lock = cradle.held().unwrap();
    cradle.become_dir_of(&dir).unwrap();
    let socket = UnixListener::bind(dir.path.join("sock")).unwrap();
    let id = main.id();
    actix_rt::spawn(async move {
        let _held = lock;
        loop {
            let (mut stream, _) = socket.accept().await.unwrap();
            let (pid, start) = (id.pid.to_string(), id.start_time.to_string());
            let mut hello = Vec::new();
            let fields: [(&str, &[u8]); 4] = [
                (key::PROTOCOL, b"1"),
                (key::STATE, b"running"),
                (key::PID, pid.as_bytes()),
                (key::START_TIME, start.as_bytes()),
            ];
            encode(kind::HELLO, &fields, &mut |piece| {
                hello.extend_from_slice(piece);
            });
            stream.write_all(&hello).await.unwrap();
            let mut ignored = Vec::new();
            let _ = stream.read_to_end(&mut ignored).await;
        }
    })
}

#[actix_rt::test]
async fn under_a_shim_of_the_first_version_the_log_is_read_instead() {
    let world = World::new();
    let main = Stranger::new();
    // The directories of a data directory in use.
    drop(world.processes());
    let shim = old_shim(&world, &main).await;
    let path = world.path().join("log/web.log");
    let print = |text: &str| {
        let mut options = std::fs::OpenOptions::new();
        let mut log = options.append(true).create(true).open(&path).unwrap();
        log.write_all(text.as_bytes()).unwrap();
    };
    print("before\nand half");
    let processes = world.processes();
    let mut run = adopt_to_hear(&processes, &spec(&["sleep"])).await;
    // It begins at the end of the file: what stands there is nobody's pulse.
    tokio::time::sleep(SILENCE).await;
    run.assert_silent();
    print(" a line\none\ntw");
    assert_eq!(run.output().await.text, b"one\n");
    print("o\n");
    assert_eq!(run.output().await.text, b"two\n");
    std::fs::rename(&path, world.path().join("log/web.log.1")).unwrap();
    print(&("x".repeat(10_000) + "\nafter the rotation\n"));
    let output = run.output().await;
    let text = "x".repeat(4096) + "\nafter the rotation\n";
    assert_eq!(String::from_utf8(output.text), Ok(text));
    assert_eq!(output.lines, 2);
    // Nothing more comes while that is being dealt with, and nothing is lost meanwhile.
    print("one more\n");
    tokio::time::sleep(SILENCE).await;
    run.assert_silent();
    drop(output.more);
    assert_eq!(run.output().await.text, b"one more\n");
    shim.abort();
}

#[actix_rt::test]
async fn a_stop_that_is_extended_may_take_longer_and_not_for_ever() {
    let world = World::new();
    let processes = world.processes();
    for (by, code) in [(60_000, Some(0)), (1, None)] {
        let _ = std::fs::remove_file(world.file("ready"));
        let _ = std::fs::remove_file(world.file("end"));
        let mut process = shell(
            "trap 'while [ ! -e end ]; do sleep 0.01; done; exit 0' TERM; \
             echo >ready; while :; do sleep 0.01; done",
        );
        process.cwd = world.path().to_owned();
        process.stop_timeout = Duration::from_millis(700);
        let mut run = launch(&processes, "web", 1, process);
        run.started().await;
        until("the trap", || world.file("ready").exists()).await;
        let begin = tokio::time::Instant::now();
        run.process.stop();
        run.process.extend(Duration::from_millis(by));
        if code.is_some() {
            tokio::time::sleep(Duration::from_millis(1_500)).await;
            run.assert_silent();
            std::fs::write(world.file("end"), "").unwrap();
        }
        let exit = run.ended().await;
        assert_eq!(exit.code, code, "{exit:?}");
        assert!(
            begin.elapsed() >= Duration::from_millis(700),
            "none is taken away"
        );
        let dir = world.generation("web", 1);
        until("the shim's end", || !dir.is_locked()).await;
    }
}
