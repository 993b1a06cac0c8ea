//! The shim: the tiny parent of one service's process, one per generation.
//!
//! It must cost next to nothing, as there is one for each service, and it must outlive the
//! supervisor. So it is a freestanding program (no libc, no std, no allocator: about 20 kB
//! of memory where a static glibc program takes 60 to 230): `start.rs` is its root, compiled
//! by the root package's `build.rs`, embedded, and started from a memfd. This library holds
//! the same modules: [`protocol`] is shared with the supervisor, the rest is here so that
//! tests and lints see it.
//!
//! One life, in order:
//! 1. the supervisor spawns us with a socket as descriptor 0, mostly ahead of time, so that a
//!    spare shim waits when it is needed ([`run`]);
//! 2. we read the specification, with which the generation's lock comes, fork the child into
//!    its session and cgroup ([`child`]), write the start record ([`record`]) and report
//!    `started` or `start_failed`;
//! 3. we copy its output into rotated files ([`log`]), tell its lines where somebody wants them
//!    ([`lines`]), pass on signals, and run the stop
//!    ladder over all its descendants ([`tree`]) when asked to, or when main has exited and
//!    others are left;
//! 4. we report the exit first, write the exit record second, and end when nothing is left.
//!
//! Instead of a service it may be given a command to run to its end: see [`errand`].
//!
//! The supervisor may vanish at any point: we go on, listen on `sock` for the next one, and
//! tell it where we are in the first frame.

#![cfg_attr(not(test), no_std)]

pub mod child;
pub mod errand;
pub mod lines;
pub mod log;
pub mod oom;
pub mod protocol;
pub mod record;
pub mod run;
pub mod spec;
pub mod sys;
pub mod text;
pub mod tree;
