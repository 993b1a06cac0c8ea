//! A file that the service writes: a Deacon's heartbeat, a session's, or any whose mtime moves.
//!
//! ```text
//!   changed ──▶ look ──▶ reading ──▶ as the last one? nothing
//!                 ▲         │ cut, empty     └──▶ pulse, at receipt
//!                 └─ again ◀┘
//! ```
//!
//! While we run a change of the content is a pulse, received when we see it, whatever its
//! timestamp says: a wrong clock kills nobody, and a timestamp from the future does not renew
//! itself. Only content that we meet as it stands is judged by age, that of the earliest of
//! its timestamp, the file's mtime and now ([`age_at_first_sight`]).
//!
//! Of a service that we run, what stood there when a life began is not that life's pulse, nor
//! is what was written before. Of one that was found after our own restart, what its process
//! has written counts by its age.
//!
//! The writer is not atomic: what cannot be read is looked at again for a while, and the end
//! of the write is an event that brings us back in any case. It is never held against anybody.

use std::cell::RefCell;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use slog::{Logger, info, warn};
use tokio::sync::Notify;

use supervisor_actors::source::{Ear, Life, Listening, Source};
use supervisor_actors::spec::ServiceSpec;
use supervisor_core::Timestamp;
use supervisor_core::deacon::{GoTime, Heartbeat, NoHeartbeat, Session, age_at_first_sight};
use supervisor_core::event::{Generation, Note};

use super::About;
use crate::adapters::file_watch::{FileWatch, Watched};
use crate::adapters::processes::age_of_process;
use crate::adapters::small_file::{Found, Stamp, look};
use crate::config::reader::Table;

/// After how long a file is looked at again that could not be read: two seconds in all.
const LOOK_AGAIN: [Duration; 6] = [
    Duration::from_millis(10),
    Duration::from_millis(40),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(600),
    Duration::from_millis(1_000),
];

/// A file's mtime is that of the kernel's last tick: so much earlier than it was written.
const TICK: i64 = 20_000;

/// A timestamp so far ahead of our clock, in microseconds, is worth a word.
const AHEAD: i64 = 1_000_000;

/// Which format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Deacon,
    Session,
    Mtime,
}

/// What the configuration says.
#[derive(Debug)]
struct HeartbeatFile {
    path: PathBuf,
    kind: Kind,
    /// How often it is looked at in any case.
    every: Duration,
    /// Whether we run the service.
    ours: bool,
    files: FileWatch,
}

/// At work for one service.
struct Listener {
    ear: Ear,
    /// The file, where clients know how to write it.
    told: Option<PathBuf>,
    phase: Rc<RefCell<Phase>>,
    waker: Arc<Notify>,
    task: actix_rt::task::JoinHandle<()>,
}

/// Whom a change speaks of.
enum Phase {
    /// Nobody lives.
    Off,
    On {
        generation: Option<Generation>,
        ear: Ear,
        sight: Sight,
    },
}

/// How content is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sight {
    /// Never seen: its age decides, if it is not older than that.
    First { not_before: Option<Timestamp> },
    /// A life began then: what is older is not its own.
    Begun { at: Timestamp },
    /// A change is a pulse.
    Known,
}

/// The task that looks.
struct Task {
    watched: Watched,
    kind: Kind,
    phase: Rc<RefCell<Phase>>,
    ear: Ear,
    /// What the content was when it was last looked at.
    known: Option<u64>,
    flagged: bool,
    complained: bool,
}

/// What a file says.
#[derive(Debug, Clone, PartialEq)]
struct Reading {
    print: u64,
    modified: Timestamp,
    /// Its timestamp; none of a file that says nothing but its mtime.
    said: Option<GoTime>,
    note: Note,
}

/// What follows from a reading.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    Nothing,
    Pulse,
    Sighted(Duration),
}

// === configuration ===

/// Takes `heartbeat_file` and `heartbeat_file_kind`.
pub(super) fn read(table: &mut Table<'_>, about: &About<'_>) -> Option<Arc<dyn Source>> {
    let path = table.take("heartbeat_file", |value| {
        let text = value.need_some_text("\"deacon/heartbeat.json\"")?;
        Some(value.sink.path(text))
    });
    let kind = table.take("heartbeat_file_kind", |value| {
        value.one_of(&[
            ("deacon", Kind::Deacon),
            ("session", Kind::Session),
            ("mtime", Kind::Mtime),
        ])
    });
    if let Some(given) = kind.as_given()
        && !path.is_present()
    {
        let shown = table.shown().to_owned();
        let sink = table.sink();
        let message = format!("`heartbeat_file_kind` in [{shown}] speaks of no file");
        let mistake = sink.at(given.key.clone(), "of which file?", message);
        sink.say(mistake.help("give it a `heartbeat_file`, or leave it out"));
    }
    let path = path.value()?;
    Some(Arc::new(HeartbeatFile {
        path,
        kind: kind.or(Kind::Deacon),
        every: about.interval,
        ours: about.ours,
        files: about.files.clone(),
    }))
}

