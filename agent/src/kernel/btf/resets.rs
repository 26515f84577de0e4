//! What the running kernel's reasons for a reset mean: its `enum sk_rst_reason` is no part of its ABI, and grew.

use agent_common::{
    Wire as _,
    event::sock::reset,
    layout::{RESET_REASONS, ResetReasons},
};

/// The tracepoint, and which of its arguments is of the enumeration's type.
const TRACEPOINT: &str = "tcp_send_reset";
const ARGUMENT: usize = 2;
const ENUM: &str = "sk_rst_reason";

/// Those that are not here, or not of this kernel, mean nothing that is known.
const MEANINGS: &[(&str, u8)] = &[
    ("SK_RST_REASON_TCP_INVALID_ACK_SEQUENCE", reset::PROTOCOL),
    ("SK_RST_REASON_TCP_RFC7323_PAWS", reset::PROTOCOL),
    ("SK_RST_REASON_TCP_TOO_OLD_ACK", reset::PROTOCOL),
    ("SK_RST_REASON_TCP_ACK_UNSENT_DATA", reset::PROTOCOL),
    ("SK_RST_REASON_TCP_FLAGS", reset::PROTOCOL),
    ("SK_RST_REASON_TCP_OLD_ACK", reset::PROTOCOL),
    ("SK_RST_REASON_INVALID_SYN", reset::PROTOCOL),
    ("SK_RST_REASON_TCP_ABORT_ON_DATA", reset::LATE_DATA),
    ("SK_RST_REASON_TCP_ABORT_ON_CLOSE", reset::UNREAD),
    ("SK_RST_REASON_TCP_ABORT_ON_LINGER", reset::NO_WAIT),
    ("SK_RST_REASON_TCP_ABORT_ON_MEMORY", reset::MEMORY),
    ("SK_RST_REASON_TCP_STATE", reset::ABORTED),
    ("SK_RST_REASON_TCP_KEEPALIVE_TIMEOUT", reset::KEEPALIVE),
    ("SK_RST_REASON_TCP_DISCONNECT_WITH_DATA", reset::PROGRAM),
    ("SK_RST_REASON_MPTCP_RST_EUNSPEC", reset::MPTCP),
    ("SK_RST_REASON_MPTCP_RST_EMPTCP", reset::MPTCP),
    ("SK_RST_REASON_MPTCP_RST_ERESOURCE", reset::MPTCP),
    ("SK_RST_REASON_MPTCP_RST_EPROHIBIT", reset::MPTCP),
    ("SK_RST_REASON_MPTCP_RST_EWQ2BIG", reset::MPTCP),
    ("SK_RST_REASON_MPTCP_RST_EBADPERF", reset::MPTCP),
    ("SK_RST_REASON_MPTCP_RST_EMIDDLEBOX", reset::MPTCP),
];

/// `arguments`: of a tracepoint, by its name; `enumerator`: its value, by the names of the enumeration and its own.
pub(super) fn reasons<'a>(
    arguments: impl Fn(&str) -> Option<Vec<&'a str>>,
    enumerator: impl Fn(&str, &str) -> Option<u64>,
) -> ResetReasons {
    let mut reasons = ResetReasons::zeroed();
    if arguments(TRACEPOINT).is_none_or(|it| it.get(ARGUMENT) != Some(&ENUM)) {
        return reasons;
    }
    // The kernel half takes a value by its lower bits: one that has more would be taken for another.
    let largest = enumerator(ENUM, "SK_RST_REASON_MAX");
    if largest.is_none_or(|it| RESET_REASONS as u64 <= it) {
        return reasons;
    }
    reasons.has = 1;
    for (name, meaning) in MEANINGS {
        let value = enumerator(ENUM, name).and_then(|it| usize::try_from(it).ok());
        if let Some(it) = value.and_then(|it| reasons.meaning.get_mut(it)) {
            *it = *meaning;
        }
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARGUMENTS: &[&str] = &["sock", "sk_buff", "sk_rst_reason"];

    #[test]
    fn each_kernel_numbers_them_by_itself() {
        let reasons = |memory, largest| {
            reasons(
                |_| Some(ARGUMENTS.to_vec()),
                |_, name| match name {
                    "SK_RST_REASON_TCP_ABORT_ON_MEMORY" => memory,
                    "SK_RST_REASON_MAX" => largest,
                    _ => None,
                },
            )
        };
        for value in [5, 13] {
            let reasons = reasons(Some(value), Some(25));
            let mut want = [reset::UNKNOWN; RESET_REASONS];
            want[value as usize] = reset::MEMORY;
            assert_eq!((reasons.has, reasons.meaning), (1, want));
        }
        // One that is no index is left out; and values that do not fit are not looked at.
        assert_eq!(reasons(Some(1 << 40), Some(25)).meaning, [reset::UNKNOWN; RESET_REASONS]);
        assert_eq!(reasons(Some(13), Some(32)).has, 0);
        assert_eq!(reasons(Some(13), None).has, 0);
    }

    /// Before Linux 6.10.
    #[test]
    fn without_the_argument_nothing_is_read() {
        for arguments in [Some(&ARGUMENTS[..2]), Some(&["sock", "sk_buff", "int"][..]), None] {
            let reasons = reasons(|_| arguments.map(<[_]>::to_vec), |_, _| Some(7));
            assert_eq!(reasons, ResetReasons::zeroed());
        }
    }
}
