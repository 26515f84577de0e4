//! Programs on interfaces: XDP in the driver, TCX everywhere else.

use std::{ffi::CString, fs, io};

use agent_common::names;
use aya::{
    Ebpf,
    programs::{
        LinkOrder, NetworkInterface, ProgramError, SchedClassifier, TcAttach, TcAttachType, Xdp, XdpMode,
        links::FdLink, tc::SchedClassifierLink,
    },
};

use super::{
    KernelError,
    order::{self, Line, Step},
};
use crate::{clock::Ktime, config::settings::XdpMode as Wish, links::Link};

/// Where a program sits. Dropped, it is gone: both forms are links.
#[derive(Debug)]
pub enum Hook {
    Xdp(FdLink),
    Tcx(Tcx),
}

/// A program among those of others.
#[derive(Debug)]
pub struct Tcx {
    link: SchedClassifierLink,
    side: Side,
    program: &'static str,
    id: u32,
    line: Line,
}

/// Of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Ingress,
    Egress,
}

impl Side {
    fn name(self) -> &'static str {
        match self {
            Self::Ingress => "tcx, ingress",
            Self::Egress => "tcx, egress",
        }
    }
}

impl Hook {
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Xdp(_) => "xdp, native",
            Self::Tcx(it) => it.side.name(),
        }
    }

    /// Programs of others are asked first, and may keep packets from it.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        matches!(self, Self::Tcx(it) if it.line.is_behind())
    }
}

/// Programs of others before ours, and what was done.
#[derive(Debug)]
pub struct PushedIn {
    pub interface: String,
    pub hook: &'static str,
    /// Their ids, as the kernel numbers programs.
    pub programs: Vec<u32>,
    pub outcome: Outcome,
}

#[derive(Debug)]
pub enum Outcome {
    /// Ours is first again; what passed meanwhile was not seen.
    First,
    /// They insist, and are left there.
    Behind,
    /// Ours was taken off, by somebody else.
    Gone,
    /// Ours was taken off, and cannot be put back.
    Lost(KernelError),
}

/// The program of network cards, where packets come in. `has_tcx`: where XDP is refused there is another way.
pub(super) fn attach(
    ebpf: &mut Ebpf,
    interface: &str,
    wish: Wish,
    has_tcx: bool,
) -> Result<Option<Hook>, KernelError> {
    if wish == Wish::Off {
        return Ok(None);
    }
    // Only of the namespace that /sys was mounted in; of others it cannot be told.
    let kind = fs::read_to_string(format!("/sys/class/net/{interface}/type"));
    if kind.is_ok_and(|kind| !has_ethernet_header(&kind)) {
        return Err(KernelError::NoEthernet { interface: interface.to_owned() });
    }
    match attach_xdp(ebpf, interface) {
        Ok(link) => Ok(Some(Hook::Xdp(link))),
        Err(error) if wish == Wish::Native || !has_tcx => Err(error),
        Err(error) => {
            tracing::info!(interface, %error, "No XDP here; trying TCX.");
            let name = c_name(interface, names::PROG_NIC_IN_TC)?;
            let at = NetworkInterface::Name(name.as_c_str());
            attach_tcx(ebpf, names::PROG_NIC_IN_TC, (interface, at), Side::Ingress)
                .map(|it| Some(Hook::Tcx(it)))
        }
    }
}

/// The programs of a workload's interface: what it sends comes in here, and what it gets goes out.
pub(super) fn attach_workload(ebpf: &mut Ebpf, link: &Link) -> Result<[Hook; 2], KernelError> {
    let at = || (link.name.as_str(), NetworkInterface::Index(link.index));
    Ok([
        Hook::Tcx(attach_tcx(ebpf, names::PROG_FROM_WORKLOAD, at(), Side::Ingress)?),
        Hook::Tcx(attach_tcx(ebpf, names::PROG_TO_WORKLOAD, at(), Side::Egress)?),
    ])
}

/// Where packets of sockets leave the node, or stay on it by loopback.
pub(super) fn attach_egress(ebpf: &mut Ebpf, link: &Link) -> Result<Hook, KernelError> {
    let at = (link.name.as_str(), NetworkInterface::Index(link.index));
    attach_tcx(ebpf, names::PROG_FROM_WORKLOAD, at, Side::Egress).map(Hook::Tcx)
}

/// The numbers of include/uapi/linux/if_arp.h. Loopback has the header, too.
fn has_ethernet_header(kind: &str) -> bool {
    const ARPHRD_ETHER: &str = "1";
    const ARPHRD_LOOPBACK: &str = "772";
    [ARPHRD_ETHER, ARPHRD_LOOPBACK].contains(&kind.trim())
}

