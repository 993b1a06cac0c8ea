//! What the supervisor is told of the service's output, beside the log: its lines, or only how
//! many there were.
//!
//! It asks for them, and says in how many frames. Each frame that we send takes one, and it
//! gives them back when it has dealt with them. So a flood costs it what it is ready to pay and
//! never fills our socket, and nothing here ever holds up the service: what comes while no
//! frame is left waits in one buffer, and what does not fit there is left out and counted. The
//! log gets everything in any case.

use crate::protocol::{MOST_LINE, key, kind, mode};
use crate::sys::{self, Errno, Fd};
use crate::text::Text;

/// The lines that wait, with the head of their frame before them.
const CAPACITY: usize = 16 << 10;
/// Room for that head.
const HEAD: usize = 64;
const PAGE: usize = 4096;
/// A line's end, and the NUL that ends the text.
const ENDS: usize = 2;

/// What is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Nothing.
    #[default]
    Off,
    /// How many lines there were.
    Count,
    /// The lines.
    Lines,
}

/// What becomes of the line under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Rest {
    /// It is kept.
    #[default]
    Kept,
    /// So much of it is kept as is kept of any.
    Cut,
    /// It is left out: there was no room, or its beginning was not heard.
    Lost,
}

/// The supervisor no longer understands us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken;

/// What it is yet to be told.
#[derive(Debug, Default)]
pub struct Lines {
    mode: Mode,
    /// How many frames it takes.
    frames: u32,
    buffer: &'static mut [u8],
    /// The bytes of whole lines behind the head.
    whole: usize,
    /// The bytes of the one under way behind them.
    open: usize,
    rest: Rest,
    /// Whether the service is within a line.
    within: bool,
    count: u32,
    lost: u32,
}

impl Mode {
    /// The mode of that word; one that we do not know is none.
    #[must_use]
    pub fn from_word(word: &[u8]) -> Self {
        if word == mode::COUNT.as_bytes() {
            Self::Count
        } else if word == mode::LINES.as_bytes() {
            Self::Lines
        } else {
            Self::Off
        }
    }
}

impl Lines {
    /// From now on this is wanted, in so many frames.
    #[inline(never)]
    pub fn begin(&mut self, mode: Mode, frames: u32) {
        self.end();
        if mode == Mode::Lines && self.buffer.is_empty() {
            let Ok(buffer) = sys::map(CAPACITY) else {
                return;
            };
            self.buffer = buffer;
        }
        self.mode = mode;
        self.frames = frames;
        if self.within {
            self.rest = Rest::Lost;
        }
    }

    /// It takes so many frames more.
    pub fn more(&mut self, frames: u32) {
        self.frames = self.frames.saturating_add(frames);
    }

    /// Nothing is wanted any more.
    pub fn end(&mut self) {
        self.mode = Mode::Off;
        self.frames = 0;
        (self.whole, self.open, self.count, self.lost) = (0, 0, 0, 0);
        self.rest = Rest::Kept;
    }

