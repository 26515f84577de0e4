//! Programs on interfaces: XDP in the driver, TCX everywhere else, and filters of clsact where there is no TCX.

use std::{
    ffi::CString,
    fs, io,
    os::fd::{AsFd as _, BorrowedFd},
};

use agent_common::{layout::door, names};
use aya::{
    Ebpf,
    maps::{MapData, ProgramArray},
    programs::{
        LinkOrder, NetworkInterface, ProgramError, SchedClassifier, TcAttach, TcAttachType, Xdp, XdpMode,
        links::FdLink, tc::SchedClassifierLink,
    },
};
use rustix::net::{AddressFamily, SocketType, netdevice, socket};

use super::{
    KernelError,
    clsact::Filter,
    order::{self, Line, Step},
    syscall,
};
use crate::{
    clock::Ktime,
    config::settings::{TcMode, XdpMode as Wish},
    links::Link,
};

/// Where a program sits. Dropped, it is gone.
#[derive(Debug)]
pub enum Hook {
    Xdp(FdLink),
    Tc(Classifier),
}

/// A program among those of others.
#[derive(Debug)]
pub struct Classifier {
    hold: Hold,
    side: Side,
    program: &'static str,
    /// Of what others meet there: the program, or the door to it.
    id: u32,
    line: Line,
}

#[derive(Debug)]
enum Hold {
    /// Ends with the process, however that ends.
    Tcx(SchedClassifierLink),
    Clsact(Filter),
}

/// How classifiers hang on interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Tcx,
    Clsact,
}

impl Way {
    /// `None`: not at all.
    pub(super) fn choose(wish: TcMode, has_tcx: bool) -> Option<Self> {
        match wish {
            TcMode::Clsact => Some(Self::Clsact),
            TcMode::Auto | TcMode::Tcx if has_tcx => Some(Self::Tcx),
            TcMode::Auto => Some(Self::Clsact),
            TcMode::Tcx => None,
        }
    }
}

/// Of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Ingress,
    Egress,
}

impl Side {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }
}

impl Classifier {
    fn name(&self) -> &'static str {
        match (&self.hold, self.side) {
            (Hold::Tcx(_), Side::Ingress) => "tcx, ingress",
            (Hold::Tcx(_), Side::Egress) => "tcx, egress",
            (Hold::Clsact(_), Side::Ingress) => "clsact, ingress",
            (Hold::Clsact(_), Side::Egress) => "clsact, egress",
        }
    }
}

impl Hook {
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Xdp(_) => "xdp, native",
            Self::Tc(it) => it.name(),
        }
    }

    /// Programs of others are asked first, and may keep packets from it.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        matches!(self, Self::Tc(it) if it.line.is_behind())
    }

    /// It belongs to its interface, and so does not end with the process.
    #[must_use]
    pub fn is_filter(&self) -> bool {
        matches!(self, Self::Tc(Classifier { hold: Hold::Clsact(_), .. }))
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

/// How classifiers are put on interfaces, and what is behind the doors of filters.
pub(super) struct Packets {
    pub(super) way: Option<Way>,
    pub(super) doors: ProgramArray<MapData>,
}

impl Packets {
    /// The program of network cards, where packets come in.
    pub(super) fn attach(
        &mut self,
        ebpf: &mut Ebpf,
        interface: &str,
        wish: Wish,
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
            Err(error) if wish == Wish::Native || self.way.is_none() => Err(error),
            Err(error) => {
                tracing::info!(interface, %error, "No XDP here; trying a classifier.");
                let program = names::PROG_NIC_IN_TC;
                let index = index(interface);
                let index = index.map_err(|error| attach_error(program, interface, error.into()))?;
                self.put(ebpf, program, (interface, index), Side::Ingress).map(Some)
            }
        }
    }

    /// The programs of a workload's interface: what it sends comes in here, and what it gets goes out.
    pub(super) fn attach_workload(&mut self, ebpf: &mut Ebpf, link: &Link) -> Result<[Hook; 2], KernelError> {
        let at = (link.name.as_str(), link.index);
        Ok([
            self.put(ebpf, names::PROG_FROM_WORKLOAD, at, Side::Ingress)?,
            self.put(ebpf, names::PROG_TO_WORKLOAD, at, Side::Egress)?,
        ])
    }

    /// Where packets of sockets leave the node, or stay on it by loopback.
    pub(super) fn attach_egress(&mut self, ebpf: &mut Ebpf, link: &Link) -> Result<Hook, KernelError> {
        self.put(ebpf, names::PROG_FROM_WORKLOAD, (link.name.as_str(), link.index), Side::Egress)
    }

    fn put(
        &mut self,
        ebpf: &mut Ebpf,
        program: &'static str,
        place: (&str, u32),
        side: Side,
    ) -> Result<Hook, KernelError> {
        let (hold, id) = match self.way.ok_or(KernelError::NoTcx)? {
            Way::Tcx => attach_tcx(ebpf, program, place, side)?,
            Way::Clsact => {
                let door = self.open_door(ebpf, program, place.0)?;
                let (fd, id) = identity(ebpf, door, place.0)?;
                let filter = Filter::put(place, side, door, (syscall::raw(fd), id))?;
                (Hold::Clsact(filter), id)
            }
        };
        Ok(Hook::Tc(Classifier { hold, side, program, id, line: Line::default() }))
    }

    /// Puts a program behind its door, and returns the door's name.
    fn open_door(
        &mut self,
        ebpf: &mut Ebpf,
        program: &'static str,
        interface: &str,
    ) -> Result<&'static str, KernelError> {
        let (door, index) = door_of(program).ok_or(KernelError::Missing { what: "door", name: program })?;
        let classifier = loaded(ebpf, program, interface)?;
        let fd = classifier.fd().map_err(|source| attach_error(program, interface, source))?;
        let name = names::MAP_DOORS;
        let put = self.doors.set(index, fd, 0);
        put.map_err(|source| KernelError::Map { name, source: Box::new(source) })?;
        Ok(door)
    }

    /// The kernel takes a program only once at a hook, so it is off for a moment: some 15 ms.
    fn put_first(&mut self, ebpf: &mut Ebpf, at: &Link, it: Classifier) -> Result<Classifier, KernelError> {
        let Classifier { hold, side, program, id, line } = it;
        match hold {
            Hold::Tcx(link) => {
                drop(link);
                let (hold, id) = attach_tcx(ebpf, program, (&at.name, at.index), side)?;
                Ok(Classifier { hold, side, program, id, line })
            }
            Hold::Clsact(mut filter) => {
                let door = self.open_door(ebpf, program, &at.name)?;
                let (fd, _) = identity(ebpf, door, &at.name)?;
                let failed = |source| KernelError::Filter { interface: at.name.clone(), source };
                filter.put_first(syscall::raw(fd)).map_err(failed)?;
                Ok(Classifier { hold: Hold::Clsact(filter), side, program, id, line })
            }
        }
    }

    /// Looks whether a program is still the first at its hook, and puts it there if that may be. `None`: it is no more.
    pub(super) fn look(
        &mut self,
        ebpf: &mut Ebpf,
        at: &Link,
        hook: Hook,
        now: Ktime,
    ) -> (Option<Hook>, Option<PushedIn>) {
        let Hook::Tc(mut ours) = hook else {
            return (Some(hook), None);
        };
        let programs = match &mut ours.hold {
            Hold::Tcx(_) => order::programs(at.index, ours.side),
            Hold::Clsact(filter) => filter.programs(),
        };
        let programs = match programs {
            Ok(programs) => programs,
            Err(error) => {
                // Most often the interface is gone, which is told otherwise.
                tracing::debug!(interface = at.name, %error, "The order of programs cannot be read.");
                return (Some(Hook::Tc(ours)), None);
            }
        };
        let name = ours.name();
        let told =
            |programs, outcome| Some(PushedIn { interface: at.name.clone(), hook: name, programs, outcome });
        match ours.line.look(now, &programs, ours.id) {
            Step::Nothing => (Some(Hook::Tc(ours)), None),
            Step::Yield(ahead) => (Some(Hook::Tc(ours)), told(ahead, Outcome::Behind)),
            Step::GiveUp => (None, told(programs, Outcome::Gone)),
            Step::Move(ahead) => match self.put_first(ebpf, at, ours) {
                Ok(ours) => (Some(Hook::Tc(ours)), told(ahead, Outcome::First)),
                Err(error) if error.is_gone() => (None, None),
                Err(error) => (None, told(ahead, Outcome::Lost(error))),
            },
        }
    }
}

