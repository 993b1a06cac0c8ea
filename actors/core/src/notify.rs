//! What an sd_notify datagram says: systemd's protocol, which unmodified services speak.
//!
//! A datagram is lines of `KEY=VALUE`. Keys that we do not know are ignored, as the protocol
//! asks; so are values that make no sense. A datagram that is empty, cut short by the size of
//! the receiver's buffer, or holds a NUL byte says nothing at all ([`Noise`]): it comes from
//! no client of this protocol.
//!
//! Source: sd_notify(3) and PROTOCOLS 3.

use std::time::Duration;

/// The most bytes of a datagram that are read: systemd's own clients stay below a page.
pub const MOST_BYTES: usize = 64 << 10;

/// The most bytes that are kept of a `STATUS`.
pub const MOST_STATUS: usize = 1 << 10;

/// What one datagram says; several keys may stand in one. Of a key that stands twice the last
/// counts, as for systemd.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Said {
    /// `READY=1`: it is started, or has reloaded.
    pub ready: bool,
    /// `RELOADING=1`: it reads its configuration anew.
    pub reloading: bool,
    /// `STOPPING=1`: it is about to exit.
    pub stopping: bool,
    /// `STATUS=`: free text. Empty: there is nothing to say any more.
    pub status: Option<String>,
    /// `ERRNO=`: why it failed.
    pub errno: Option<i32>,
    /// `BUSERROR=`: the same as a D-Bus error's name.
    pub bus_error: Option<String>,
    /// `MAINPID=`: which process is the main one.
    pub main_pid: Option<i32>,
    /// `WATCHDOG=`.
    pub watchdog: Option<Watchdog>,
    /// `WATCHDOG_USEC=`: how often it pulses from now on.
    pub interval: Option<Duration>,
    /// `EXTEND_TIMEOUT_USEC=`: how long from now its start, stop or silence may still last.
    pub extend: Option<Duration>,
    /// `BARRIER=1`: whoever sent it waits until its descriptor is closed.
    pub barrier: bool,
}

/// What a `WATCHDOG=` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watchdog {
    /// `1`: a pulse.
    Alive,
    /// `trigger`: it has found itself hung.
    Trigger,
}

/// Why a datagram says nothing at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Noise {
    /// It has no bytes (CVE-2016-7796).
    #[error("an empty datagram")]
    Empty,
    /// It is 64 KiB long or longer, or was cut short.
    #[error("a datagram of 64 KiB or more")]
    Oversized,
    /// It holds a NUL byte.
    #[error("a datagram with a NUL byte")]
    Nul,
}

/// Reads a datagram; `cut` where its end is missing.
///
/// # Errors
/// Where it is none of this protocol.
pub fn parse(datagram: &[u8], cut: bool) -> Result<Said, Noise> {
    if cut || datagram.len() >= MOST_BYTES {
        return Err(Noise::Oversized);
    }
    if datagram.is_empty() {
        return Err(Noise::Empty);
    }
    if datagram.contains(&0) {
        return Err(Noise::Nul);
    }
    let mut said = Said::default();
    for line in datagram.split(|byte| *byte == b'\n') {
        let mut halves = line.splitn(2, |byte| *byte == b'=');
        if let (Some(key), Some(value)) = (halves.next(), halves.next()) {
            said.take(key, value);
        }
    }
    Ok(said)
}

/// Whether it is a plain pulse and nothing else: what most datagrams are, told apart without
/// reading lines.
#[must_use]
pub fn is_plain_pulse(datagram: &[u8]) -> bool {
    matches!(datagram, b"WATCHDOG=1" | b"WATCHDOG=1\n")
}

impl Said {
    fn take(&mut self, key: &[u8], value: &[u8]) {
        match key {
            b"READY" => self.ready |= value == b"1",
            b"RELOADING" => self.reloading |= value == b"1",
            b"STOPPING" => self.stopping |= value == b"1",
            b"BARRIER" => self.barrier |= value == b"1",
            b"STATUS" => self.status = Some(text(value)),
            b"BUSERROR" => self.bus_error = Some(text(value)),
            b"ERRNO" => self.errno = number(value).or(self.errno),
            b"MAINPID" => {
                let pid = number(value).filter(|pid| *pid > 0);
                self.main_pid = pid.or(self.main_pid);
            }
            b"WATCHDOG" => match value {
                b"1" => self.watchdog = Some(Watchdog::Alive),
                b"trigger" => self.watchdog = Some(Watchdog::Trigger),
                _ => {}
            },
            b"WATCHDOG_USEC" => {
                // Zero would promise a pulse at every instant.
                let interval = micros(value).filter(|interval| !interval.is_zero());
                self.interval = interval.or(self.interval);
            }
            b"EXTEND_TIMEOUT_USEC" => self.extend = micros(value).or(self.extend),
            _ => {}
        }
    }