impl PartialEq for HeartbeatFile {
    fn eq(&self, other: &Self) -> bool {
        // Who watches the file is no part of what is configured.
        (&self.path, self.kind, self.every, self.ours)
            == (&other.path, other.kind, other.every, other.ours)
    }
}

impl Source for HeartbeatFile {
    fn kind(&self) -> &'static str {
        "heartbeat_file"
    }

    fn open(&self, _: &ServiceSpec, ear: Ear) -> Box<dyn Listening> {
        let watched = self.files.watch(&self.path, self.every);
        let waker = watched.waker();
        let phase = Rc::new(RefCell::new(if self.ours {
            Phase::Off
        } else {
            Phase::On {
                generation: None,
                ear: ear.clone(),
                sight: Sight::First { not_before: None },
            }
        }));
        let mut task = Task {
            watched,
            kind: self.kind,
            phase: Rc::clone(&phase),
            ear: ear.clone(),
            known: None,
            flagged: false,
            complained: false,
        };
        let task = actix_rt::spawn(async move {
            loop {
                task.glance().await;
                task.watched.changed().await;
            }
        });
        Box::new(Listener {
            ear,
            told: match self.kind {
                Kind::Deacon | Kind::Mtime => Some(self.path.clone()),
                Kind::Session => None,
            },
            phase,
            waker,
            task,
        })
    }
}

// === impl Listener ===

impl Listening for Listener {
    fn environment(&self) -> Vec<(String, String)> {
        let path = self.told.as_ref().and_then(|path| path.to_str());
        path.map(|path| ("SUPERVISOR_HEARTBEAT_FILE".to_owned(), path.to_owned()))
            .into_iter()
            .collect()
    }

