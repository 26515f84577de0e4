//! Offsets of kernel struct fields, from the running kernel's own type information.

mod reader;
mod resets;
mod tcp;
mod tracepoints;
mod types;

use std::{fs, path::Path};

use agent_common::{
    Wire as _,
    layout::{ABSENT, FileLayout, KernelLayout, ResetReasons, TcpLayout},
};

use super::{KernelError, Refused};
use crate::clock;

pub use reader::{Btf, BtfError};
pub(super) use tracepoints::{READER, Tracepoint, needed};

const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// All that the kernel half reads of foreign structs.
#[derive(Debug)]
pub(super) struct Layouts {
    pub(super) kernel: KernelLayout,
    pub(super) file: FileLayout,
    pub(super) tcp: TcpLayout,
    pub(super) resets: ResetReasons,
    /// Features whose fields this kernel was built without.
    pub(super) refused: Vec<Refused>,
    /// Those of [`tracepoints::TRACEPOINTS`] that exist and hand over what their programs take.
    pub(super) tracepoints: Vec<&'static Tracepoint>,
}

pub(super) fn layouts() -> Result<Layouts, KernelError> {
    let path = Path::new(VMLINUX);
    let bytes = fs::read(path).map_err(|source| KernelError::NoBtf { path: path.to_owned(), source })?;
    let btf = Btf::parse(&bytes).map_err(|source| KernelError::BadBtf { path: path.to_owned(), source })?;
    let offset = |path: &'static str| match path.strip_prefix(SOCK_FLAGS) {
        Some(flag) => btf.enumerator("sock_flags", flag).and_then(|it| it.try_into().ok()),
        None => btf.offset(path),
    };
    let mut layouts = from(&offset)?;
    let jiffy_ns = u32::try_from(clock::jiffy().as_nanos()).unwrap_or(0);
    let (tcp, missing) = tcp::layout(&offset, jiffy_ns);
    layouts.tcp = tcp;
    layouts.refused.extend(missing);
    layouts.resets = resets::reasons(|it| btf.arguments(it), |name, it| btf.enumerator(name, it));
    let (fitting, refused) = tracepoints::fitting(&btf);
    layouts.tracepoints = fitting;
    layouts.refused.extend(refused);
    Ok(layouts)
}

/// What enumerators begin with, the only ones among fields.
const SOCK_FLAGS: &str = "sock_flags.";

const CGROUPS: &str = "cgroups of connections";
const SPANS: &str = "http spans, as far as they are joined by connection";
const SEED: &str = "connections older than the agent";
const NAMES: &str = "names of processes that end at once";

