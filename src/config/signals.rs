//! Signals by name or number.

use nix::sys::signal::Signal;

use super::value::{Value, suggest};

/// The highest signal number that Linux has.
const LAST: i32 = 64;

/// A signal, or said: `"SIGTERM"`, `"TERM"`, `15`, `"SIGRTMIN+3"`.
pub(super) fn signal(value: &Value<'_>) -> Option<i32> {
    if let Some(text) = value.text() {
        let number = parse(text);
        if number.is_none() {
            let names = Signal::iterator().map(Signal::as_str);
            let upper = text.trim().to_ascii_uppercase();
            let full = if upper.starts_with("SIG") {
                upper
            } else {
                format!("SIG{upper}")
            };
            let label = match suggest(&full, names) {
                Some(best) => format!("did you mean \"{best}\"?"),
                None => "no signal has this name".to_owned(),
            };
            return value.wrong_at(
                value.span.clone(),
                "is no signal",
                &label,
                "a name or a number, like \"SIGTERM\" or 15",
            );
        }
        return number;
    }
    if value.integer().is_some() {
        return value.whole(1..=LAST);
    }
    value.expected("a signal", "\"SIGTERM\"")
}

/// A stop signal, or said: one that ends a process or that it can handle.
pub(super) fn stop_signal(value: &Value<'_>) -> Option<i32> {
    let signal = signal(value)?;
    if [Signal::SIGSTOP as i32, Signal::SIGCONT as i32].contains(&signal) {
        return value.wrong("does not end a process", "\"SIGTERM\" is the usual one");
    }
    Some(signal)
}

/// A signal that wakes a process, or said.
pub(super) fn nudge_signal(value: &Value<'_>) -> Option<i32> {
    let signal = signal(value)?;
    if [Signal::SIGSTOP as i32, Signal::SIGKILL as i32].contains(&signal) {
        return value.wrong(
            "cannot wake a process",
            "use one that it handles, like \"SIGUSR1\"; a restart is the next step anyway",
        );
    }
    Some(signal)
}

/// The number of a signal's name.
fn parse(text: &str) -> Option<i32> {
    let upper = text.trim().to_ascii_uppercase();
    if let Ok(number) = upper.parse::<i32>() {
        return (1..=LAST).contains(&number).then_some(number);
    }
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Ok(signal) = format!("SIG{name}").parse::<Signal>() {
        return Some(signal as i32);
    }
    real_time(name)
}

/// `RTMIN`, `RTMIN+3`, `RTMAX-1`, by the C library's numbering.
fn real_time(name: &str) -> Option<i32> {
    let (low, high) = (libc::SIGRTMIN(), libc::SIGRTMAX());
    let offset = |rest: &str, sign: char| match rest {
        "" => Some(0),
        rest => rest.strip_prefix(sign)?.parse::<i32>().ok(),
    };
    let number = if let Some(rest) = name.strip_prefix("RTMIN") {
        low.checked_add(offset(rest, '+')?)?
    } else {
        high.checked_sub(offset(name.strip_prefix("RTMAX")?, '-')?)?
    };
    (low..=high).contains(&number).then_some(number)
}

/// A signal's name, for people.
pub(super) fn name(signal: i32) -> String {
    match Signal::try_from(signal) {
        Ok(signal) => signal.as_str().to_owned(),
        Err(_) => format!("signal {signal}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_known_by_its_name_with_or_without_sig_or_by_its_number() {
        for text in ["SIGTERM", "TERM", "term", "15", " SIGTERM "] {
            assert_eq!(parse(text), Some(libc::SIGTERM), "{text:?}");
        }
        assert_eq!(parse("SIGRTMIN+3"), Some(libc::SIGRTMIN() + 3));
        assert_eq!(parse("RTMAX-1"), Some(libc::SIGRTMAX() - 1));
    }

    #[test]
    fn what_is_no_signal_is_none() {
        for text in [
            "",
            "SIG",
            "TERN",
            "0",
            "-1",
            "65",
            "RTMIN+99",
            "RTMIN+2147483647",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
