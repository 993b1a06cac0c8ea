//! What a service prints, on its way from its shim to whoever wants to hear it.
//!
//! A shim sends so many frames and no more before it is asked again ([`Asked`]), so that a
//! flood costs what we are ready to pay. A shim of an older version, which some earlier
//! supervisor has left, cannot send any: what its service prints is read where it ends up, in
//! the log file, until the service is started anew.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

use supervisor_actors::ports::output::{Hearing, More, Output};
use supervisor_actors::ports::{ProcessEvent, ProcessSink};
use supervisor_shim::protocol::{Frame, MOST_LINE, TELLS_OUTPUT, key, mode};

use crate::tail::Tail;

/// How often a log file is looked at that takes the place of a shim's word.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Frames that may come again, said from any thread.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) wake: Notify,
    more: AtomicU32,
}

/// Reads a log file instead of hearing a shim, until it is dropped.
#[derive(Debug)]
pub(super) struct Tailing(JoinHandle<()>);

impl Asked {
    /// How many frames may come again since the last call.
    pub(super) fn take(&self) -> u32 {
        self.more.swap(0, Ordering::Relaxed)
    }

    /// What says that one more may come when it is dropped.
    fn more(self: &Arc<Self>) -> More {
        let asked = Arc::clone(self);
        More::new(move || {
            asked.more.fetch_add(1, Ordering::Relaxed);
            asked.wake.notify_one();
        })
    }
}

/// The word of a hearing in frames, and how many frames may be under way: counts fold in the
/// shim while one is; of lines some more, so that a burst comes through whole.
pub(super) fn wish(hearing: Hearing) -> (&'static str, u32) {
    match hearing {
        Hearing::Count => (mode::COUNT, 1),
        Hearing::Lines => (mode::LINES, 4),
    }
}

/// Whether the shim of that `hello` tells of output.
pub(super) fn is_told(hello: Option<Frame<'_>>) -> bool {
    let version = hello.and_then(|frame| frame.number(key::PROTOCOL));
    version.is_some_and(|version| version >= TELLS_OUTPUT)
}

/// What an `output` frame says.
pub(super) fn output_of(frame: Frame<'_>, asked: &Arc<Asked>) -> Output {
    let number = |key| frame.number(key).and_then(|n| u32::try_from(n).ok());
    Output {
        lines: number(key::NUMBER).unwrap_or(0),
        lost: number(key::LOST).unwrap_or(0),
        text: frame.get(key::TEXT).unwrap_or_default().to_vec(),
        more: asked.more(),
    }
}

impl Tailing {
    /// Begins at the present end of the file.
    pub(super) fn begin(log: PathBuf, hearing: Hearing, sink: ProcessSink) -> Self {
        Self(actix_rt::spawn(async move {
            // The last line is read only to know whether it has ended.
            let Some(Ok((mut tail, last))) = blocking(move || Tail::open(log, 1)).await else {
                return;
            };
            let mut lines = Lines {
                hearing,
                open: Vec::new(),
                skips: last.last().is_some_and(|&byte| byte != b'\n'),
            };
            loop {
                let Some((next, piece)) = blocking(move || {
                    let piece = tail.next();
                    (tail, piece)
                })
                .await
                else {
                    return;
                };
                tail = next;
                let piece = piece.unwrap_or_default();
                if piece.is_empty() {
                    tokio::time::sleep(LOOK_EVERY).await;
                } else {
                    lines.tell(&piece, &sink).await;
                }
            }
        }))
    }
}

impl Drop for Tailing {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    actix_rt::task::spawn_blocking(work).await.ok()
}

/// The lines of a log file, as a shim would tell them.
struct Lines {
    hearing: Hearing,
    /// The one under way.
    open: Vec<u8>,
    /// Its beginning was not read.
    skips: bool,
}

impl Lines {
    /// Tells the whole lines of a piece, and waits until more may come.
    async fn tell(&mut self, piece: &[u8], sink: &ProcessSink) {
        let (mut lines, mut text) = (0, Vec::new());
        for part in piece.split_inclusive(|&byte| byte == b'\n') {
            let (body, ended) = match part.split_last() {
                Some((b'\n', body)) => (body, true),
                Some(_) | None => (part, false),
            };
            let room = MOST_LINE.saturating_sub(self.open.len());
            self.open.extend_from_slice(&body[..body.len().min(room)]);
            if ended {
                if !std::mem::take(&mut self.skips) {
                    lines += 1;
                    text.extend_from_slice(&self.open);
                    text.push(b'\n');
                }
                self.open.clear();
            }
        }
        if lines == 0 {
            return;
        }
        let (given_back, wait) = oneshot::channel::<()>();
        sink(ProcessEvent::Output(Output {
            lines,
            lost: 0,
            text: match self.hearing {
                Hearing::Count => Vec::new(),
                Hearing::Lines => text,
            },
            more: More::new(move || drop(given_back)),
        }));
        // Dropped is what it is to be.
        let _ = wait.await;
    }
}
