//! Keeps two threads on one processor, while one hands much work to the other, piece by piece.
//!
//! Each piece wakes the other thread and then waits for its answer. Where the other one sleeps on
//! an idle processor, that takes 50 µs on a virtual machine (an interrupt to a processor that was
//! given back to the host), and twice that to and fro; on the same one it takes 2 µs.

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};

/// While it lives, this thread and another one of ours stay on one processor. Where the kernel
/// or a sandbox has none of it, they are as they were.
pub(super) struct Near {
    other: Pid,
    /// Where the other one, and where this one may run afterwards.
    before: (CpuSet, CpuSet),
}

impl Near {
    pub(super) fn to(other: Pid) -> Option<Self> {
        // Not somebody else's, who has its number by now.
        let ours = format!("/proc/self/task/{}", other.as_raw_nonzero());
        if !std::path::Path::new(&ours).exists() {
            return None;
        }
        let before = (
            sched_getaffinity(Some(other)).ok()?,
            sched_getaffinity(None).ok()?,
        );
        let mut here = CpuSet::new();
        here.set(sched_getcpu());
        sched_setaffinity(None, &here).ok()?;
        // From here on both are put back.
        let near = Self { other, before };
        sched_setaffinity(Some(other), &here).ok()?;
        Some(near)
    }
}

impl Drop for Near {
    fn drop(&mut self) {
        // One that is gone needs no processor.
        let _ = sched_setaffinity(Some(self.other), &self.before.0);
        let _ = sched_setaffinity(None, &self.before.1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::sync::mpsc;

    use rustix::thread::gettid;

    #[test]
    fn two_threads_come_together_and_go_where_they_were() {
        let (tell, told) = mpsc::channel();
        let (end, ended) = mpsc::channel::<()>();
        let other = std::thread::spawn(move || {
            tell.send(gettid()).unwrap();
            ended.recv().unwrap_err();
        });
        let tid = told.recv().unwrap();
        let before = sched_getaffinity(None).unwrap();
        let near = Near::to(tid).unwrap();
        let (here, there) = (
            sched_getaffinity(None).unwrap(),
            sched_getaffinity(Some(tid)).unwrap(),
        );
        assert_eq!((here.count(), here), (1, there));
        drop(near);
        assert_eq!(sched_getaffinity(None).unwrap(), before);
        assert_eq!(sched_getaffinity(Some(tid)).unwrap(), before);
        drop(end);
        other.join().unwrap();
    }

    #[test]
    fn a_thread_of_somebody_else_is_left_alone() {
        let init = Pid::from_raw(1).unwrap();
        assert!(Near::to(init).is_none() || std::process::id() == 1);
    }
}
