//! Sources: the ways in which signs of life come in besides the API.
//!
//! ```text
//!   configuration ──▶ Source ──open──▶ Listening ──▶ Ear ──▶ Service actor ──▶ Supervisor
//!                (what to hear)    (at work, owned by the        (pulses fold in the slot,
//!                                   Service actor)                the rest are messages)
//! ```
//!
//! The configuration builds a [`Source`] for each way that a service has; it is data and does
//! nothing. The Service actor opens it when it is built, before it looks for what still lives,
//! tells it of each life of the service ([`Listening::life`]), asks it for the variables of
//! the next process, and drops it when it ends. A rebuilt actor opens it anew.
//!
//! What a source hears it says to its [`Ear`], from whatever thread: that stamps the receipt
//! and never blocks. What it cannot take, because too much of the service waits already, is
//! counted and lost, but never the sign of life in it.

use std::any::Any;
use std::fmt::Debug;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use slog::Logger;

use supervisor_core::event::{Event, Generation, Moment, Note};
use supervisor_core::time::Mono;

use crate::door::{Door, Permit};
use crate::messages::{Overheard, Settle};
use crate::ports::output::{Hearing, Output};
use crate::ports::{Clock, Kept};
use crate::spec::ServiceSpec;

/// How much that says something may be heard of one [`Output`].
pub const MOST_HEARD: usize = 256;

/// A way in which signs of life of one service come in, as its owner wrote it. Sources are
/// compared as configurations: `#[derive(PartialEq)]` gives it [`Alike`].
pub trait Source: Alike + Any + Debug + Send + Sync {
    /// What it is called in logs: `notify`, `probe`.
    fn kind(&self) -> &'static str;

    /// Whether having it promises pulses: then a command without `interval` is judged by
    /// `default_interval` instead of pulsing by living.
    fn promises(&self) -> bool {
        true
    }

    /// How far apart its pulses may be while all is well, where it knows that: a service
    /// without an `interval` promises no more than that.
    fn rhythm(&self) -> Option<Duration> {
        None
    }

    /// Begins to listen for a service of its own, on the actors' thread, inside their runtime; must not block. What it
    /// cannot open it says in the log and tries again, it never gives the service up.
    fn open(&self, service: &ServiceSpec, ear: Ear) -> Box<dyn Listening>;
}

/// A source at work for one service. Dropping it ends it and all its tasks.
pub trait Listening {
    /// Variables for the service's next process. They outrank the owner's.
    fn environment(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    /// A socket for the life that begins: it stays open for as long as that lasts, over our own
    /// death too, and is [inherited](Listening::inherit) then.
    fn socket(&self) -> Option<Arc<OwnedFd>> {
        None
    }

    /// A life was found after our own death that kept this. Said before that it has started.
    fn inherit(&mut self, kept: &Kept) {
        let _ = kept;
    }

    /// What it wants of the output of the service's processes.
    fn hearing(&self) -> Option<Hearing> {
        None
    }

    /// The service's present process has written lines: what is heard of that, in order. It is
    /// judged before all that happens to the process later. At most [`MOST_HEARD`] of it says
    /// something; the rest are plain pulses.
    fn output(&mut self, output: &Output) -> Vec<Heard> {
        let _ = output;
        Vec::new()
    }

    /// The service's process has come to this. A service that we do not run has no lives.
    fn life(&mut self, life: Life) {
        let _ = life;
    }
}

/// What becomes of a service's process, as its sources are told. A life that is found after
/// our own restart begins with `Started`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// It is about to be started.
    Starting {
        /// Which life.
        generation: Generation,
    },
    /// Its process has executed, or was found.
    Started {
        /// Which life.
        generation: Generation,
        /// Its main process.
        pid: i32,
    },
    /// Its main process has ended, or could not be started.
    Ended {
        /// Which life.
        generation: Generation,
    },
}

/// Where a source says what it hears. Cheap to clone; usable on any thread.
#[derive(Clone)]
pub struct Ear {
    door: Arc<Door>,
    clock: Arc<dyn Clock>,
    log: Logger,
    /// The life that it speaks of; none for the present one, whichever that is.
    generation: Option<Generation>,
}