    /// Why it failed, in words, where it says so.
    #[must_use]
    pub fn error(&self) -> Option<String> {
        match (self.errno, &self.bus_error) {
            (None | Some(0), None) => None,
            (Some(errno), None) => Some(std::io::Error::from_raw_os_error(errno).to_string()),
            (None | Some(0), Some(name)) => Some(name.clone()),
            (Some(errno), Some(name)) => {
                let errno = std::io::Error::from_raw_os_error(errno);
                Some(format!("{name}: {errno}"))
            }
        }
    }
}

/// Text as people may read it: valid, without control characters, of bounded length.
fn text(value: &[u8]) -> String {
    let value = value.get(..value.len().min(MOST_STATUS)).unwrap_or(value);
    let text = String::from_utf8_lossy(value);
    let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    clean.collect::<String>().trim().to_owned()
}

fn number(value: &[u8]) -> Option<i32> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

fn micros(value: &[u8]) -> Option<Duration> {
    // What follows is added to clocks: a year is more than any service means.
    const MOST: u64 = 366 * 24 * 3600 * 1_000_000;
    let micros: u64 = std::str::from_utf8(value).ok()?.parse().ok()?;
    Some(Duration::from_micros(micros.min(MOST)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn said(text: &str) -> Said {
        parse(text.as_bytes(), false).expect("it is of this protocol")
    }

    #[test]
    fn each_key_says_what_the_protocol_says() {
        assert!(said("READY=1").ready);
        assert!(said("RELOADING=1\nMONOTONIC_USEC=5").reloading);
        assert!(said("STOPPING=1").stopping);
        assert!(said("BARRIER=1").barrier);
        assert_eq!(said("STATUS=a=b").status.as_deref(), Some("a=b"));
        assert_eq!(said("STATUS=").status.as_deref(), Some(""));
        assert_eq!(said("MAINPID=42").main_pid, Some(42));
        assert_eq!(said("WATCHDOG=1").watchdog, Some(Watchdog::Alive));
        assert_eq!(said("WATCHDOG=trigger").watchdog, Some(Watchdog::Trigger));
        let second = Some(Duration::from_secs(1));
        assert_eq!(said("WATCHDOG_USEC=1000000").interval, second);
        assert_eq!(said("EXTEND_TIMEOUT_USEC=1000000").extend, second);
        let error = said("ERRNO=2").error().expect("an error");
        assert!(error.contains("No such file"), "{error}");
        let error = said("BUSERROR=org.x.Failed").error();
        assert_eq!(error.as_deref(), Some("org.x.Failed"));
        assert_eq!(said("ERRNO=0").error(), None);
    }

    #[test]
    fn several_keys_stand_in_one_datagram_and_the_last_of_a_kind_counts() {
        let said = said("READY=1\nSTATUS=one\nSTATUS=two\nMAINPID=7\n");
        assert_eq!(
            said,
            Said {
                ready: true,
                status: Some("two".to_owned()),
                main_pid: Some(7),
                ..Said::default()
            }
        );
    }

    #[test]
    fn what_makes_no_sense_is_ignored_and_spoils_nothing_else() {
        for line in [
            "X_FOO=1",
            "FDSTORE=1",
            "NOTIFYACCESS=all",
            "READY",
            "READY=0",
            "READY=yes",
            "ready=1",
            " READY=1",
            "=",
            "",
            "MAINPID=0",
            "MAINPID=-1",
            "MAINPID=x",
            "MAINPID=99999999999",
            "WATCHDOG=",
            "WATCHDOG=2",
            "WATCHDOG_USEC=0",
            "WATCHDOG_USEC=-1",
            "WATCHDOG_USEC=1s",
            "EXTEND_TIMEOUT_USEC=",
            "ERRNO=many",
        ] {
            assert_eq!(said(&format!("{line}\n")), Said::default(), "{line:?}");
            assert!(said(&format!("{line}\nREADY=1")).ready, "{line:?}");
        }
    }

    #[test]
    fn what_is_no_message_says_nothing() {
        assert_eq!(parse(b"", false), Err(Noise::Empty));
        assert_eq!(parse(b"READY=1\0", false), Err(Noise::Nul));
        assert_eq!(parse(b"READY=1", true), Err(Noise::Oversized));
        let mut long = b"READY=1\nSTATUS=".to_vec();
        long.resize(MOST_BYTES, b'x');
        assert_eq!(parse(&long, false), Err(Noise::Oversized));
        long.pop();
        let said = parse(&long, false).expect("just short enough");
        assert!(said.ready);
        assert_eq!(said.status.map(|status| status.len()), Some(MOST_STATUS));
    }

    #[test]
    fn a_status_is_text_for_people() {
        assert_eq!(
            said("STATUS=\u{1b}[31mred\t").status.as_deref(),
            Some("[31mred")
        );
        let broken = parse(b"STATUS=a\xffb", false).expect("it is of this protocol");
        assert_eq!(broken.status.as_deref(), Some("a\u{fffd}b"));
    }

    #[test]
    fn numbers_of_a_clock_stay_within_what_clocks_can_add() {
        let most = said("WATCHDOG_USEC=18446744073709551615").interval;
        assert!(most.is_some_and(|most| most < Duration::from_secs(400 * 24 * 3600)));
        assert_eq!(said("WATCHDOG_USEC=18446744073709551616").interval, None);
    }

    #[test]
    fn only_a_plain_pulse_is_taken_for_one() {
        assert!(is_plain_pulse(b"WATCHDOG=1"));
        assert!(is_plain_pulse(b"WATCHDOG=1\n"));
        for other in ["WATCHDOG=1\nREADY=1", "WATCHDOG=11", "WATCHDOG=trigger", ""] {
            assert!(!is_plain_pulse(other.as_bytes()), "{other:?}");
        }
    }

    fn line() -> impl Strategy<Value = Vec<u8>> {
        let key = prop::sample::select(vec![
            "READY",
            "RELOADING",
            "STOPPING",
            "STATUS",
            "ERRNO",
            "BUSERROR",
            "MAINPID",
            "WATCHDOG",
            "WATCHDOG_USEC",
            "EXTEND_TIMEOUT_USEC",
            "BARRIER",
            "FDSTORE",
        ]);
        let value = prop_oneof![
            Just(b"1".to_vec()),
            any::<i64>().prop_map(|number| number.to_string().into_bytes()),
            prop::collection::vec(any::<u8>(), 0..40),
        ];
        (key, value).prop_map(|(key, value)| [key.as_bytes(), b"=", &value].concat())
    }

    proptest! {
        #[test]
        fn no_datagram_breaks_the_reader(
            bytes in prop::collection::vec(any::<u8>(), 0..2_000),
            cut: bool,
        ) {
            if let Ok(said) = parse(&bytes, cut) {
                prop_assert!(!cut && !bytes.is_empty() && !bytes.contains(&0));
                prop_assert!(said.main_pid.is_none_or(|pid| pid > 0));
                prop_assert!(said.interval.is_none_or(|interval| !interval.is_zero()));
            }
        }

        #[test]
        fn no_line_spoils_the_others(
            lines in prop::collection::vec(line(), 0..12),
            at in 0_usize..12,
        ) {
            let nul = lines.iter().flatten().any(|byte| *byte == 0);
            let mut all = lines;
            all.insert(at.min(all.len()), b"READY=1".to_vec());
            match parse(&all.join(&b'\n'), false) {
                Ok(said) => {
                    prop_assert!(said.ready);
                    for text in [said.status, said.bus_error].into_iter().flatten() {
                        prop_assert!(!text.chars().any(char::is_control));
                        prop_assert!(text.len() <= 3 * MOST_STATUS);
                    }
                }
                Err(noise) => {
                    prop_assert_eq!(noise, Noise::Nul);
                    prop_assert!(nul);
                }
            }
        }

        #[test]
        fn a_plain_pulse_reads_as_one(end in "\n?") {
            let datagram = format!("WATCHDOG=1{end}");
            let read = parse(datagram.as_bytes(), false).expect("a message");
            let plain = Said { watchdog: Some(Watchdog::Alive), ..Said::default() };
            prop_assert_eq!(read, plain);
            prop_assert!(is_plain_pulse(datagram.as_bytes()));
        }
    }
}
