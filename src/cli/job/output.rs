//! What a command prints: passed through as it comes, the end of it kept.
//!
//! A thread for each of the two streams: where our reader is slow, the command waits as it
//! would without us, and nothing else does.

use std::io::{self, PipeReader, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::process::Command;
use tokio::sync::watch;

use supervisor_core::run::MOST_OUTPUT;

use super::super::output::complain;
use super::signals::Signals;

/// The two streams of a command.
pub(super) struct Output {
    tail: Arc<Mutex<Tail>>,
    /// How many of the two have not ended.
    open: watch::Receiver<usize>,
}

/// The last bytes of all that came.
#[derive(Debug, Default)]
struct Tail {
    bytes: Vec<u8>,
}

impl Output {
    /// Takes what the command will print.
    ///
    /// # Errors
    /// Where there are no descriptors or threads.
    pub(super) fn attach(command: &mut Command) -> io::Result<Self> {
        let (out, out_end) = io::pipe()?;
        let (err, err_end) = io::pipe()?;
        command.stdout(out_end).stderr(err_end);
        let tail = Arc::new(Mutex::new(Tail::default()));
        let (open, seen) = watch::channel(2);
        let open = Arc::new(open);
        for (from, to) in [(out, Stream::Out), (err, Stream::Err)] {
            let (tail, open) = (Arc::clone(&tail), Arc::clone(&open));
            thread::Builder::new()
                .name("output".to_owned())
                .spawn(move || {
                    to.pass_on(from, &tail);
                    open.send_modify(|open| *open -= 1);
                })?;
        }
        Ok(Self { tail, open: seen })
    }

    /// Waits until all has come, for so long at most, and gives the end of it.
    pub(super) async fn wait(&self, patience: Duration) -> String {
        // Cancelling loses nothing: the threads go on.
        let _in_time = tokio::time::timeout(patience, self.ended()).await;
        self.tail
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .text()
    }

    /// Waits until nobody holds it any more, or somebody ends us.
    pub(super) async fn finish(&self, signals: &mut Signals) {
        tokio::select! {
            biased;
            () = self.ended() => {}
            _ = signals.next() => {}
        }
    }

    async fn ended(&self) {
        // An error would mean that the threads are gone, which is an end as well.
        let mut open = self.open.clone();
        let _ended = open.wait_for(|&open| open == 0).await;
    }
}

/// Where it goes on to.
#[derive(Clone, Copy)]
enum Stream {
    Out,
    Err,
}

impl Stream {
    /// Passes everything on until the end.
    fn pass_on(self, mut from: PipeReader, tail: &Mutex<Tail>) {
        let mut buffer = [0; 8192];
        let mut whole = true;
        loop {
            let count = match from.read(&mut buffer) {
                Ok(0) => return,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return,
            };
            let bytes = &buffer[..count];
            tail.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(bytes);
            match self.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    // The command finds its output closed, as it would without us.
                    return;
                }
                Err(error) if whole => {
                    whole = false;
                    complain(&format!(
                        "cannot pass on all that the command prints: {error}"
                    ));
                }
                Ok(()) | Err(_) => {}
            }
        }
    }

    fn write(self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Out => {
                let mut out = io::stdout().lock();
                out.write_all(bytes)?;
                out.flush()
            }
            Self::Err => io::stderr().lock().write_all(bytes),
        }
    }
}

impl Tail {
    fn push(&mut self, more: &[u8]) {
        self.bytes.extend_from_slice(more);
        // Not at each push, or a byte at a time would move everything each time.
        if self.bytes.len() > 4 * MOST_OUTPUT {
            self.bytes.drain(..self.bytes.len() - MOST_OUTPUT);
        }
    }

    /// As text, whatever it is made of, without the part of a character at its beginning.
    fn text(&self) -> String {
        let from = self.bytes.len().saturating_sub(MOST_OUTPUT);
        let mut bytes = &self.bytes[from..];
        if from > 0 {
            let part = bytes.iter().take(3).take_while(|byte| *byte & 0xc0 == 0x80);
            bytes = &bytes[part.count()..];
        }
        String::from_utf8_lossy(bytes).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_end_is_kept_and_begins_with_a_whole_character() {
        let mut tail = Tail::default();
        tail.push("ü".repeat(30_000).as_bytes());
        tail.push(b"x");
        let text = tail.text();
        assert_eq!(text.len(), MOST_OUTPUT - 1);
        assert!(text.starts_with('ü') && text.ends_with('x'));
        let mut tail = Tail::default();
        tail.push(b"a\0\xff");
        assert_eq!(tail.text(), "a\0\u{fffd}");
    }

    proptest! {
        #[test]
        fn it_is_the_end_however_it_comes_and_never_grows(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3000), 0..50),
        ) {
            let mut tail = Tail::default();
            for piece in &pieces {
                tail.push(piece);
                prop_assert!(tail.bytes.len() <= 4 * MOST_OUTPUT + 3000);
            }
            let all = pieces.concat();
            prop_assert!(all.ends_with(&tail.bytes[tail.bytes.len().saturating_sub(MOST_OUTPUT)..]));
            prop_assert!(tail.bytes.len() >= all.len().min(MOST_OUTPUT));
        }
    }
}
