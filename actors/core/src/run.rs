//! Runs: pieces of work with a beginning and an end, such as a cron job's.
//!
//! ```text
//!            start                      end with its rid, or any failure
//!   (none) ──────────▶ under way ─────────────────────────────────────────▶ recorded
//!                        │  ▲ start with the same rid: once more the same
//!                        └──┴── start without one, beside one without one: the older is
//!                               abandoned, as is the oldest of too many
//! ```
//!
//! The happy path: a start says that a run begins, an end with the same rid says how it went;
//! between them lies its duration. A success without a rid ends the run that was begun without
//! one, else the youngest; a failure always ends one. An end whose start nobody heard is
//! recorded all the same, with the duration that its sender gives. An end that is sent again
//! (its answer was lost) is counted once.
//!
//! A run that is under way proves nothing: neither is its start a pulse, nor is its length a
//! fault. What judges a service are the successes and failures that end its runs.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::event::Moment;
use crate::time::Timestamp;

/// How many runs of a service may be under way. One more, and the oldest is given up: its
/// sender died without a word.
pub const MOST_OPEN: usize = 8;

/// The most bytes of a run's output that are kept.
pub const MOST_OUTPUT: usize = 10_000;

/// The most bytes of a run's message that the service itself remembers; the record has it all.
const MOST_REMEMBERED: usize = 256;

/// What a sender calls one run, so that its end finds its start: 1 to 64 visible ASCII
/// characters, mostly a uuid.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(Box<str>);

/// The text is no run's id: empty, longer than 64 bytes, or with a character that is not
/// visible ASCII.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a run's id is 1 to {} visible ASCII characters", RunId::MOST_BYTES)]
pub struct InvalidRunId;

/// What somebody says of a run.
#[derive(Debug, Clone, PartialEq)]
pub enum RunSign {
    /// It begins.
    Start {
        /// What it is called.
        rid: Option<RunId>,
    },
    /// Something in between: kept, and nothing else changes.
    Log {
        /// What it is called.
        rid: Option<RunId>,
        /// What is said.
        output: String,
    },
    /// It has ended.
    End(RunEnd),
}

/// How a run ended, as its sender says it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RunEnd {
    /// What it is called.
    pub rid: Option<RunId>,
    /// Whether it failed.
    pub failed: bool,
    /// Its exit status.
    pub exit_code: Option<i32>,
    /// How long it took, where its sender has measured that.
    pub took: Option<Duration>,
    /// What there is to say about it.
    pub message: Option<String>,
    /// What it printed.
    pub output: Option<String>,
    /// Its figures; finite.
    pub metrics: Vec<(String, f64)>,
}

/// How a run went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Well.
    Success,
    /// Not well.
    Failure,
    /// Its end never came.
    Abandoned,
    /// None: something that was said in between.
    Log,
}

/// A run as it is recorded, once it has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// What it is called.
    pub rid: Option<RunId>,
    /// How it went.
    pub outcome: Outcome,
    /// Its exit status.
    pub exit_code: Option<i32>,
    /// When it began, if anybody knows.
    pub began: Option<Timestamp>,
    /// When its end was told (of one that is abandoned: when it was given up).
    pub ended: Timestamp,
    /// How long it took, if anybody knows.
    pub took: Option<Duration>,
    /// What there is to say about it.
    pub message: Option<String>,
    /// What it printed.
    pub output: Option<String>,
}

/// The runs of one service: those under way and the last that ended.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Runs {
    /// Oldest first, [`MOST_OPEN`] at most.
    open: Vec<Open>,
    last: Option<Last>,
}

/// A run under way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Open {
    /// What it is called.
    pub rid: Option<RunId>,
    /// When its start was told.
    pub began: Moment,
}

/// The last run that ended, as the service remembers it: all but its output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Last {
    /// What it is called.
    pub rid: Option<RunId>,
    /// How it went.
    pub outcome: Outcome,
    /// Its exit status.
    pub exit_code: Option<i32>,
    /// When it began, if anybody knows.
    pub began: Option<Timestamp>,
    /// When its end was told.
    pub ended: Timestamp,
    /// How long it took, if anybody knows.
    pub took: Option<Duration>,
    /// The beginning of what there is to say about it.
    pub message: Option<String>,
}

