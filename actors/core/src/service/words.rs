//! Plain sentences: how durations, exits and restarts read.

use std::fmt::Write as _;
use std::time::Duration;

use super::state::{Ended, How};
use crate::event::{Exit, RestartKind};
use crate::run::Run;
use crate::time::Timestamp;

/// A duration as people say it: `450 ms`, `2.5 s`, `95 s`, `25h 3m`.
pub(super) fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if duration < Duration::from_secs(1) {
        format!("{} ms", duration.as_millis())
    } else if duration < Duration::from_secs(10) {
        let tenths = duration.as_millis() / 100;
        match tenths % 10 {
            0 => format!("{} s", tenths / 10),
            tenth => format!("{}.{tenth} s", tenths / 10),
        }
    } else if duration < Duration::from_secs(120) {
        format!("{seconds} s")
    } else if duration < Duration::from_secs(3_600) {
        humantime::format_duration(Duration::from_secs(seconds)).to_string()
    } else {
        humantime::format_duration(Duration::from_secs(seconds / 60 * 60)).to_string()
    }
}

/// A duration as its owner wrote it: `15m`.
pub(super) fn exact(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

/// `restarted 10 times within 15m`: as often as the limit allows.
pub(super) fn too_often(most: u32, window: Duration) -> String {
    let window = exact(window);
    match most {
        0 => "no restart is allowed".to_owned(),
        1 => format!("restarted once within {window}"),
        _ => format!("restarted {most} times within {window}"),
    }
}

/// `no pulse for 95 s, expected every 30 s (missed 2 of 5)`. Where less than its age is held
/// against it (we were away, it was paused or busy) that is said: `no pulse for 10m, of which
/// 95 s count, expected …`.
pub(super) fn late(
    age: Duration,
    counted: Duration,
    interval: Duration,
    missed: u32,
    of: u32,
) -> String {
    /// Less than this nobody sees.
    const WORTH_SAYING: Duration = Duration::from_secs(1);
    let mut text = format!("no pulse for {}", span(age));
    // Writing to a String cannot fail.
    if age.saturating_sub(counted) >= WORTH_SAYING {
        let _ = write!(text, ", of which {} count", span(counted));
    }
    let _ = write!(text, ", expected every {}", span(interval));
    if missed > 0 && of > 0 {
        let _ = write!(text, " (missed {missed} of {of})");
    }
    text
}

/// `no pulse for 154 s; until its interval is learnt it has 153 s`.
pub(super) fn late_while_learning(age: Duration, patience: Duration) -> String {
    let (age, patience) = (span(age), span(patience));
    format!("no pulse for {age}; until its interval is learnt it has {patience}")
}

/// `cycle has stood at 7 for 95 s, since 2026-01-02T18:30:00Z; it must move within 1m`.
pub(super) fn still(
    cycle: Option<i64>,
    progress: Option<f64>,
    time: Duration,
    since: Timestamp,
    within: Duration,
) -> String {
    let (what, verb) = match (cycle, progress) {
        (Some(cycle), None) => (format!("cycle has stood at {cycle}"), "it"),
        (None, Some(progress)) => (format!("progress has stood at {progress}"), "it"),
        (Some(cycle), Some(progress)) => (
            format!("cycle has stood at {cycle} and progress at {progress}"),
            "one of them",
        ),
        (None, None) => ("nothing has moved".to_owned(), "it"),
    };
    format!(
        "{what} for {}, since {}; {verb} must move within {}",
        span(time),
        since.rfc3339(),
        exact(within)
    )
}

/// `exited with code 1 after 3 s`.
pub(super) fn ended(ended: &Ended) -> String {
    let lived = span(ended.lived);
    match &ended.how {
        How::Exit { exit } => format!("{} after {lived}", exited(exit)),
        How::Vanished => "ended while the supervisor was away, nobody knows how".to_owned(),
        How::ShimLost => format!("its shim was gone after {lived}"),
    }
}

/// `exited with code 1`, `killed by SIGSEGV`.
pub(super) fn exited(exit: &Exit) -> String {
    let oom = if exit.oom { " (out of memory)" } else { "" };
    match (exit.signal, exit.code) {
        (Some(signal), _) => format!("killed by {}{oom}", signal_name(signal)),
        (None, Some(code)) => format!("exited with code {code}{oom}"),
        (None, None) => format!("ended, nobody knows how{oom}"),
    }
}

/// `run failed with exit code 3 after 2.5 s: no space left`.
pub(super) fn run_failed(run: &Run) -> String {
    let mut text = "run failed".to_owned();
    // Writing to a String cannot fail.
    if let Some(code) = run.exit_code {
        let _ = write!(text, " with exit code {code}");
    }
    if let Some(took) = run.took {
        let _ = write!(text, " after {}", span(took));
    }
    if let Some(message) = &run.message {
        let _ = write!(text, ": {message}");
    }
    text
}

/// Why a restart outside of any series was begun.
pub(super) fn asked(kind: RestartKind) -> &'static str {
    match kind {
        RestartKind::Operator => "asked for by an operator",
        RestartKind::Dependency => "what it depends on was restarted",
        RestartKind::Config => "its configuration changed",
        RestartKind::Exited => "it exited",
        RestartKind::Signalled => "it was killed",
        RestartKind::Stale => "it stopped pulsing",
        RestartKind::Probe => "its probes failed",
        RestartKind::Unready => "it was not ready in time",
        RestartKind::Shim => "its shim was gone",
    }
}

