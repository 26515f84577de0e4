//! Tracepoints of the kernel half. Their lists of arguments differ by kernel: what a program takes must
//! be there before it is loaded.

use agent_common::names;

use super::Btf;
use crate::kernel::{KernelError, Refused};

#[derive(Debug)]
pub(in crate::kernel) struct Tracepoint {
    pub(in crate::kernel) program: &'static str,
    pub(in crate::kernel) name: &'static str,
    /// What the program takes, from the first on: the type without its other names, or what is pointed to.
    arguments: &'static [&'static str],
    /// What is gone without it.
    pub(in crate::kernel) feature: &'static str,
}

const fn row(
    program: &'static str,
    name: &'static str,
    arguments: &'static [&'static str],
    feature: &'static str,
) -> Tracepoint {
    Tracepoint { program, name, arguments, feature }
}

pub(in crate::kernel) const READER: &str = "tcp_rcv_space_adjust";
/// Since Linux 6.3.
const RECEIVED: &str = "sock_recv_length";
pub(in crate::kernel) const TRACEPOINTS: &[Tracepoint] = &[
    row(names::PROG_SOCK_STATE, "inet_sock_set_state", &["sock", "int", "int"], "topology"),
    row(names::PROG_SOCK_READER, READER, &["sock"], "owner of server sockets"),
    row(names::PROG_SOCK_CLOSED, "tcp_destroy_sock", &["sock"], "final figures of connections"),
    row(names::PROG_TCP_RETRANSMIT, "tcp_retransmit_skb", &["sock"], "retransmits by their cause"),
    row(names::PROG_TCP_CA, "tcp_cong_state_set", &["sock", "unsigned char"], "retransmission time-outs"),
    row(names::PROG_SYNACK_AGAIN, "tcp_retransmit_synack", &["sock"], "handshakes repeated by servers"),
    row(names::PROG_RST_IN, "tcp_receive_reset", &["sock"], "who resets connections"),
    row(names::PROG_RST_OUT, "tcp_send_reset", &["sock"], "who resets connections"),
    row(names::PROG_SOCK_RECEIVED, RECEIVED, &["sock", "int"], "owners of UDP sockets that live short"),
    row(
        names::PROG_PROC_EXEC,
        "sched_process_exec",
        &["task_struct", "int", "linux_binprm"],
        "new processes at once",
    ),
    row(names::PROG_PROC_EXIT, "sched_process_exit", &[], "ended processes at once"),
];

/// Those that this kernel has as they are taken, and why not the others.
pub(super) fn fitting(btf: &Btf<'_>) -> (Vec<&'static Tracepoint>, Vec<Refused>) {
    let (mut fitting, mut refused) = (Vec::new(), Vec::new());
    for tracepoint in TRACEPOINTS {
        match check(tracepoint, btf.arguments(tracepoint.name)) {
            Ok(()) => fitting.push(tracepoint),
            Err(error) => refused.push(Refused { feature: tracepoint.feature, error }),
        }
    }
    (fitting, refused)
}

/// Of two that say the same of TCP sockets one: each hit costs. `received`: rather that of all sockets.
pub(in crate::kernel) fn needed(
    fitting: &[&'static Tracepoint],
    received: bool,
) -> impl Iterator<Item = &'static Tracepoint> {
    let received = received && fitting.iter().any(|it| it.name == RECEIVED);
    let spared = if received { names::PROG_SOCK_READER } else { names::PROG_SOCK_RECEIVED };
    fitting.iter().copied().filter(move |it| it.program != spared)
}

fn check(tracepoint: &Tracepoint, found: Option<Vec<&str>>) -> Result<(), KernelError> {
    let Tracepoint { name, arguments: wanted, .. } = *tracepoint;
    let Some(found) = found else {
        return Err(KernelError::NoTracepoint { name });
    };
    if !found.starts_with(wanted) {
        let found = found.into_iter().map(str::to_owned).collect();
        return Err(KernelError::Arguments { name, wanted, found });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_that_say_the_same_one_is_hit() {
        let has = |without: &str, received| {
            let fitting: Vec<_> = TRACEPOINTS.iter().filter(|it| it.name != without).collect();
            let programs: Vec<_> = needed(&fitting, received).map(|it| it.program).collect();
            [names::PROG_SOCK_READER, names::PROG_SOCK_RECEIVED].map(|it| programs.contains(&it))
        };
        assert_eq!(has("", true), [false, true]);
        assert_eq!(has("", false), [true, false]);
        assert_eq!(has(RECEIVED, true), [true, false]);
    }

    #[test]
    fn an_argument_more_is_fine_and_one_less_is_not() {
        let tracepoint = row("p", "t", &["sock", "int"], "f");
        let check = |found: Option<&[&str]>| {
            check(&tracepoint, found.map(<[_]>::to_vec)).map_err(|error| error.to_string())
        };
        assert_eq!(check(Some(&["sock", "int"])), Ok(()));
        assert_eq!(check(Some(&["sock", "int", "sock"])), Ok(()));
        assert_eq!(check(None), Err("this kernel has no tracepoint `t`".to_owned()));
        for found in [&["sock"] as &[&str], &["int", "sock"], &[]] {
            let error = check(Some(found)).unwrap_err();
            assert!(error.starts_with("tracepoint `t` hands over"), "{error}");
        }
    }
}