/// What an end comes to.
#[derive(Debug, Clone, PartialEq)]
pub enum Ended {
    /// A run's end, to be recorded.
    Run(Box<Run>),
    /// A success that ends nothing and says nothing: no more than a pulse.
    Nothing,
    /// It was told before.
    Again,
}

/// The beginning of a text, so many bytes at most, cut between two characters.
#[must_use]
pub fn cut(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len()))
        .rev()
        .find(|&end| text.is_char_boundary(end));
    &text[..end.unwrap_or(0)]
}

// === impl RunId ===

impl RunId {
    /// The longest, in bytes.
    pub const MOST_BYTES: usize = 64;

    /// Checks and takes an id.
    ///
    /// # Errors
    /// Where it is none.
    pub fn new(text: &str) -> Result<Self, InvalidRunId> {
        let fits = (1..=Self::MOST_BYTES).contains(&text.len());
        if fits && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidRunId)
        }
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for RunId {
    type Error = InvalidRunId;

    fn try_from(text: String) -> Result<Self, InvalidRunId> {
        Self::new(&text)
    }
}

impl From<RunId> for String {
    fn from(rid: RunId) -> Self {
        rid.0.into()
    }
}

// === impl RunEnd ===

impl RunEnd {
    /// Whether it says no more than that all is well.
    #[must_use]
    pub fn is_bare(&self) -> bool {
        *self == Self::default()
    }
}

// === impl Outcome ===

impl Outcome {
    /// The word that users and clients see.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Abandoned => "abandoned",
            Self::Log => "log",
        }
    }
}

// === impl Runs ===

impl Runs {
    /// Whether any are under way.
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        !self.open.is_empty()
    }

    /// The youngest that is under way.
    #[must_use]
    pub fn youngest(&self) -> Option<&Open> {
        self.open.last()
    }

    /// The last that ended.
    #[must_use]
    pub fn last(&self) -> Option<&Last> {
        self.last.as_ref()
    }

    /// A run begins. Returns the one that is given up for it, if there is one.
    pub fn start(&mut self, rid: Option<RunId>, now: Moment) -> Option<Box<Run>> {
        let same = self.open.iter().position(|open| open.rid == rid);
        if same.is_some() && rid.is_some() {
            // Told again: its first word counts.
            return None;
        }
        let surplus = same.or((self.open.len() >= MOST_OPEN).then_some(0));
        let given_up = surplus.map(|at| {
            let open = self.open.remove(at);
            Box::new(Run {
                rid: open.rid,
                outcome: Outcome::Abandoned,
                exit_code: None,
                began: Some(open.began.wall),
                ended: now.wall,
                took: None,
                message: None,
                output: None,
            })
        });
        if let Some(run) = &given_up {
            self.last = Some(Last::of(run));
        }
        self.open.push(Open { rid, began: now });
        given_up
    }

    /// A run has ended.
    pub fn end(&mut self, end: RunEnd, now: Moment) -> Ended {
        let outcome = if end.failed {
            Outcome::Failure
        } else {
            Outcome::Success
        };
        if self.was_told(&end) {
            return Ended::Again;
        }
        let open = self.take(&end);
        if open.is_none() && end.is_bare() {
            return Ended::Nothing;
        }
        let measured = open.as_ref().map(|open| {
            // After a reboot the monotonic clock counts from anew; the judging clock never
            // shows more than has passed.
            let mono = now.mono.since(open.began.mono);
            mono.max(now.time.since(open.began.time))
        });
        let took = end.took.or(measured);
        let run = Run {
            rid: end.rid.or(open.as_ref().and_then(|open| open.rid.clone())),
            outcome,
            exit_code: end.exit_code,
            began: match (&open, took) {
                (Some(open), _) => Some(open.began.wall),
                (None, Some(took)) => {
                    let micros = i64::try_from(took.as_micros()).unwrap_or(i64::MAX);
                    Some(Timestamp(now.wall.0.saturating_sub(micros)))
                }
                (None, None) => None,
            },
            ended: now.wall,
            took,
            message: end.message,
            output: end.output,
        };
        self.last = Some(Last::of(&run));
        Ended::Run(Box::new(run))
    }

    /// Whether it is the end of the run that ended last, once more.
    fn was_told(&self, end: &RunEnd) -> bool {
        let is_its = |rid: &Option<RunId>| end.rid.is_some() && *rid == end.rid;
        self.last.as_ref().is_some_and(|last| is_its(&last.rid))
            && !self.open.iter().any(|open| is_its(&open.rid))
    }

    /// Takes the run that this ends out of those under way.
    fn take(&mut self, end: &RunEnd) -> Option<Open> {
        let same = self.open.iter().rposition(|open| open.rid == end.rid);
        let any = (end.failed || end.rid.is_none()).then(|| self.open.len().checked_sub(1));
        let at = same.or(any.flatten())?;
        Some(self.open.remove(at))
    }
}