/// A Linux signal's name.
fn signal_name(signal: i32) -> String {
    const NAMES: [&str; 31] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
        "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
        "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
    ];
    let name = usize::try_from(signal)
        .ok()
        .and_then(|n| n.checked_sub(1))
        .and_then(|n| NAMES.get(n));
    match name {
        Some(name) => format!("SIG{name}"),
        None => format!("signal {signal}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_say_them() {
        for (ms, text) in [
            (0, "0 ms"),
            (450, "450 ms"),
            (1_000, "1 s"),
            (2_500, "2.5 s"),
            (3_049, "3 s"),
            (95_400, "95 s"),
            (180_000, "3m"),
            (185_000, "3m 5s"),
            (90_180_000, "1day 1h 3m"),
        ] {
            assert_eq!(span(Duration::from_millis(ms)), text);
        }
    }

    #[test]
    fn lateness_says_what_was_expected() {
        let (age, interval) = (Duration::from_secs(95), Duration::from_secs(30));
        assert_eq!(
            late(age, age, interval, 3, 5),
            "no pulse for 95 s, expected every 30 s (missed 3 of 5)"
        );
        let little_less = age - Duration::from_millis(990);
        assert_eq!(
            late(age, little_less, interval, 0, 5),
            "no pulse for 95 s, expected every 30 s"
        );
        assert_eq!(
            late(Duration::from_secs(695), age, interval, 3, 5),
            "no pulse for 11m 35s, of which 95 s count, expected every 30 s (missed 3 of 5)"
        );
    }

    #[test]
    fn standing_still_names_the_number_and_since_when() {
        let said = |cycle, progress| {
            let (for_, within) = (Duration::from_secs(95), Duration::from_secs(60));
            still(cycle, progress, for_, Timestamp(0), within)
        };
        assert_eq!(
            said(Some(7), None),
            "cycle has stood at 7 for 95 s, since 1970-01-01T00:00:00Z; it must move within 1m"
        );
        assert_eq!(
            said(None, Some(0.5)),
            "progress has stood at 0.5 for 95 s, since 1970-01-01T00:00:00Z; it must move within 1m"
        );
        assert_eq!(
            said(Some(7), Some(0.5)),
            "cycle has stood at 7 and progress at 0.5 for 95 s, since 1970-01-01T00:00:00Z; \
             one of them must move within 1m"
        );
    }

    #[test]
    fn exits_name_their_code_or_signal() {
        let exit = |code, signal, oom| Exit {
            code,
            signal,
            oom,
            at: Timestamp(0),
        };
        assert_eq!(exited(&exit(Some(1), None, false)), "exited with code 1");
        assert_eq!(exited(&exit(None, Some(11), false)), "killed by SIGSEGV");
        assert_eq!(
            exited(&exit(None, Some(9), true)),
            "killed by SIGKILL (out of memory)"
        );
        assert_eq!(exited(&exit(None, Some(34), false)), "killed by signal 34");
        assert_eq!(exited(&exit(None, Some(-1), false)), "killed by signal -1");
        assert_eq!(exited(&exit(None, None, false)), "ended, nobody knows how");
    }
}
