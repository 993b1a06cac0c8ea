//! Reads files ahead of whoever takes what was read.
//!
//! ```text
//!  paths ──▶ threads read pieces ──▶ window: in order, bounded ──▶ taken, on the caller's thread
//! ```
//!
//! While the caller puts some on record the next ones are read, but only so many: a reader that
//! is a whole window ahead waits. Whoever ends, by a break or a panic, ends the others.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use supervisor_actors::ports::files::{Look, Take};

use super::RealFiles;
use super::look::Reader;

/// So many files a thread reads before it looks for others.
const PIECE: usize = 32;
/// So many pieces are read and not taken, at most.
const WINDOW: usize = 64;
/// Fewer files are not worth threads.
const FEW: usize = 8;

/// Reads files; see [`supervisor_actors::ports::files::Files::look`].
pub(super) fn many(
    files: &RealFiles,
    paths: &[Arc<str>],
    at_once: usize,
    take: &mut Take<'_>,
) -> Duration {
    let at_once = at_once.max(1);
    if paths.len() <= FEW {
        let began = files.clock.mono();
        let mut reader = Reader::new(files);
        let looks: Vec<_> = paths.iter().map(|path| reader.look(path)).collect();
        let took = files.clock.mono().since(began);
        // Broken off or not, that was all.
        let _ = hand_over(paths, looks, at_once, take);
        return took;
    }
    let window = Window::new(paths.len().div_ceil(PIECE));
    let threads = super::threads(window.pieces);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..threads)
            .map(|_| scope.spawn(|| read(files, paths, &window)))
            .collect();
        {
            let _ending = Ending(&window);
            take_all(paths, &window, at_once, take);
        }
        let spent: Duration = readers
            .into_iter()
            .map(|reader| {
                // A panic in there is a panic of ours.
                let spent = reader.join();
                spent.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
            .sum();
        spent / u32::try_from(threads).unwrap_or(1)
    })
}

/// Reads piece after piece; how long that took, without the waits.
fn read(files: &RealFiles, paths: &[Arc<str>], window: &Window) -> Duration {
    let _breakdown = Breakdown(window);
    let mut reader = Reader::new(files);
    let mut spent = Duration::ZERO;
    while let Some(piece) = window.next() {
        let began = files.clock.mono();
        let from = piece * PIECE;
        let to = paths.len().min(from + PIECE);
        let looks = paths[from..to].iter().map(|path| reader.look(path));
        let looks = looks.collect();
        spent += files.clock.mono().since(began);
        window.put(piece, looks);
    }
    spent
}

/// Hands over what the readers have read, until there is no more or nobody wants it.
fn take_all(paths: &[Arc<str>], window: &Window, at_once: usize, take: &mut Take<'_>) {
    let (mut from, mut looks) = (0, Vec::with_capacity(at_once + PIECE));
    while let Some(more) = window.take() {
        looks.extend(more);
        if looks.len() < at_once && from + looks.len() < paths.len() {
            continue;
        }
        let some = &paths[from..from + looks.len()];
        from += some.len();
        let looks = std::mem::replace(&mut looks, Vec::with_capacity(at_once + PIECE));
        if hand_over(some, looks, at_once, take).is_break() {
            return;
        }
    }
}

fn hand_over(
    paths: &[Arc<str>],
    looks: Vec<Look>,
    at_once: usize,
    take: &mut Take<'_>,
) -> ControlFlow<()> {
    let mut looks = looks.into_iter();
    paths
        .chunks(at_once)
        .try_for_each(|some| take(some, looks.by_ref().take(some.len()).collect()))
}

/// What has been read and not been taken.
struct Window {
    pieces: usize,
    inside: Mutex<Inside>,
    /// The piece that is taken next is there, or will never be.
    read: Condvar,
    /// There is room for another piece, or no more is wanted.
    room: Condvar,
}

#[derive(Default)]
struct Inside {
    /// The piece that is read next.
    next: usize,
    /// The piece that is taken next: the first of those below.
    taken: usize,
    pieces: VecDeque<Option<Vec<Look>>>,
    over: bool,
}

impl Window {
    fn new(pieces: usize) -> Self {
        Self {
            pieces,
            inside: Mutex::default(),
            read: Condvar::new(),
            room: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next piece to be read; nothing when there is none, or nobody wants it.
    fn next(&self) -> Option<usize> {
        let full = |inside: &mut Inside| !inside.over && inside.next >= inside.taken + WINDOW;
        let inside = self.room.wait_while(self.lock(), full);
        let mut inside = inside.unwrap_or_else(PoisonError::into_inner);
        if inside.over || inside.next >= self.pieces {
            return None;
        }
        let piece = inside.next;
        inside.next += 1;
        inside.pieces.push_back(None);
        Some(piece)
    }

    fn put(&self, piece: usize, looks: Vec<Look>) {
        let mut inside = self.lock();
        // What is being read is not taken before it is put.
        let at = piece - inside.taken;
        inside.pieces[at] = Some(looks);
        if at == 0 {
            self.read.notify_one();
        }
    }

    /// The next piece in order; nothing after the last, or when a reader broke down.
    fn take(&self) -> Option<Vec<Look>> {
        let pieces = self.pieces;
        let missing = |inside: &mut Inside| {
            let first = inside.pieces.front();
            !inside.over && inside.taken < pieces && first.is_none_or(Option::is_none)
        };
        let inside = self.read.wait_while(self.lock(), missing);
        let mut inside = inside.unwrap_or_else(PoisonError::into_inner);
        if inside.over {
            return None;
        }
        let looks = inside.pieces.pop_front()??;
        inside.taken += 1;
        self.room.notify_one();
        Some(looks)
    }

    fn end(&self) {
        self.lock().over = true;
        self.read.notify_all();
        self.room.notify_all();
    }
}

/// Dropped when nobody takes any more, however that comes about: no reader waits for room.
struct Ending<'a>(&'a Window);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Dropped when a reader ends: nobody waits for what it would have read.
struct Breakdown<'a>(&'a Window);

impl Drop for Breakdown<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.end();
        }
    }
}
