//! Threads that stand back: what they do may wait, what others do may not.

/// From now on the present thread takes the processor from nobody when it is woken. Its share
/// stays the same. The log's and the database's threads are woken in the middle of a
/// replacement, and would get the processor that the replacement is just using. Said again it
/// changes nothing.
pub(crate) fn stand_back() {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: a valid pointer to a local; only the present thread's own scheduling changes. A
    // kernel that refuses leaves it as it is.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const parameters) };
}

/// Lets whoever was just woken have the processor first, if it waits for this one.
pub(crate) fn let_pass() {
    // SAFETY: no memory is touched.
    unsafe { libc::sched_yield() };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_stands_back_is_scheduled_so_and_others_are_not() {
        // SAFETY: only asks.
        let policy = || unsafe { libc::sched_getscheduler(0) };
        let before = policy();
        let own = std::thread::spawn(move || {
            stand_back();
            stand_back();
            policy()
        });
        assert_eq!(own.join().unwrap(), libc::SCHED_BATCH);
        assert_eq!(policy(), before);
    }
}