    fn life(&mut self, life: Life) {
        let now = self.ear.clock().wall();
        let on = |generation, sight| Phase::On {
            generation: Some(generation),
            ear: self.ear.of(generation),
            sight,
        };
        let mut phase = self.phase.borrow_mut();
        let present = match &*phase {
            Phase::On { generation, .. } => *generation,
            Phase::Off => None,
        };
        match life {
            Life::Starting { generation } => *phase = on(generation, Sight::Begun { at: now }),
            Life::Started { generation, .. } if present == Some(generation) => {}
            // Found after our own restart.
            Life::Started { generation, pid } => {
                let lived = age_of_process(pid).unwrap_or_default();
                let micros = i64::try_from(lived.as_micros()).unwrap_or(i64::MAX);
                let began = Timestamp(now.0.saturating_sub(micros));
                let not_before = Some(began);
                *phase = on(generation, Sight::First { not_before });
            }
            Life::Ended { .. } => *phase = Phase::Off,
        }
        drop(phase);
        // What stands there now tells what was there before.
        self.waker.notify_one();
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

// === impl Task ===

impl Task {
    /// Looks at the file, a few times where its writer may be at it.
    async fn glance(&mut self) {
        let mut again = LOOK_AGAIN.into_iter();
        loop {
            let path = self.watched.path().to_owned();
            let kind = self.kind;
            let looked = actix_rt::task::spawn_blocking(move || look_and_read(&path, kind)).await;
            let problem = match looked {
                Ok(Ok(Some(reading))) => {
                    self.read(reading);
                    return;
                }
                Ok(Ok(None)) => {
                    self.missing();
                    return;
                }
                Ok(Err(problem)) => problem,
                Err(panicked) => panicked.to_string(),
            };
            match again.next() {
                Some(wait) => tokio::time::sleep(wait).await,
                None => {
                    self.complain(&problem);
                    return;
                }
            }
        }
    }

    fn log(&self) -> &Logger {
        self.ear.log()
    }

    /// No file is no sign of life, and of a life that began without one all is its own.
    fn missing(&mut self) {
        self.complained = false;
        if let Phase::On { sight, .. } = &mut *self.phase.borrow_mut()
            && matches!(sight, Sight::Begun { .. })
        {
            *sight = Sight::Known;
        }
    }

    fn complain(&mut self, problem: &str) {
        if !std::mem::replace(&mut self.complained, true) {
            warn!(self.log(), "no heartbeat in a file";
                "path" => %self.watched.path().display(), "why" => problem);
        }
    }

    fn read(&mut self, mut reading: Reading) {
        if std::mem::replace(&mut self.complained, false) {
            info!(self.log(), "a heartbeat in the file again";
                "path" => %self.watched.path().display());
        }
        let now = self.ear.clock().wall();
        let new = self.known.replace(reading.print) != Some(reading.print);
        let phase = Rc::clone(&self.phase);
        let mut phase = phase.borrow_mut();
        let Phase::On { ear, sight, .. } = &mut *phase else {
            return;
        };
        let verdict = judge(sight, &reading, new, now);
        *sight = Sight::Known;
        if verdict != Verdict::Nothing {
            self.flag(&mut reading, now);
        }
        match verdict {
            Verdict::Nothing => {}
            Verdict::Sighted(age) => {
                // Too many wait already: looked at again with the next change, or in time.
                let _counted = ear.sighted(reading.note, age);
            }
            Verdict::Pulse if reading.note == Note::default() => ear.pulse(),
            Verdict::Pulse => {
                // What it says is lost where too many wait; that it lives is not.
                let _counted = ear.note(reading.note);
            }
        }
    }

    /// Says once of a clock that it is wrong: in the log, and with what the service shows.
    fn flag(&mut self, reading: &mut Reading, now: Timestamp) {
        let wrong = match reading.said {
            None => None,
            Some(GoTime::ZERO) => Some("its heartbeat has no timestamp"),
            Some(said) if said.timestamp().0 > now.0.saturating_add(AHEAD) => {
                Some("the timestamp of its heartbeat is ahead of our clock")
            }
            Some(_) => None,
        };
        let flagged = std::mem::replace(&mut self.flagged, wrong.is_some());
        if let Some(wrong) = wrong {
            if !flagged {
                warn!(self.log(), "timestamp of a heartbeat is not believed";
                    "path" => %self.watched.path().display(), "why" => wrong);
            }
            let message = &mut reading.note.message;
            *message = Some(match message.take() {
                Some(said) => format!("{said} ({wrong})"),
                None => wrong.to_owned(),
            });
        }
    }
}

/// What follows from content that is new or not.
fn judge(sight: &Sight, reading: &Reading, new: bool, now: Timestamp) -> Verdict {
    match *sight {
        Sight::First { not_before } => {
            let age = age_at_first_sight(reading.said, reading.modified, now);
            let lived = not_before.map(|began| now.0.saturating_sub(began.0));
            let micros = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
            if lived.is_none_or(|lived| micros <= lived.saturating_add(TICK)) {
                Verdict::Sighted(age)
            } else {
                Verdict::Nothing
            }
        }
        Sight::Begun { at } if reading.modified.0.saturating_add(TICK) < at.0 => Verdict::Nothing,
        Sight::Begun { .. } | Sight::Known if new => Verdict::Pulse,
        Sight::Begun { .. } | Sight::Known => Verdict::Nothing,
    }
}

/// Looks at the file; `None` where there is none.
fn look_and_read(path: &Path, kind: Kind) -> Result<Option<Reading>, String> {
    match look(path) {
        Ok(None) => Ok(None),
        Ok(Some(found)) => match Reading::of(kind, &found) {
            Ok(reading) => Ok(Some(reading)),
            Err(problem) => Err(problem.to_string()),
        },
        Err(error) => Err(error.to_string()),
    }
}

// === impl Reading ===

impl Reading {
    fn of(kind: Kind, found: &Found) -> Result<Self, NoHeartbeat> {
        let (said, note, print) = match kind {
            Kind::Deacon => {
                let heartbeat = Heartbeat::parse(&found.bytes)?;
                let said = heartbeat.timestamp;
                (Some(said), note_of(heartbeat), print(&found.bytes))
            }
            Kind::Session => {
                let session = Session::parse(&found.bytes)?;
                let note = Note {
                    state: session.state,
                    ..Note::default()
                };
                (Some(session.timestamp), note, print(&found.bytes))
            }
            Kind::Mtime => (None, Note::default(), print(Stamp::content(found.stamp))),
        };
        Ok(Self {
            print,
            modified: found.modified,
            said,
            note,
        })
    }
}

/// What the Deacon tells with its heartbeat.
#[expect(
    clippy::cast_precision_loss,
    reason = "nobody counts 2^53 agents, and a figure is for people"
)]
fn note_of(heartbeat: Heartbeat) -> Note {
    Note {
        message: (!heartbeat.last_action.is_empty()).then_some(heartbeat.last_action),
        cycle: Some(heartbeat.cycle),
        metrics: vec![
            ("healthy_agents".to_owned(), heartbeat.healthy_agents as f64),
            (
                "unhealthy_agents".to_owned(),
                heartbeat.unhealthy_agents as f64,
            ),
        ],
        ..Note::default()
    }
}