fn attach_xdp(ebpf: &mut Ebpf, interface: &str) -> Result<FdLink, KernelError> {
    let program = names::PROG_NIC_IN;
    let xdp: &mut Xdp = program_mut(ebpf, program, interface)?;
    if xdp.fd().is_err() {
        xdp.load().map_err(|source| KernelError::Program { program, source: Box::new(source) })?;
    }
    let name = c_name(interface, program)?;
    let id = xdp.attach(name.as_c_str(), XdpMode::Driver).map_err(|source| {
        if is_busy(&source) {
            return KernelError::InterfaceTaken { interface: interface.to_owned() };
        }
        attach_error(program, interface, source)
    })?;
    let link = xdp.take_link(id).map_err(|source| attach_error(program, interface, source))?;
    // Where the kernel refuses a link aya falls back to netlink, and such a program outlives a SIGKILL
    // of the agent. The conversion fails for it, and detaches it.
    FdLink::try_from(link).map_err(|_| KernelError::NoXdpLink { interface: interface.to_owned() })
}

fn attach_tcx(
    ebpf: &mut Ebpf,
    program: &'static str,
    (interface, at): (&str, NetworkInterface<'_>),
    side: Side,
) -> Result<Tcx, KernelError> {
    let tcx: &mut SchedClassifier = program_mut(ebpf, program, interface)?;
    if tcx.fd().is_err() {
        tcx.load().map_err(|source| KernelError::Program { program, source: Box::new(source) })?;
    }
    let attach_type = match side {
        Side::Ingress => TcAttachType::Ingress,
        Side::Egress => TcAttachType::Egress,
    };
    // First: a program before us that returns TC_ACT_OK would hide every packet.
    let how = TcAttach::Tcx { attach_type, order: LinkOrder::first() };
    let id = tcx.attach(at, how).map_err(|source| attach_error(program, interface, source))?;
    let link = tcx.take_link(id).map_err(|source| attach_error(program, interface, source))?;
    let id = tcx.info().map_err(|source| attach_error(program, interface, source))?.id();
    Ok(Tcx { link, side, program, id, line: Line::default() })
}

/// Looks whether a program is still the first at its hook, and puts it there if that may be. `None`: it is no more.
pub(super) fn look(ebpf: &mut Ebpf, at: &Link, hook: Hook, now: Ktime) -> (Option<Hook>, Option<PushedIn>) {
    let Hook::Tcx(mut tcx) = hook else {
        return (Some(hook), None);
    };
    let programs = match order::programs(at.index, tcx.side) {
        Ok(programs) => programs,
        Err(error) => {
            // Most often the interface is gone, which is told otherwise.
            tracing::debug!(interface = at.name, %error, "The order of programs cannot be read.");
            return (Some(Hook::Tcx(tcx)), None);
        }
    };
    let name = tcx.side.name();
    let told =
        |programs, outcome| Some(PushedIn { interface: at.name.clone(), hook: name, programs, outcome });
    match tcx.line.look(now, &programs, tcx.id) {
        Step::Nothing => (Some(Hook::Tcx(tcx)), None),
        Step::Yield(ahead) => (Some(Hook::Tcx(tcx)), told(ahead, Outcome::Behind)),
        Step::GiveUp => (None, told(programs, Outcome::Gone)),
        Step::Move(ahead) => match put_first(ebpf, at, tcx) {
            Ok(tcx) => (Some(Hook::Tcx(tcx)), told(ahead, Outcome::First)),
            Err(error) if error.is_gone() => (None, None),
            Err(error) => (None, told(ahead, Outcome::Lost(error))),
        },
    }
}

/// The kernel takes a program only once at a hook, so it is off for a moment: some 15 ms.
fn put_first(
    ebpf: &mut Ebpf,
    at: &Link,
    Tcx { link, side, program, line, .. }: Tcx,
) -> Result<Tcx, KernelError> {
    drop(link);
    let place = (at.name.as_str(), NetworkInterface::Index(at.index));
    attach_tcx(ebpf, program, place, side).map(|it| Tcx { line, ..it })
}

fn program_mut<'a, P>(
    ebpf: &'a mut Ebpf,
    name: &'static str,
    interface: &str,
) -> Result<&'a mut P, KernelError>
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program, Error = ProgramError>,
{
    let program = ebpf.program_mut(name).ok_or(KernelError::Missing { what: "program", name })?;
    program.try_into().map_err(|source| attach_error(name, interface, source))
}

fn c_name(interface: &str, program: &'static str) -> Result<CString, KernelError> {
    CString::new(interface)
        .map_err(|error| attach_error(program, interface, ProgramError::IOError(io::Error::from(error))))
}

fn attach_error(program: &'static str, interface: &str, source: ProgramError) -> KernelError {
    KernelError::Attach { program, target: interface.to_owned(), source: Box::new(source) }
}

fn is_busy(error: &ProgramError) -> bool {
    let ProgramError::SyscallError(error) = error else {
        return false;
    };
    matches!(error.io_error.raw_os_error(), Some(libc::EBUSY | libc::EEXIST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tunnels_have_no_ethernet_header() {
        let kinds = [("1\n", true), ("772\n", true), ("65534\n", false), ("776\n", false), ("", false)];
        for (kind, want) in kinds {
            assert_eq!(has_ethernet_header(kind), want, "{kind:?}");
        }
    }
}
