//! The packet program on interfaces: XDP in the driver, or TCX where that is refused or taken.

use std::{ffi::CString, fs, io};

use agent_common::names;
use aya::{
    Ebpf,
    programs::{
        LinkOrder, ProgramError, SchedClassifier, TcAttach, TcAttachType, Xdp, XdpMode, links::FdLink,
        tc::SchedClassifierLink,
    },
};

use super::KernelError;
use crate::{config::settings::XdpMode as Wish, doctor};

/// A network interface of the agent's own network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    pub name: String,
    /// A network card, as `taskscope doctor` sees it: not a bridge, tunnel or pair.
    pub is_physical: bool,
}

/// Where the program sits. Dropped, it is gone: both forms are links.
#[derive(Debug)]
pub enum Hook {
    Xdp(FdLink),
    Tcx(SchedClassifierLink),
}

impl Hook {
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Xdp(_) => "xdp, native",
            Self::Tcx(_) => "tcx, ingress",
        }
    }
}

/// All interfaces, or the named ones.
///
/// # Errors
///
/// When `/sys/class/net` cannot be read.
pub fn interfaces(named: &[String]) -> io::Result<Vec<Interface>> {
    let found = doctor::Interface::all()?
        .into_iter()
        .filter(|it| named.is_empty() || named.contains(&it.name))
        .map(|it| Interface { is_physical: it.is_physical(), name: it.name });
    Ok(found.collect())
}

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
            attach_tcx(ebpf, interface).map(|link| Some(Hook::Tcx(link)))
        }
    }
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

fn attach_tcx(ebpf: &mut Ebpf, interface: &str) -> Result<SchedClassifierLink, KernelError> {
    let program = names::PROG_NIC_IN_TC;
    let tcx: &mut SchedClassifier = program_mut(ebpf, program, interface)?;
    if tcx.fd().is_err() {
        tcx.load().map_err(|source| KernelError::Program { program, source: Box::new(source) })?;
    }
    let name = c_name(interface, program)?;
    // First: a program before us that returns TC_ACT_OK would hide every packet.
    let at = TcAttach::Tcx { attach_type: TcAttachType::Ingress, order: LinkOrder::first() };
    let id = tcx.attach(name.as_c_str(), at).map_err(|source| attach_error(program, interface, source))?;
    tcx.take_link(id).map_err(|source| attach_error(program, interface, source))
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
