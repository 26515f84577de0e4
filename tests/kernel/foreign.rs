//! Programs of others on an interface: all they do is return a verdict.

use std::{
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

// `enum bpf_cmd`, `bpf_prog_type` and `bpf_attach_type`, include/uapi/linux/bpf.h
const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_PROG_TYPE_SCHED_CLS: u32 = 3;
const BPF_TCX_INGRESS: u32 = 46;
const BPF_TCX_EGRESS: u32 = 47;
const BPF_F_BEFORE: u32 = 1 << 3;

/// On both sides of an interface. Gone when dropped.
#[derive(Debug)]
pub(crate) struct Foreign {
    program: OwnedFd,
    ifindex: u32,
    links: Option<[OwnedFd; 2]>,
}

/// Of all packets; nobody after it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// `TC_ACT_OK`
    Accept = 0,
    /// `TC_ACT_SHOT`
    Drop = 2,
}

/// Relative to those that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    First,
    Last,
}

#[repr(C)]
struct Load {
    kind: u32,
    n_instructions: u32,
    instructions: u64,
    license: u64,
    rest: [u64; 6],
}

#[repr(C)]
struct Attach {
    program: u32,
    ifindex: u32,
    kind: u32,
    flags: u32,
    relative: u64,
    revision: u64,
}

impl Foreign {
    /// On an interface of this network namespace.
    #[track_caller]
    pub(crate) fn new(ifindex: u32, verdict: Verdict, order: Order) -> Self {
        let program = load(verdict).unwrap_or_else(|error| panic!("{error}"));
        let mut foreign = Self { program, ifindex, links: None };
        foreign.attach(order);
        foreign
    }

    /// The same program once more; before, it is taken off.
    #[track_caller]
    pub(crate) fn attach(&mut self, order: Order) {
        self.links = None;
        let flags = if order == Order::First { BPF_F_BEFORE } else { 0 };
        let (program, ifindex) = (raw(&self.program), self.ifindex);
        self.links = Some([BPF_TCX_INGRESS, BPF_TCX_EGRESS].map(|kind| {
            let attach = Attach { program, ifindex, kind, flags, relative: 0, revision: 0 };
            bpf(BPF_LINK_CREATE, &attach).unwrap_or_else(|error| panic!("{error}"))
        }));
    }
}

/// `r0 = verdict; exit`.
fn load(verdict: Verdict) -> io::Result<OwnedFd> {
    const MOV64_IMM: u64 = 0xb7;
    const EXIT: u64 = 0x95;
    let instructions = [MOV64_IMM | (verdict as u64) << 32, EXIT];
    let license = c"MIT";
    let load = Load {
        kind: BPF_PROG_TYPE_SCHED_CLS,
        n_instructions: instructions.len() as u32,
        instructions: instructions.as_ptr().expose_provenance() as u64,
        license: license.as_ptr().expose_provenance() as u64,
        rest: [0; 6],
    };
    bpf(BPF_PROG_LOAD, &load)
}

fn raw(fd: &OwnedFd) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

fn bpf<T>(command: libc::c_long, attributes: &T) -> io::Result<OwnedFd> {
    let address = std::ptr::from_ref(attributes);
    // SAFETY: `attributes` is the member of `union bpf_attr` that belongs to the command, and as long as is said;
    // what it points to lives until the call returns.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, address, size_of::<T>()) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    let fd = i32::try_from(fd).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    // SAFETY: the kernel just made this descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