/// What a source hears besides plain pulses.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// Pulses that say nothing more.
    Pulse {
        /// How many, at least 1.
        count: u32,
    },
    /// A pulse that says something.
    Note(Note),
    /// A sign of life met as it stands, given before we listened: see [`Ear::sighted`].
    Sighted {
        /// What it says.
        note: Note,
        /// When it was given.
        given: Mono,
    },
    /// An error that the service itself reports: a sign of life, too.
    Error {
        /// What it says.
        message: String,
        /// Whether it calls it critical.
        critical: bool,
    },
    /// A probe succeeded: a sign of life that the service did not give by itself.
    ProbePassed,
    /// A probe failed: no sign of life.
    ProbeFailed {
        /// Why.
        reason: String,
        /// Whether one has succeeded in this life.
        passed_before: bool,
    },
    /// It is ready, by the way that its policy names.
    Ready,
    /// It says in free text what it does: shown, no sign of life.
    Status {
        /// What it says.
        message: String,
    },
    /// It reads its configuration anew and is silent meanwhile.
    Reloading,
    /// It is about to exit by itself.
    Stopping,
    /// From now on, in this life, it pulses that often.
    Interval(Duration),
    /// It needs so long from now: its start is not overdue, its silence no lateness.
    Extend(Duration),
    /// It has found itself hung: poked at once.
    Stuck {
        /// What says so.
        why: String,
    },
    /// It names its main process.
    MainPid(i32),
    /// What the source wants to be told when the present life is found after our own death:
    /// see [`Kept`]. Nothing of the service's.
    Remember {
        /// A short text.
        note: String,
    },
}

/// Compares with anything: what lets `dyn Source` be compared. Every `PartialEq` has it.
pub trait Alike {
    /// Whether that is of the same type and equal.
    fn is_alike(&self, other: &dyn Any) -> bool;
}

impl<T: PartialEq + 'static> Alike for T {
    fn is_alike(&self, other: &dyn Any) -> bool {
        other.downcast_ref::<T>().is_some_and(|other| self == other)
    }
}

impl PartialEq for dyn Source {
    fn eq(&self, other: &dyn Source) -> bool {
        self.is_alike(other)
    }
}

// === impl Ear ===

impl Ear {
    pub(crate) fn new(door: Arc<Door>, clock: Arc<dyn Clock>, log: Logger) -> Self {
        Self {
            door,
            clock,
            log,
            generation: None,
        }
    }

    /// The same ear for what is about that life: once it is not the present one, what is said
    /// here is dropped, so that an old life never judges the present one.
    #[must_use]
    pub fn of(&self, generation: Generation) -> Self {
        Self {
            generation: Some(generation),
            ..self.clone()
        }
    }

    /// The clock that receipts are stamped with.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Where a source says what it cannot do.
    pub fn log(&self) -> &Logger {
        &self.log
    }

    /// A plain pulse.
    pub fn pulse(&self) {
        self.pulses(1);
    }

    /// So many plain pulses, received just now.
    pub fn pulses(&self, count: u32) {
        if count == 0 || !self.is_of_present() {
            return;
        }
        let at = self.clock.mono();
        // While a message waits, a pulse in the slot would overtake it.
        let orderly = self.door.is_waited_for() && self.send(Heard::Pulse { count }, at);
        if !orderly {
            self.door.pulses(count, at);
        }
    }

    /// A pulse that says something. `false` if what it says is lost; that it lives is not.
    pub fn note(&self, note: Note) -> bool {
        self.heard(Heard::Note(note))
    }

    /// An error that the service reports. `false` if it is lost.
    pub fn error(&self, message: impl Into<String>, critical: bool) -> bool {
        let message = message.into();
        self.heard(Heard::Error { message, critical })
    }

    /// A probe succeeded. `false` if that is lost; the sign of life in it is not.
    pub fn probe_passed(&self) -> bool {
        self.heard(Heard::ProbePassed)
    }

    /// A probe failed, whether or not one has succeeded in this life before: no sign of life.
    /// `false` if it is lost.
    pub fn probe_failed(&self, reason: impl Into<String>, passed_before: bool) -> bool {
        let reason = reason.into();
        self.heard(Heard::ProbeFailed {
            reason,
            passed_before,
        })
    }

    /// It is ready. `false` if that is lost: say it again.
    pub fn ready(&self) -> bool {
        self.heard(Heard::Ready)
    }