/// `offset`: of a field by its path.
fn from(offset: &dyn Fn(&'static str) -> Option<u32>) -> Result<Layouts, KernelError> {
    let mut refused: Vec<Refused> = Vec::new();
    let at = |path| offset(path).ok_or(KernelError::NoField { path });
    let mut unless_absent = |path, feature| {
        offset(path).unwrap_or_else(|| {
            if !refused.iter().any(|it| it.feature == feature) {
                refused.push(Refused { feature, error: KernelError::NoField { path } });
            }
            ABSENT
        })
    };
    let kernel = KernelLayout {
        sock_family: at("sock.__sk_common.skc_family")?,
        sock_num: at("sock.__sk_common.skc_num")?,
        sock_dport: at("sock.__sk_common.skc_dport")?,
        sock_daddr: at("sock.__sk_common.skc_daddr")?,
        sock_rcv_saddr: at("sock.__sk_common.skc_rcv_saddr")?,
        sock_v6_daddr: offset("sock.__sk_common.skc_v6_daddr").unwrap_or(ABSENT),
        sock_v6_rcv_saddr: offset("sock.__sk_common.skc_v6_rcv_saddr").unwrap_or(ABSENT),
        sock_state: at("sock.__sk_common.skc_state")?,
        sock_net: at("sock.__sk_common.skc_net")?,
        sock_flags: at("sock.__sk_common.skc_flags")?,
        sock_err: at("sock.sk_err")?,
        sock_err_soft: at("sock.sk_err_soft")?,
        sock_cgroup: unless_absent("sock.sk_cgrp_data", CGROUPS),
        sock_protocol: at("sock.sk_protocol")?,
        net_inum: at("net.ns.inum")?,
        cgroup_kn: unless_absent("cgroup.kn", CGROUPS),
        kernfs_node_id: unless_absent("kernfs_node.id", CGROUPS),
        icsk_retransmits: at("inet_connection_sock.icsk_retransmits")?,
        tcp_bytes_sent: at("tcp_sock.bytes_sent")?,
        tcp_bytes_retrans: at("tcp_sock.bytes_retrans")?,
        tcp_bytes_received: at("tcp_sock.bytes_received")?,
        tcp_segs_out: at("tcp_sock.segs_out")?,
        tcp_segs_in: at("tcp_sock.segs_in")?,
        tcp_total_retrans: at("tcp_sock.total_retrans")?,
        tcp_srtt_us: at("tcp_sock.srtt_us")?,
        tcp_snd_una: at("tcp_sock.snd_una")?,
        tcp_rcv_nxt: at("tcp_sock.rcv_nxt")?,
        tcp_write_seq: at("tcp_sock.write_seq")?,
        tcp_copied_seq: at("tcp_sock.copied_seq")?,
        sock_done_bit: at("sock_flags.SOCK_DONE")?,
        sock_linger_bit: at("sock_flags.SOCK_LINGER")?,
        socket_sk: at("socket.sk")?,
        socket_file: unless_absent("socket.file", SPANS),
    };
    let file = FileLayout {
        task_files: unless_absent("task_struct.files", SPANS),
        files_fdt: unless_absent("files_struct.fdt", SPANS),
        fdtable_fd: unless_absent("fdtable.fd", SPANS),
        fdtable_max_fds: unless_absent("fdtable.max_fds", SPANS),
        file_private_data: unless_absent("file.private_data", SPANS),
        task_tgid: unless_absent("task_struct.tgid", SEED),
        binprm_filename: unless_absent("linux_binprm.filename", NAMES),
    };
    let (tcp, resets) = (TcpLayout::zeroed(), ResetReasons::zeroed());
    Ok(Layouts { kernel, file, tcp, resets, refused, tracepoints: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_kernel_has_every_field() {
        if !Path::new(VMLINUX).exists() {
            return;
        }
        let Layouts { kernel, file, tcp, resets: _, refused, tracepoints } = layouts().unwrap();
        assert!(refused.is_empty(), "{refused:?}");
        assert_eq!(tracepoints.len(), tracepoints::TRACEPOINTS.len());
        assert_eq!(tcp.icsk_pending, tcp.icsk_ca_state + 2);
        assert_eq!(1_000_000_000 % tcp.jiffy_ns, 0, "{}", tcp.jiffy_ns);
        // include/net/sock.h: the addresses are the first fields, by a comment that demands it.
        assert_eq!((kernel.sock_daddr, kernel.sock_rcv_saddr), (0, 4));
        assert_eq!((kernel.sock_dport, kernel.sock_num, kernel.sock_family), (12, 14, 16));
        assert_eq!((kernel.sock_done_bit, kernel.sock_linger_bit), (1, 4));
        assert_eq!(file.fdtable_max_fds, 0);
    }

    /// As in kernels without IPv6 or without control groups.
    #[test]
    fn a_field_that_is_not_there_costs_its_feature_only() {
        let check = |absent: &[&str], want: &[&str]| {
            let offset = |path: &'static str| (!absent.iter().any(|it| path.contains(it))).then_some(8);
            let layouts = from(&offset).unwrap();
            assert_eq!(layouts.refused.iter().map(|it| it.feature).collect::<Vec<_>>(), want, "{absent:?}");
            layouts
        };
        check(&[], &[]);
        let without = check(&["skc_v6_"], &[]);
        assert_eq!((without.kernel.sock_v6_daddr, without.kernel.sock_daddr), (ABSENT, 8));
        let without = check(&["sk_cgrp_data", "cgroup.kn"], &[CGROUPS]);
        assert_eq!((without.kernel.sock_cgroup, without.kernel.cgroup_kn), (ABSENT, ABSENT));
        check(&["fdtable.fd", "task_struct.tgid"], &[SPANS, SEED]);
        assert!(matches!(from(&|_| None), Err(KernelError::NoField { .. })));
    }

    #[test]
    fn a_field_that_is_not_there_is_not_found() {
        let Ok(bytes) = fs::read(VMLINUX) else {
            return;
        };
        let btf = Btf::parse(&bytes).unwrap();
        assert_eq!(btf.offset("sock.no_such_field"), None);
        assert_eq!(btf.offset("no_such_struct.field"), None);
        assert_eq!(btf.enumerator("sock_flags", "NO_SUCH_VALUE"), None);
    }
}
