//! A connection that does not wait for ever.
//!
//! actix-web times the head of the *first* request of a connection and nothing else: a client
//! that sends the second one a byte at a time, or never reads its answer, keeps its
//! connection, its buffers and its place until we end. So the stream itself keeps two times,
//! on one timer: from the first byte of a request to the first byte of its answer, and from
//! one step of writing to the next. Neither costs a timer operation per request: the timer is
//! only set again when it has run out and there still is something to wait for.

use std::cell::Cell;
use std::io;
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
    request: Duration,
    write: Duration,
    gone: Gone,
}

/// What we wait for the client to do.
#[derive(Debug, Clone, Copy)]
enum Waiting {
    /// To begin a request: actix-web's keep-alive looks after that.
    Idle,
    /// To finish its request, or for ourselves to answer it.
    Request(Instant),
    /// To read.
    Write(Instant),
}

/// Whether the client has ended its side: for those who would wait for something to send it.
#[derive(Debug, Clone, Default)]
pub(super) struct Gone(Rc<Cell<bool>>);

impl Gone {
    pub(super) fn get(&self) -> bool {
        self.0.get()
    }
}

impl<S> Connection<S> {
    pub(super) fn new(stream: S, patience: &Patience) -> Self {
        Self {
            stream,
            waiting: Waiting::Idle,
            timer: None,
            set: false,
            request: patience.head + patience.body + patience.answer,
            write: patience.read,
            gone: Gone::default(),
        }
    }

    pub(super) fn gone(&self) -> Gone {
        self.gone.clone()
    }

    /// Whether what we wait for is overdue. Where not, the task is woken when it is.
    fn poll_overdue(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let (Waiting::Request(deadline) | Waiting::Write(deadline)) = self.waiting else {
            return Poll::Pending;
        };
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if self.set && !timer.is_elapsed() {
            return Poll::Pending;
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

impl<S: AsyncRead + Unpin> AsyncRead for Connection<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = into.filled().len();
        match Pin::new(&mut this.stream).poll_read(cx, into) {
            Poll::Ready(Ok(())) => {
                if into.filled().len() == before {
                    this.gone.0.set(true);
                } else if matches!(this.waiting, Waiting::Idle) {
                    this.waiting = Waiting::Request(Instant::now() + this.request);
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Ready(Err(ready!(this.poll_overdue(cx)))),
        }
    }
}

impl<S: AsyncWrite + Unpin> Connection<S> {
    /// What a step of writing came to.
    fn wrote<T>(&mut self, cx: &mut Context<'_>, step: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if step.is_ready() {
            self.waiting = Waiting::Idle;
            return step;
        }
        if !matches!(self.waiting, Waiting::Write(_)) {
            self.waiting = Waiting::Write(Instant::now() + self.write);
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