    /// Whether anything is wanted.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.mode != Mode::Off
    }

    /// Takes output, whatever it is.
    pub fn take(&mut self, mut bytes: &[u8]) {
        if self.mode == Mode::Lines {
            while let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
                self.extend(&bytes[..end]);
                self.end_line();
                bytes = &bytes[end + 1..];
                self.within = false;
            }
            self.extend(bytes);
        } else if self.mode == Mode::Count {
            let ends = bytes.iter().filter(|&&byte| byte == b'\n').count();
            self.count = self.count.saturating_add(ends as u32);
        }
        if let Some(&last) = bytes.last() {
            self.within = last != b'\n';
        }
    }

    fn extend(&mut self, piece: &[u8]) {
        if self.rest != Rest::Kept {
            return;
        }
        let kept = piece.len().min(MOST_LINE - self.open);
        let at = HEAD + self.whole + self.open;
        if at + kept + ENDS > CAPACITY {
            self.open = 0;
            self.rest = Rest::Lost;
            return;
        }
        for (place, &byte) in self.buffer[at..at + kept].iter_mut().zip(piece) {
            // A NUL ends our strings; this is as little a character as that.
            *place = if byte == 0 { 0xff } else { byte };
        }
        self.open += kept;
        if kept < piece.len() {
            self.rest = Rest::Cut;
        }
    }

    fn end_line(&mut self) {
        let end = HEAD + self.whole + self.open;
        let fits = end + ENDS <= CAPACITY;
        match self.rest {
            Rest::Kept | Rest::Cut if fits => {
                self.buffer[end] = b'\n';
                self.whole += self.open + 1;
                self.count = self.count.saturating_add(1);
            }
            Rest::Kept | Rest::Cut | Rest::Lost => self.lost = self.lost.saturating_add(1),
        }
        self.open = 0;
        self.rest = Rest::Kept;
    }

    /// Tells what there is, if a frame is left for it.
    ///
    /// # Errors
    /// Where only a part of a frame could be sent.
    pub fn tell(&mut self, to: Fd) -> core::result::Result<(), Broken> {
        if self.frames == 0 || self.count == 0 && self.lost == 0 {
            return Ok(());
        }
        self.send(to)
    }

    /// Tells all there is: the service has ended, perhaps within a line.
    ///
    /// # Errors
    /// As for [`Lines::tell`].
    #[inline(never)]
    pub fn tell_last(&mut self, to: Fd) -> core::result::Result<(), Broken> {
        if self.within {
            self.within = false;
            match self.mode {
                Mode::Off => {}
                Mode::Count => self.count = self.count.saturating_add(1),
                Mode::Lines => self.end_line(),
            }
        }
        if self.mode == Mode::Off {
            return Ok(());
        }
        // There is room for one more in the socket, whatever it takes otherwise.
        self.frames = self.frames.max(1);
        self.tell(to)
    }

    #[inline(never)]
    fn send(&mut self, to: Fd) -> core::result::Result<(), Broken> {
        let mut head = Text::<HEAD>::new();
        head.push(kind::OUTPUT.as_bytes())
            .push(b"\0")
            .push(key::NUMBER.as_bytes())
            .push(b"\0")
            .push_number(i64::from(self.count))
            .push(b"\0")
            .push(key::LOST.as_bytes())
            .push(b"\0")
            .push_number(i64::from(self.lost))
            .push(b"\0");
        let sent = if self.mode == Mode::Lines {
            head.push(key::TEXT.as_bytes()).push(b"\0");
            let text_end = HEAD + self.whole;
            let payload = head.as_bytes().len() + self.whole + 1;
            let start = HEAD - head.as_bytes().len() - 4;
            self.buffer[start..start + 4].copy_from_slice(&(payload as u32).to_le_bytes());
            self.buffer[start + 4..HEAD].copy_from_slice(head.as_bytes());
            // The line under way may begin where the text's end must stand.
            let first = core::mem::replace(&mut self.buffer[text_end], 0);
            let sent = whole(sys::send(to, &self.buffer[start..=text_end]), payload + 4);
            self.buffer[text_end] = first;
            sent
        } else {
            let payload = head.as_bytes().len();
            let mut frame = Text::<{ HEAD + 4 }>::new();
            frame.push(&(payload as u32).to_le_bytes());
            frame.push(head.as_bytes());
            whole(sys::send(to, frame.as_bytes()), payload + 4)
        }?;
        if sent {
            self.frames -= 1;
            self.forget_told();
        }
        Ok(())
    }

    fn forget_told(&mut self) {
        let (start, end) = (HEAD + self.whole, HEAD + self.whole + self.open);
        if self.mode == Mode::Lines {
            self.buffer.copy_within(start..end, HEAD);
            if self.whole > 2 * PAGE {
                // A burst must not stay in our memory for good. A line fits before that.
                sys::forget(&mut self.buffer[2 * PAGE..]);
            }
        }
        (self.whole, self.count, self.lost) = (0, 0, 0);
    }
}

const _: () = assert!(HEAD + MOST_LINE + ENDS <= 2 * PAGE);

