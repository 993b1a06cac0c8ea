//! `supervisor top` in a real terminal: tmux is its screen and its keyboard.

use std::path::PathBuf;
use std::process::Command;

use crate::common::World;
use crate::common::script::{command, sh};
use crate::common::wait::wait_until;
use crate::common::world::PROGRAM;

/// A tmux server of its own with one window, in which `top` runs.
struct Terminal {
    socket: PathBuf,
    dir: PathBuf,
}

impl Terminal {
    fn open(world: &World) -> Self {
        let terminal = Self {
            socket: world.file("tmux"),
            dir: world.dir().to_owned(),
        };
        let line = format!("{PROGRAM} top; echo \"left with $?\"; exec sleep 1000");
        terminal.tmux(&[
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            "110",
            "-y",
            "24",
            "sh",
            "-c",
            &line,
        ]);
        terminal
    }

    fn tmux(&self, words: &[&str]) -> String {
        let ran = Command::new("tmux")
            .arg("-S")
            .arg(&self.socket)
            .args(words)
            .env("TERM", "xterm-256color")
            .current_dir(&self.dir)
            .output()
            .expect("tmux starts (tests/run installs it)");
        assert!(ran.status.success(), "{words:?}: {ran:?}");
        String::from_utf8_lossy(&ran.stdout).into_owned()
    }

    fn press(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// Waits for a screen that shows it.
    fn wait(&self, text: &str) -> String {
        wait_until(&format!("{text:?} on the screen"), || {
            let screen = self.screen();
            screen.contains(text).then_some(screen)
        })
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

#[test]
fn top_shows_the_services_live_and_acts_on_them() {
    let mut world = World::plan()
        .service("steady", &command(&["sleep", "1000"]))
        .service("talker", &sh("echo hello from here; exec sleep 1000"))
        .service("watched", "interval = \"1h\"")
        .start();
    world.wait_healthy("steady");
    world.wait_healthy("talker");
    let before = world.service("steady").generation;
    let terminal = Terminal::open(&world);
    terminal.wait("2 healthy");

    // A level changes under its eyes, and goes to the top.
    let report = world.cli(&["pulse", "watched", "--error", "broken", "--critical"]);
    assert_eq!(report.code, Some(0), "{report:?}");
    let screen = terminal.wait("1 critical");
    let first = screen.lines().nth(2).unwrap_or_default();
    assert!(
        first.starts_with("watched") && first.contains("broken"),
        "{screen}"
    );

    // Found by its name, restarted once somebody has said yes.
    terminal.press(&["/", "ste", "Enter", "r"]);
    let screen = terminal.wait("restart steady? y: yes");
    assert!(!screen.contains("talker"), "{screen}");
    assert_eq!(world.service("steady").generation, before);
    terminal.press(&["y"]);
    terminal.wait("restart steady: asked for");
    world.wait_for("steady", "in another life", |steady| {
        steady.generation > before
    });

    // Its log, and everything known of it.
    terminal.press(&["Escape"]);
    terminal.wait("talker");
    terminal.press(&["/", "talker", "Enter", "l"]);
    terminal.wait("hello from here");
    terminal.press(&["d"]);
    terminal.wait("generation 1");

    // Without a supervisor it says so, and goes on when there is one again.
    world.kill();
    terminal.wait("no signal");
    world.start();
    terminal.wait("1 critical");
    terminal.press(&["q"]);
    let screen = terminal.wait("left with 0");
    assert!(
        !screen.contains("talker"),
        "the terminal is as it was: {screen}"
    );
}

#[test]
fn top_needs_a_terminal() {
    let world = World::plan()
        .service("steady", &command(&["sleep", "1000"]))
        .prepare();
    let ran = world.cli(&["top"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{ran:?}");
    assert!(ran.err.contains("status --watch"), "{ran:?}");
}
