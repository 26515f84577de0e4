//! Who goes first on a busy machine: not the agent.

use std::io;

/// Marks this thread, and those that it will start, as work that does not preempt others when it wakes up:
/// at most a tick of the scheduler later it gets its share all the same.
///
/// The agent wakes up some thirty times a second. On a machine whose cores are all busy each of these
/// moved a watched program from its core, which cost bulk TCP 5 % of its rate.
///
/// # Errors
///
/// Where the system call is forbidden.
pub fn yield_to_others() -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: the parameters live during the call.
    match unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const parameters) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn threads_inherit_it() {
        let policy = || {
            // SAFETY: it asks about this thread and takes nothing else.
            unsafe { libc::sched_getscheduler(0) }
        };
        let of_child = thread::spawn(move || {
            yield_to_others().unwrap();
            thread::spawn(policy).join().unwrap()
        });
        assert_eq!((of_child.join().unwrap(), policy()), (libc::SCHED_BATCH, libc::SCHED_OTHER));
    }
}
