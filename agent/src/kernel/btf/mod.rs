//! Offsets of kernel struct fields, from the running kernel's own type information.

mod reader;
mod types;

use std::{fs, path::Path};

use agent_common::layout::{FileLayout, KernelLayout};

use super::KernelError;

pub use reader::{Btf, BtfError};

const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// All that the kernel half reads of foreign structs.
pub(super) fn layouts() -> Result<(KernelLayout, FileLayout), KernelError> {
    let path = Path::new(VMLINUX);
    let bytes = fs::read(path).map_err(|source| KernelError::NoBtf { path: path.to_owned(), source })?;
    let btf = Btf::parse(&bytes).map_err(|source| KernelError::BadBtf { path: path.to_owned(), source })?;
    let at = |path: &'static str| btf.offset(path).ok_or(KernelError::NoField { path });
    let kernel = KernelLayout {
        sock_family: at("sock.__sk_common.skc_family")?,
        sock_num: at("sock.__sk_common.skc_num")?,
        sock_dport: at("sock.__sk_common.skc_dport")?,
        sock_daddr: at("sock.__sk_common.skc_daddr")?,
        sock_rcv_saddr: at("sock.__sk_common.skc_rcv_saddr")?,
        sock_v6_daddr: at("sock.__sk_common.skc_v6_daddr")?,
        sock_v6_rcv_saddr: at("sock.__sk_common.skc_v6_rcv_saddr")?,
        sock_state: at("sock.__sk_common.skc_state")?,
        sock_net: at("sock.__sk_common.skc_net")?,
        sock_flags: at("sock.__sk_common.skc_flags")?,
        sock_err: at("sock.sk_err")?,
        sock_err_soft: at("sock.sk_err_soft")?,
        sock_cgroup: at("sock.sk_cgrp_data")?,
        sock_protocol: at("sock.sk_protocol")?,
        net_inum: at("net.ns.inum")?,
        cgroup_kn: at("cgroup.kn")?,
        kernfs_node_id: at("kernfs_node.id")?,
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
        sock_done_bit: btf
            .enumerator("sock_flags", "SOCK_DONE")
            .and_then(|it| it.try_into().ok())
            .ok_or(KernelError::NoField { path: "sock_flags.SOCK_DONE" })?,
        socket_sk: at("socket.sk")?,
        socket_file: at("socket.file")?,
    };
    let file = FileLayout {
        task_files: at("task_struct.files")?,
        files_fdt: at("files_struct.fdt")?,
        fdtable_fd: at("fdtable.fd")?,
        fdtable_max_fds: at("fdtable.max_fds")?,
        file_private_data: at("file.private_data")?,
        task_tgid: at("task_struct.tgid")?,
        binprm_filename: at("linux_binprm.filename")?,
    };
    Ok((kernel, file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_kernel_has_every_field() {
        if !Path::new(VMLINUX).exists() {
            return;
        }
        let (kernel, file) = layouts().unwrap();
        // include/net/sock.h: the addresses are the first fields, by a comment that demands it.
        assert_eq!((kernel.sock_daddr, kernel.sock_rcv_saddr), (0, 4));
        assert_eq!((kernel.sock_dport, kernel.sock_num, kernel.sock_family), (12, 14, 16));
        assert_eq!(kernel.sock_done_bit, 1);
        assert_eq!(file.fdtable_max_fds, 0);
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
