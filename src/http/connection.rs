//! A connection that does not wait for ever.
//!
//! actix-web times the head of the *first* request of a connection and nothing else: a client
//! that sends the second one a byte at a time, or never reads its answer, keeps its
//! connection, its buffers and its place until we end. And it reckons from a clock that it
//! reads twice a second: after a stall of ours a request that waited for us would be answered
//! 408 before it is read. So the stream itself keeps three times, on one timer: from the first
//! byte of a request to the end of its head, from its first byte to the first byte of its
//! answer, and from one step of writing to the next. What has arrived is read before any of
//! them is looked at. The time between requests is bounded, too: actix-web's
//! keep-alive does not count while the rest of a refused body is still to come. None of that
//! costs a timer operation per request: the timer is only set again when it has run out.

use std::cell::Cell;
use std::io;
use std::ops::Deref;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_web::rt::time::{Instant, Sleep, sleep_until};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::api::Patience;

/// A stream with its patience.
pub(super) struct Connection<S> {
    stream: S,
    waiting: Waiting,
    timer: Option<Pin<Box<Sleep>>>,
    /// Whether the timer runs and will wake us: then looking at it is all that is needed.
    set: bool,
    /// How much of the end of a head has been seen.
    ending: Ending,
    head: Duration,
    request: Duration,
    write: Duration,
    wire: Wire,
}

/// What we wait for.
#[derive(Debug, Clone, Copy)]
enum Waiting {
    /// That the client begins a request. actix-web's keep-alive is usually sooner.
    Idle(Instant),
    /// That it finishes the head of its request.
    Head(Instant),
    /// That it finishes its request and we answer.
    Request(Instant),
    /// That it reads.
    Write(Instant),
    /// That there is something more to send it: as long as that takes.
    Stream,
}

/// How many bytes of the empty line that ends a head were the last ones read.
#[derive(Debug, Clone, Copy, Default)]
struct Ending(usize);

impl Ending {
    const LINE: &[u8] = b"\r\n\r\n";

    /// Whether the head ends in these bytes, which follow those seen before.
    fn comes(&mut self, bytes: &[u8]) -> bool {
        for &byte in bytes {
            self.0 = match byte {
                b if b == Self::LINE[self.0] => self.0 + 1,
                b'\r' => 1,
                _ => 0,
            };
            if self.0 == Self::LINE.len() {
                self.0 = 0;
                return true;
            }
        }
        false
    }
}

/// The answer to a head that takes too long.
const TOO_SLOW: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// What a connection and the handler of its present request know of each other.
#[derive(Debug, Clone, Default)]
pub(super) struct Wire(Rc<Flags>);

#[derive(Debug, Default)]
struct Flags {
    gone: Cell<bool>,
    streaming: Cell<bool>,
}

/// Held by an answer that comes in pieces, now and then.
#[derive(Debug)]
pub(super) struct Streaming(Wire);

impl Wire {
    /// Whether the client has ended its side: for those who would wait for something to send.
    pub(super) fn is_gone(&self) -> bool {
        self.0.gone.get()
    }

    /// From now on silence is not the client's fault.
    pub(super) fn stream(self) -> Streaming {
        self.0.streaming.set(true);
        Streaming(self)
    }
}

impl Deref for Streaming {
    type Target = Wire;

    fn deref(&self) -> &Wire {
        &self.0
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        self.0.0.streaming.set(false);
    }
}

impl<S> Connection<S> {
    pub(super) fn new(stream: S, patience: &Patience) -> Self {
        let request = patience.head + patience.body + patience.answer;
        Self {
            stream,
            // Who connects has something to say: ten thousand who do not must not fill our places
            // for as long as those may who have said something.
            waiting: Waiting::Idle(Instant::now() + patience.head),
            timer: None,
            set: false,
            ending: Ending::default(),
            head: patience.head,
            request,
            write: patience.read,
            wire: Wire::default(),
        }
    }

    pub(super) fn wire(&self) -> Wire {
        self.wire.clone()
    }

    /// Whether what we wait for is overdue. Where not, the task is woken when it is.
    fn poll_overdue(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let deadline = match self.waiting {
            Waiting::Idle(deadline)
            | Waiting::Head(deadline)
            | Waiting::Request(deadline)
            | Waiting::Write(deadline) => deadline,
            Waiting::Stream => return Poll::Pending,
        };
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if self.set && !timer.is_elapsed() {
            return Poll::Pending;
        }
        if timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        while timer.as_mut().poll(cx).is_ready() {
            // It may have been set for something that has long been done.
            if timer.deadline() >= deadline {
                return Poll::Ready(io::ErrorKind::TimedOut.into());
            }
            timer.as_mut().reset(deadline);
        }
        self.set = true;
        Poll::Pending
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Connection<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = into.filled().len();
        match Pin::new(&mut this.stream).poll_read(cx, into) {
            Poll::Ready(Ok(())) => {
                let new = &into.filled()[before..];
                match this.waiting {
                    _ if new.is_empty() => this.wire.0.gone.set(true),
                    Waiting::Idle(_) | Waiting::Head(_) if this.ending.comes(new) => {
                        this.waiting = Waiting::Request(Instant::now() + this.request);
                    }
                    Waiting::Idle(_) => {
                        this.waiting = Waiting::Head(Instant::now() + this.head);
                        // The timer runs for something later.
                        this.set = false;
                    }
                    Waiting::Head(_)
                    | Waiting::Request(_)
                    | Waiting::Write(_)
                    | Waiting::Stream => {}
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                let overdue = ready!(this.poll_overdue(cx));
                if matches!(this.waiting, Waiting::Head(_)) {
                    // Whether it can still be told so or not, it has had its time.
                    let _ = Pin::new(&mut this.stream).poll_write(cx, TOO_SLOW);
                }
                Poll::Ready(Err(overdue))
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> Connection<S> {
    /// What a step of writing came to.
    fn wrote<T>(&mut self, cx: &mut Context<'_>, step: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if step.is_ready() {
            self.waiting = if self.wire.0.streaming.get() {
                Waiting::Stream
            } else {
                Waiting::Idle(Instant::now() + self.request)
            };
            return step;
        }
        if !matches!(self.waiting, Waiting::Write(_)) {
            self.waiting = Waiting::Write(Instant::now() + self.write);
            // The timer runs for something later.
            self.set = false;
        }
        Poll::Ready(Err(ready!(self.poll_overdue(cx))))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Connection<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let step = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.wrote(cx, step)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let step = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        this.wrote(cx, step)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_head_is_found_wherever_the_reads_cut_it() {
        let head = b"GET / HTTP/1.1\r\nA: \r\r\nB: \n\r\n\r\n";
        for cut in 0..head.len() {
            let mut ending = Ending::default();
            assert!(!ending.comes(&head[..cut]), "{cut}");
            assert!(ending.comes(&head[cut..]), "{cut}");
        }
        assert!(!Ending::default().comes(b"\r\n\n\r\r\n"));
    }
}