impl Last {
    fn of(run: &Run) -> Self {
        let brief = |text: &String| cut(text, MOST_REMEMBERED).to_owned();
        Self {
            rid: run.rid.clone(),
            outcome: run.outcome,
            exit_code: run.exit_code,
            began: run.began,
            ended: run.ended,
            took: run.took,
            message: run.message.as_ref().map(brief),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::time::{Mono, Time};

    fn at(seconds: u64) -> Moment {
        Moment {
            time: Time(seconds * 1_000_000_000),
            mono: Mono(seconds * 1_000_000_000),
            wall: Timestamp(i64::try_from(seconds).unwrap() * 1_000_000),
        }
    }

    fn rid(text: &str) -> Option<RunId> {
        Some(RunId::new(text).unwrap())
    }

    fn success(rid: Option<RunId>) -> RunEnd {
        RunEnd {
            rid,
            ..RunEnd::default()
        }
    }

    fn failure(rid: Option<RunId>) -> RunEnd {
        RunEnd {
            failed: true,
            ..success(rid)
        }
    }

    #[track_caller]
    fn run(ended: Ended) -> Run {
        match ended {
            Ended::Run(run) => *run,
            other => panic!("no run, but {other:?}"),
        }
    }

    #[test]
    fn a_run_lasts_from_its_start_to_its_end() {
        let mut runs = Runs::default();
        assert_eq!(runs.start(rid("a"), at(100)), None);
        assert!(runs.is_under_way());
        let run = run(runs.end(success(rid("a")), at(107)));
        assert_eq!(run.outcome, Outcome::Success);
        assert_eq!(run.took, Some(Duration::from_secs(7)));
        assert_eq!((run.began, run.ended), (Some(at(100).wall), at(107).wall));
        assert!(!runs.is_under_way());
        assert_eq!(runs.last().unwrap().rid, rid("a"));
    }

    #[test]
    fn an_end_finds_its_start_among_several() {
        let mut runs = Runs::default();
        runs.start(rid("a"), at(0));
        runs.start(rid("b"), at(10));
        runs.start(None, at(20));
        for (end, took) in [(rid("a"), 30), (None, 10), (rid("b"), 20)] {
            let run = run(runs.end(success(end.clone()), at(30)));
            assert_eq!((run.rid, run.took), (end, Some(Duration::from_secs(took))));
        }
        assert!(!runs.is_under_way());
    }

    #[test]
    fn a_success_without_a_rid_ends_the_youngest_and_one_with_another_rid_none() {
        let mut runs = Runs::default();
        runs.start(rid("a"), at(0));
        runs.start(rid("b"), at(10));
        let other = run(runs.end(success(rid("c")), at(15)));
        assert_eq!((other.took, other.began), (None, None));
        let run = run(runs.end(success(None), at(20)));
        assert_eq!(run.rid, rid("b"));
        assert_eq!(runs.youngest().unwrap().rid, rid("a"));
    }

    #[test]
    fn a_failure_always_ends_a_run() {
        for end in [None, rid("a"), rid("other")] {
            let mut runs = Runs::default();
            runs.start(rid("a"), at(0));
            let run = run(runs.end(failure(end), at(3)));
            assert_eq!(run.outcome, Outcome::Failure);
            assert_eq!(run.took, Some(Duration::from_secs(3)));
            assert!(!runs.is_under_way());
        }
    }

    #[test]
    fn an_end_whose_start_nobody_heard_has_the_duration_that_its_sender_gives() {
        let mut runs = Runs::default();
        let end = RunEnd {
            took: Some(Duration::from_secs(40)),
            exit_code: Some(0),
            ..success(rid("a"))
        };
        let run = run(runs.end(end, at(100)));
        assert_eq!(run.began, Some(at(60).wall));
        assert_eq!(run.exit_code, Some(0));
    }

    #[test]
    fn a_success_that_says_nothing_and_ends_nothing_is_no_run() {
        let mut runs = Runs::default();
        assert_eq!(runs.end(success(None), at(1)), Ended::Nothing);
        assert_eq!(runs.last(), None);
        assert!(matches!(runs.end(failure(None), at(1)), Ended::Run(_)));
    }

    #[test]
    fn what_is_told_again_counts_once() {
        let mut runs = Runs::default();
        runs.start(rid("a"), at(0));
        assert_eq!(runs.start(rid("a"), at(5)), None);
        let first = run(runs.end(failure(rid("a")), at(9)));
        assert_eq!(first.took, Some(Duration::from_secs(9)));
        assert_eq!(runs.end(failure(rid("a")), at(10)), Ended::Again);
        assert!(!runs.is_under_way());
        // Not even where a failure would end another one.
        runs.start(rid("b"), at(11));
        assert_eq!(runs.end(failure(rid("a")), at(12)), Ended::Again);
        assert!(runs.is_under_way());
    }

    #[test]
    fn a_start_without_a_rid_gives_up_the_one_before_it() {
        let mut runs = Runs::default();
        runs.start(None, at(0));
        let abandoned = runs.start(None, at(60)).unwrap();
        assert_eq!(abandoned.outcome, Outcome::Abandoned);
        assert_eq!((abandoned.began, abandoned.took), (Some(at(0).wall), None));
        let run = run(runs.end(success(None), at(61)));
        assert_eq!(run.took, Some(Duration::from_secs(1)));
    }

    #[test]
    fn a_duration_survives_a_reboot_as_far_as_it_is_known() {
        let mut runs = Runs::default();
        runs.start(None, at(1_000));
        let rebooted = Moment {
            mono: Mono(5),
            ..at(1_003)
        };
        let run = run(runs.end(success(None), rebooted));
        assert_eq!(run.took, Some(Duration::from_secs(3)));
    }

    #[test]
    fn an_id_is_short_and_visible() {
        for good in ["a", "5bf66975-d4c7-4bf5-bcc8-b8d8a82ea278", "nightly#7"] {
            assert_eq!(RunId::new(good).unwrap().as_str(), good);
        }
        for bad in ["", " ", "a b", "a\n", "ü", &"x".repeat(65)] {
            assert_eq!(RunId::new(bad), Err(InvalidRunId), "{bad:?}");
        }
    }

    #[test]
    fn a_long_message_is_remembered_in_brief() {
        let mut runs = Runs::default();
        let end = RunEnd {
            message: Some("ü".repeat(5_000)),
            ..failure(None)
        };
        assert_eq!(run(runs.end(end, at(1))).message.unwrap().len(), 10_000);
        let kept = runs.last().unwrap().message.as_ref().unwrap().len();
        assert!(kept <= MOST_REMEMBERED, "{kept}");
    }

    /// What may be said, with few rids so that they meet.
    fn sign() -> impl Strategy<Value = (bool, bool, Option<u8>)> {
        (any::<bool>(), any::<bool>(), prop::option::of(0_u8..12))
    }

    proptest! {
        #[test]
        fn whatever_is_said_every_start_ends_once_and_nothing_grows(
            signs in prop::collection::vec(sign(), 0..200)
        ) {
            let mut runs = Runs::default();
            let (mut started, mut finished) = (0, 0);
            for (second, (starts, failed, name)) in (0..).zip(signs) {
                let rid = name.map(|name| RunId::new(&name.to_string()).unwrap());
                let before = runs.open.len();
                if starts {
                    let known = rid.is_some() && runs.open.iter().any(|open| open.rid == rid);
                    started += usize::from(!known);
                    finished += usize::from(runs.start(rid, at(second)).is_some());
                } else {
                    let ended = runs.end(RunEnd { failed, ..success(rid) }, at(second));
                    let closed = before - runs.open.len();
                    prop_assert!(closed <= 1);
                    prop_assert!(closed == 1 || before == 0 || !failed || ended == Ended::Again);
                    prop_assert!(closed == 0 || matches!(ended, Ended::Run(_)));
                    finished += closed;
                }
                prop_assert!(runs.open.len() <= MOST_OPEN);
                prop_assert_eq!(started, finished + runs.open.len());
            }
        }
    }
}
