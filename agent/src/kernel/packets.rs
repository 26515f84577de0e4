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

use super::KernelError;
use crate::{config::settings::XdpMode as Wish, links::Link};

/// Where a program sits. Dropped, it is gone: both forms are links.
#[derive(Debug)]
pub enum Hook {
    Xdp(FdLink),
    Tcx(SchedClassifierLink, Side),
}

/// Of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Ingress,
    Egress,
}

impl Hook {
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Xdp(_) => "xdp, native",
            Self::Tcx(_, Side::Ingress) => "tcx, ingress",
            Self::Tcx(_, Side::Egress) => "tcx, egress",
        }
    }
}

/// The program of network cards, where packets come in.
pub(super) fn attach(ebpf: &mut Ebpf, interface: &str, wish: Wish) -> Result<Option<Hook>, KernelError> {
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
        Err(error) if wish == Wish::Native => Err(error),
        Err(error) => {
            tracing::info!(interface, %error, "No XDP here; trying TCX.");
            let name = c_name(interface, names::PROG_NIC_IN_TC)?;
            let at = NetworkInterface::Name(name.as_c_str());
            attach_tcx(ebpf, names::PROG_NIC_IN_TC, (interface, at), Side::Ingress).map(Some)
        }
    }
}

/// The programs of a workload's interface: what it sends comes in here, and what it gets goes out.
pub(super) fn attach_workload(ebpf: &mut Ebpf, link: &Link) -> Result<[Hook; 2], KernelError> {
    let at = || (link.name.as_str(), NetworkInterface::Index(link.index));
    Ok([
        attach_tcx(ebpf, names::PROG_FROM_WORKLOAD, at(), Side::Ingress)?,
        attach_tcx(ebpf, names::PROG_TO_WORKLOAD, at(), Side::Egress)?,
    ])
}

/// Where packets of sockets leave the node, or stay on it by loopback.
pub(super) fn attach_egress(ebpf: &mut Ebpf, link: &Link) -> Result<Hook, KernelError> {
    let at = (link.name.as_str(), NetworkInterface::Index(link.index));
    attach_tcx(ebpf, names::PROG_FROM_WORKLOAD, at, Side::Egress)
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
) -> Result<Hook, KernelError> {
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
    Ok(Hook::Tcx(link, side))
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