    /// A sign of life that is so old already, met as it stands: how old the life is that it
    /// proves, and no pulse received. `false` if it is lost.
    pub fn sighted(&self, note: Note, age: Duration) -> bool {
        let now = self.clock.mono();
        let given = now - age;
        self.send(Heard::Sighted { note, given }, now)
    }

    /// Anything else. `false` if it is lost; a sign of life in it is not.
    pub fn heard(&self, heard: Heard) -> bool {
        let at = self.clock.mono();
        let lives = heard.is_life();
        let taken = self.send(heard, at);
        if !taken && lives && self.is_of_present() {
            self.door.pulses(1, at);
        }
        taken
    }

    /// Drops the token when everything said before has been judged; at once where there is
    /// no place for it.
    pub fn settle(&self, token: impl Send + 'static) {
        if let Some(place) = Permit::take(&self.door) {
            // Bounded: by the places of the door.
            self.door.address.tell(Settle {
                token: Box::new(token),
                place,
            });
        }
    }

    /// So many datagrams were left out: shown with the service.
    pub fn lose_datagrams(&self, count: u64) {
        self.door.lost_datagrams.fetch_add(count, Ordering::Relaxed);
    }

    /// So many lines of output were left out, or what they said: shown with the service.
    pub fn lose_lines(&self, count: u64) {
        self.door.lost_lines.fetch_add(count, Ordering::Relaxed);
    }

    /// How many messages more it takes now: a source that can wait does so before it loses
    /// any.
    #[must_use]
    pub fn room(&self) -> u32 {
        self.door.room()
    }

    fn send(&self, heard: Heard, at: Mono) -> bool {
        let Some(place) = Permit::take(&self.door) else {
            self.door.refuse();
            return false;
        };
        // Bounded: by the places of the door.
        self.door.address.tell(Overheard {
            at,
            generation: self.generation,
            heard,
            place,
        })
    }

    fn is_of_present(&self) -> bool {
        let present = self.door.generation.load(Ordering::Relaxed);
        self.generation
            .is_none_or(|generation| generation.0 == present)
    }
}

impl std::fmt::Debug for Ear {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ear")
            .field("service", &self.door.name)
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

// === impl Heard ===

impl Heard {
    /// Whether it proves life whatever else it says.
    fn is_life(&self) -> bool {
        match self {
            Self::Pulse { .. } | Self::Note(_) | Self::Error { .. } | Self::ProbePassed => true,
            Self::Sighted { .. }
            | Self::ProbeFailed { .. }
            | Self::Ready
            | Self::Status { .. }
            | Self::Reloading
            | Self::Stopping
            | Self::Interval(_)
            | Self::Extend(_)
            | Self::Stuck { .. }
            | Self::MainPid(_)
            | Self::Remember { .. } => false,
        }
    }

    /// As the supervisor hears it, if that concerns it.
    pub(crate) fn into_event(self, generation: Generation) -> Option<Event> {
        Some(match self {
            Self::Pulse { count } => Event::Pulse {
                generation,
                count,
                note: None,
            },
            Self::Note(note) => Event::Pulse {
                generation,
                count: 1,
                note: Some(Box::new(note)),
            },
            Self::Sighted { note, given } => Event::Sighted {
                generation,
                // Its other clocks are the supervisor's to say.
                at: Moment {
                    mono: given,
                    ..Moment::default()
                },
                note: Some(Box::new(note)),
            },
            Self::Error { message, critical } => Event::Error {
                generation,
                message,
                critical,
            },
            Self::ProbePassed => Event::ProbePassed { generation },
            Self::ProbeFailed {
                reason,
                passed_before,
            } => Event::ProbeFailed {
                generation,
                reason,
                passed_before,
            },
            Self::Ready => Event::Ready { generation },
            Self::Status { message } => Event::Status {
                generation,
                message,
            },
            Self::Reloading => Event::Reloading { generation },
            Self::Stopping => Event::Stopping { generation },
            Self::Interval(interval) => Event::Interval {
                generation,
                interval,
            },
            Self::Extend(by) => Event::Extend { generation, by },
            Self::Stuck { why } => Event::Stuck { generation, why },
            Self::MainPid(pid) => Event::MainPid { generation, pid },
            Self::Remember { .. } => return None,
        })
    }
}