/// Whether a frame of that length was sent. The kernel takes one of our size whole or not at
/// all; half of one would make nonsense of what follows.
fn whole(sent: sys::Result<usize>, length: usize) -> core::result::Result<bool, Broken> {
    match sent {
        Ok(count) if count == length => Ok(true),
        Ok(_) => Err(Broken),
        // Full. It waits here, and is sent with what comes next.
        Err(Errno::EAGAIN) => Ok(false),
        // Nobody is there any more: that is noticed elsewhere.
        Err(_) => Ok(true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Frame, first_frame};
    use std::io::Read as _;
    use std::os::fd::AsRawFd as _;
    use std::os::unix::net::UnixStream;

    /// What one frame said: lines, lost, text.
    type Told = (i64, i64, String);

    struct Pair {
        ours: UnixStream,
        theirs: UnixStream,
        lines: Lines,
    }

    impl Pair {
        fn new(mode: Mode, frames: u32) -> Self {
            let (ours, theirs) = UnixStream::pair().unwrap();
            theirs.set_nonblocking(true).unwrap();
            let mut lines = Lines::default();
            lines.begin(mode, frames);
            Self {
                ours,
                theirs,
                lines,
            }
        }

        fn say(&mut self, bytes: impl AsRef<[u8]>) {
            self.lines.take(bytes.as_ref());
            self.lines.tell(self.ours.as_raw_fd()).unwrap();
        }

        fn more(&mut self, frames: u32) {
            self.lines.more(frames);
            self.lines.tell(self.ours.as_raw_fd()).unwrap();
        }

        fn last(&mut self) {
            self.lines.tell_last(self.ours.as_raw_fd()).unwrap();
        }

        fn told(&mut self) -> Vec<Told> {
            let mut bytes = Vec::new();
            let _ = self.theirs.read_to_end(&mut bytes);
            let mut rest = bytes.as_slice();
            let mut told = Vec::new();
            while let Some((payload, used)) = first_frame(rest).unwrap() {
                let frame = Frame::parse(payload).unwrap();
                assert_eq!(frame.kind, b"output");
                let text = frame.get(key::TEXT).unwrap_or_default();
                told.push((
                    frame.number(key::NUMBER).unwrap(),
                    frame.number(key::LOST).unwrap(),
                    String::from_utf8_lossy(text).into_owned(),
                ));
                rest = &rest[used..];
            }
            assert!(rest.is_empty(), "half a frame");
            told
        }
    }

    fn of(lines: i64, lost: i64, text: &str) -> Told {
        (lines, lost, text.to_owned())
    }

    #[test]
    fn nothing_is_told_unless_it_is_asked_for() {
        let mut pair = Pair::new(Mode::Off, 4);
        pair.say("one\n");
        pair.last();
        assert_eq!(pair.told(), []);
    }

    #[test]
    fn lines_come_whole_however_they_were_written() {
        let mut pair = Pair::new(Mode::Lines, 10);
        pair.say("one\ntwo\nth");
        assert_eq!(pair.told(), [of(2, 0, "one\ntwo\n")]);
        pair.say("r");
        assert_eq!(pair.told(), []);
        pair.say("ee\r\n\n");
        assert_eq!(pair.told(), [of(2, 0, "three\r\n\n")]);
        pair.say(b"a\0b\xc3(\n");
        assert_eq!(pair.told(), [of(1, 0, "a\u{fffd}b\u{fffd}(\n")]);
        pair.say(b"\xff\xfe\n");
        assert_eq!(pair.told(), [of(1, 0, "\u{fffd}\u{fffd}\n")]);
        pair.say("the end");
        assert_eq!(pair.told(), []);
        pair.last();
        assert_eq!(pair.told(), [of(1, 0, "the end\n")]);
    }

    #[test]
    fn no_more_frames_are_sent_than_are_taken() {
        let mut pair = Pair::new(Mode::Lines, 2);
        for line in ["a\n", "b\n", "c\n", "d\ne"] {
            pair.say(line);
        }
        assert_eq!(pair.told(), [of(1, 0, "a\n"), of(1, 0, "b\n")]);
        pair.more(1);
        assert_eq!(pair.told(), [of(2, 0, "c\nd\n")]);
        pair.more(1);
        assert_eq!(pair.told(), [], "the frame is kept for what comes");
        pair.say("e\nf\n");
        assert_eq!(pair.told(), [of(2, 0, "ee\nf\n")]);
        pair.say("last");
        pair.last();
        assert_eq!(pair.told(), [of(1, 0, "last\n")], "one in any case");
    }

    #[test]
    fn what_does_not_fit_is_left_out_and_counted() {
        let mut pair = Pair::new(Mode::Lines, 0);
        let line = "x".repeat(99) + "\n";
        for _ in 0..1_000 {
            pair.say(&line);
        }
        pair.more(2);
        let told = pair.told();
        let [(lines, lost, text)] = told.as_slice() else {
            panic!("{} frames", told.len());
        };
        assert_eq!((lines + lost, text.len() as i64), (1_000, lines * 100));
        assert!(*lines > 150, "{lines} lines fit");
        pair.say("and on\n");
        assert_eq!(pair.told(), [of(1, 0, "and on\n")]);
    }

    #[test]
    fn f12_a_line_without_an_end_costs_no_more_than_a_long_one() {
        let mut pair = Pair::new(Mode::Lines, 4);
        for _ in 0..100 {
            pair.say("y".repeat(65_536));
        }
        assert_eq!(pair.told(), []);
        pair.say("\nshort\n");
        let told = pair.told();
        assert_eq!(told.len(), 1);
        let text = "y".repeat(MOST_LINE) + "\nshort\n";
        assert_eq!(told[0], of(2, 0, &text));
    }

    #[test]
    fn lines_that_are_only_counted_fold_into_the_next_frame() {
        let mut pair = Pair::new(Mode::Count, 1);
        pair.say("one\n");
        assert_eq!(pair.told(), [of(1, 0, "")]);
        for _ in 0..100_000 {
            pair.say("two\nthree\n");
        }
        assert_eq!(pair.told(), []);
        pair.more(1);
        assert_eq!(pair.told(), [of(200_000, 0, "")]);
        pair.say("half");
        pair.more(1);
        assert_eq!(pair.told(), []);
        pair.last();
        assert_eq!(pair.told(), [of(1, 0, "")]);
    }

    #[test]
    fn who_begins_to_listen_within_a_line_hears_the_next() {
        let mut pair = Pair::new(Mode::Off, 0);
        pair.say("the beginning of a li");
        pair.lines.begin(Mode::Lines, 4);
        pair.say("ne\nnext\n");
        assert_eq!(pair.told(), [of(1, 1, "next\n")]);
        pair.lines.begin(Mode::Lines, 4);
        pair.say("third\n");
        assert_eq!(pair.told(), [of(1, 0, "third\n")], "between two lines");
    }

    #[test]
    fn a_full_socket_loses_nothing_that_fits_and_blocks_nobody() {
        let mut pair = Pair::new(Mode::Lines, u32::MAX);
        let line = "z".repeat(1_000) + "\n";
        let mut said = 0;
        for _ in 0..2_000 {
            pair.say(&line);
            said += 1;
        }
        let (mut seen, mut lost) = (0, 0);
        for round in 0..10 {
            for (lines, left_out, text) in pair.told() {
                assert_eq!(text, line.repeat(lines as usize));
                seen += lines;
                lost += left_out;
            }
            if round < 5 {
                pair.say(&line);
                said += 1;
            }
        }
        assert_eq!(seen + lost, said);
        assert!(lost > 0 && seen > 100, "{seen} and {lost}");
    }

    #[test]
    fn nobody_at_the_other_end_is_no_reason_to_stop() {
        let mut pair = Pair::new(Mode::Lines, 100);
        let (theirs, _) = UnixStream::pair().unwrap();
        pair.theirs = theirs;
        for _ in 0..10 {
            pair.say("anybody?\n");
        }
        pair.last();
    }
}