/// A filter's program that leads to `program`, and where it looks for it.
fn door_of(program: &str) -> Option<(&'static str, u32)> {
    match program {
        names::PROG_FROM_WORKLOAD => Some((names::PROG_DOOR_FROM_WORKLOAD, door::FROM_WORKLOAD)),
        names::PROG_TO_WORKLOAD => Some((names::PROG_DOOR_TO_WORKLOAD, door::TO_WORKLOAD)),
        names::PROG_NIC_IN_TC => Some((names::PROG_DOOR_NIC_IN, door::NIC_IN)),
        _ => None,
    }
}

/// Of this network namespace.
fn index(interface: &str) -> io::Result<u32> {
    let any = socket(AddressFamily::UNIX, SocketType::DGRAM, None)?;
    Ok(netdevice::name_to_index(&any, interface)?)
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
    (interface, index): (&str, u32),
    side: Side,
) -> Result<(Hold, u32), KernelError> {
    let tcx = loaded(ebpf, program, interface)?;
    let attach_type = match side {
        Side::Ingress => TcAttachType::Ingress,
        Side::Egress => TcAttachType::Egress,
    };
    // First: a program before us that returns TC_ACT_OK would hide every packet.
    let how = TcAttach::Tcx { attach_type, order: LinkOrder::first() };
    let at = NetworkInterface::Index(index);
    let id = tcx.attach(at, how).map_err(|source| attach_error(program, interface, source))?;
    let link = tcx.take_link(id).map_err(|source| attach_error(program, interface, source))?;
    let id = tcx.info().map_err(|source| attach_error(program, interface, source))?.id();
    Ok((Hold::Tcx(link), id))
}

/// Of a classifier: its descriptor and its id.
fn identity<'a>(
    ebpf: &'a mut Ebpf,
    program: &'static str,
    interface: &str,
) -> Result<(BorrowedFd<'a>, u32), KernelError> {
    let classifier = loaded(ebpf, program, interface)?;
    let id = classifier.info().map_err(|source| attach_error(program, interface, source))?.id();
    let fd = classifier.fd().map_err(|source| attach_error(program, interface, source))?;
    Ok((fd.as_fd(), id))
}

fn loaded<'a>(
    ebpf: &'a mut Ebpf,
    program: &'static str,
    interface: &str,
) -> Result<&'a mut SchedClassifier, KernelError> {
    let classifier: &mut SchedClassifier = program_mut(ebpf, program, interface)?;
    if classifier.fd().is_err() {
        classifier.load().map_err(|source| KernelError::Program { program, source: Box::new(source) })?;
    }
    Ok(classifier)
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