fn print(what: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    use supervisor_core::event::PulseState;

    /// 2026-01-02T18:30:00Z.
    const NOON: Timestamp = Timestamp(1_767_378_600_000_000);

    fn later(seconds: i64) -> Timestamp {
        Timestamp(NOON.0 + seconds * 1_000_000)
    }

    fn found(bytes: &[u8], modified: Timestamp) -> Found {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("f");
        std::fs::write(&file, bytes).unwrap();
        let mut found = look(&file).unwrap().unwrap();
        found.modified = modified;
        found
    }

    fn deacon(said: Timestamp, modified: Timestamp) -> Reading {
        let bytes = Heartbeat::touch_with_action(None, said, "scan", 3, 1).to_bytes();
        Reading::of(Kind::Deacon, &found(&bytes, modified)).unwrap()
    }

    fn sighted(seconds: u64) -> Verdict {
        Verdict::Sighted(Duration::from_secs(seconds))
    }

    #[test]
    fn what_others_run_is_judged_by_its_age_at_first_sight_and_by_changes_then() {
        let first = Sight::First { not_before: None };
        let reading = deacon(later(-180), later(-60));
        assert_eq!(judge(&first, &reading, true, NOON), sighted(180));
        let future = deacon(later(900), later(-60));
        assert_eq!(judge(&first, &future, true, NOON), sighted(60));
        // From then on neither an old nor a future timestamp says anything.
        for said in [-180, 0, 900] {
            let reading = deacon(later(said), later(said));
            assert_eq!(judge(&Sight::Known, &reading, true, NOON), Verdict::Pulse);
            assert_eq!(
                judge(&Sight::Known, &reading, false, NOON),
                Verdict::Nothing
            );
        }
    }

    #[test]
    fn a_life_is_not_judged_by_what_was_written_before_it() {
        let begun = Sight::Begun { at: NOON };
        for (modified, verdict) in [
            (later(-300), Verdict::Nothing),
            (later(-1), Verdict::Nothing),
            // The kernel's clock for files is some milliseconds behind.
            (Timestamp(NOON.0 - 4_000), Verdict::Pulse),
            (later(1), Verdict::Pulse),
        ] {
            let reading = deacon(later(0), modified);
            assert_eq!(
                judge(&begun, &reading, true, later(1)),
                verdict,
                "{modified:?}"
            );
            assert_eq!(judge(&begun, &reading, false, later(1)), Verdict::Nothing);
        }
    }

    #[test]
    fn a_life_that_was_found_is_judged_by_what_its_process_has_written() {
        let first = Sight::First {
            not_before: Some(later(-600)),
        };
        let judged = |said| judge(&first, &deacon(later(said), later(said)), true, NOON);
        assert_eq!(judged(-60), sighted(60));
        assert_eq!(judged(-900), Verdict::Nothing);
    }

    #[test]
    fn a_deacon_tells_its_cycle_its_action_and_its_agents() {
        let note = deacon(NOON, NOON).note;
        assert_eq!(note.cycle, Some(1));
        assert_eq!(note.message.as_deref(), Some("scan"));
        assert_eq!(note.metrics[0], ("healthy_agents".to_owned(), 3.0));
        assert_eq!(note.metrics[1], ("unhealthy_agents".to_owned(), 1.0));
    }

    #[test]
    fn a_session_tells_its_state() {
        let bytes = b"{\"timestamp\":\"2026-01-02T18:30:00Z\",\"state\":\"idle\"}";
        let reading = Reading::of(Kind::Session, &found(bytes, NOON)).unwrap();
        assert_eq!(reading.note.state, Some(PulseState::Idle));
        assert_eq!(reading.said, Some(GoTime::from(NOON)));
    }

    #[test]
    fn f26_what_go_refuses_is_no_heartbeat_and_what_says_no_time_is_met_as_very_old() {
        for bytes in [
            &b""[..],
            b"{\"timestamp\":\"2026",
            b"{\"timestamp\":1767378600}",
            b"{\"timestamp\":\"NaN\"}",
            b"{\"cycle\":\"5\"}",
            b"\xef\xbb\xbf{}",
        ] {
            assert!(Reading::of(Kind::Deacon, &found(bytes, NOON)).is_err());
        }
        let zero = Reading::of(Kind::Deacon, &found(b"{}", NOON)).unwrap();
        let first = Sight::First { not_before: None };
        let Verdict::Sighted(age) = judge(&first, &zero, true, NOON) else {
            panic!("not sighted");
        };
        assert!(age > Duration::from_secs(3_600));
        // Received while we run it is received now.
        assert_eq!(judge(&Sight::Known, &zero, true, NOON), Verdict::Pulse);
    }

    #[test]
    fn of_any_file_only_the_mtime_and_what_it_is_count() {
        let one = Reading::of(Kind::Mtime, &found(b"x", NOON)).unwrap();
        assert_eq!((one.said, one.note), (None, Note::default()));
    }
}
