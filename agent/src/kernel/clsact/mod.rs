//! Filters of clsact qdiscs, for kernels without links for classifiers.
//!
//! A filter belongs to the interface: it stays when the agent is killed. What stays is a door to nowhere
//! (`agent-ebpf/src/probes/packet/door.rs`), and the next start takes it away. It is known by its priority, its
//! handle and its name, and the name says whose the qdisc is: a qdisc that was there before is never taken away,
//! and one that an agent made only when nobody else has a filter in it.

mod message;
mod wire;

use std::{collections::BTreeSet, io};

use self::{
    message::{At, CLSACT, Qdisc, Request, Row, Said},
    wire::Wire,
};
use super::{KernelError, packets::Side};

/// The first that is asked.
const PRIORITY: u16 = 1;
/// `ts`, for whoever reads `tc filter show`.
const HANDLE: u32 = 0x7473;
/// All our names begin so.
const NAME: &str = "taskscope_";
/// The end of the name where the qdisc is ours, too.
const MADE: &str = "+clsact";
const SIDES: [Side; 2] = [Side::Ingress, Side::Egress];

/// A filter with a program. Dropped, it is gone, and the qdisc with it if that may be.
#[derive(Debug)]
pub(super) struct Filter {
    wire: Wire,
    at: At,
    name: String,
    /// Its id.
    program: u32,
}

impl Filter {
    /// On an interface of this network namespace. `fd` and `program` are the descriptor and the id of one program.
    pub(super) fn put(
        (interface, ifindex): (&str, u32),
        side: Side,
        door: &str,
        (fd, program): (u32, u32),
    ) -> Result<Self, KernelError> {
        let failed = |source| KernelError::Filter { interface: interface.to_owned(), source };
        let mut wire = Wire::open().map_err(failed)?;
        let has_made = has_made_qdisc(&mut wire, interface, ifindex)?;
        let name = if has_made { format!("{door}{MADE}") } else { door.to_owned() };
        let at = At { ifindex, side, priority: PRIORITY, handle: HANDLE };
        // From here on what was made is taken away if something fails.
        let mut filter = Self { wire, at, name, program };
        let others = filter.rows(side).map_err(failed)?;
        if others.iter().any(|it| it.chain == 0 && it.priority <= PRIORITY) {
            return Err(KernelError::PriorityTaken { interface: interface.to_owned(), side: side.name() });
        }
        filter.add(fd).map_err(failed)?;
        Ok(filter)
    }

    /// The ids of the programs at its place, in the order in which they are asked; 0: a filter that is no program.
    pub(super) fn programs(&mut self) -> io::Result<Vec<u32>> {
        let rows = self.rows(self.at.side)?;
        Ok(rows.iter().filter(|it| it.chain == 0).map(|it| it.program).collect())
    }

    /// Before others of the same priority. While it is off its packets are not seen.
    pub(super) fn put_first(&mut self, fd: u32) -> io::Result<()> {
        self.wire.ask(Request::delete_filter(self.at))?;
        self.add(fd)
    }

    fn add(&mut self, fd: u32) -> io::Result<()> {
        self.wire.ask(Request::add_filter(self.at, &self.name, fd)).map(|_| ())
    }

    fn rows(&mut self, side: Side) -> io::Result<Vec<Row>> {
        rows(&mut self.wire, self.at.ifindex, side)
    }

    /// Another agent may have taken it away meanwhile, and put its own there: that is left alone.
    fn take_off(&mut self) -> io::Result<()> {
        let ours = self.program;
        if self.rows(self.at.side)?.iter().any(|it| is_ours(it) && it.program == ours) {
            self.wire.ask(Request::delete_filter(self.at))?;
        }
        if self.name.ends_with(MADE) {
            delete_empty_qdisc(&mut self.wire, self.at.ifindex)?;
        }
        Ok(())
    }
}

impl Drop for Filter {
    fn drop(&mut self) {
        if let Err(error) = self.take_off() {
            // Most often the interface is gone, and all of it with it.
            tracing::debug!(%error, ifindex = self.at.ifindex, "A filter cannot be taken off.");
        }
    }
}

/// Takes away what agents left that were killed, on all interfaces of this network namespace. Returns the indexes of
/// these interfaces.
pub(super) fn sweep() -> io::Result<BTreeSet<u32>> {
    let mut wire = Wire::open()?;
    let mut swept = BTreeSet::new();
    for qdisc in qdiscs(&mut wire)?.into_iter().filter(|it| it.kind == CLSACT) {
        let ifindex = qdisc.ifindex;
        let mut has_made = false;
        for side in SIDES {
            for row in rows(&mut wire, ifindex, side)?.iter().filter(|it| is_ours(it)) {
                let at = At { ifindex, side, priority: row.priority, handle: row.handle };
                wire.ask(Request::delete_filter(at))?;
                has_made |= row.name.ends_with(MADE);
                swept.insert(ifindex);
            }
        }
        if has_made {
            delete_empty_qdisc(&mut wire, ifindex)?;
        }
    }
    Ok(swept)
}

/// Whether the interface's qdisc is an agent's; makes one where there is none.
fn has_made_qdisc(wire: &mut Wire, interface: &str, ifindex: u32) -> Result<bool, KernelError> {
    let failed = |source| KernelError::Filter { interface: interface.to_owned(), source };
    match wire.ask(Request::add_qdisc(ifindex)) {
        Ok(_) => return Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {}
        Err(error) => return Err(failed(error)),
    }
    let there = qdiscs(wire).map_err(failed)?.into_iter().find(|it| it.ifindex == ifindex);
    // The older kind has one side only, and takes filters of the other for its own.
    if let Some(Qdisc { kind, .. }) = there.filter(|it| it.kind != CLSACT) {
        return Err(KernelError::OtherQdisc { interface: interface.to_owned(), kind });
    }
    // By the filter on the other side.
    for side in SIDES {
        let rows = rows(wire, ifindex, side).map_err(failed)?;
        if rows.iter().any(|it| is_ours(it) && it.name.ends_with(MADE)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Those that see all packets come in and go out, or may.
fn qdiscs(wire: &mut Wire) -> io::Result<Vec<Qdisc>> {
    let of_use = |said| match said {
        Said::Qdisc(it) if it.is_at_the_door => Some(it),
        Said::Qdisc(_) | Said::Filter(_) => None,
    };
    Ok(wire.ask(Request::qdiscs())?.into_iter().filter_map(of_use).collect())
}

/// In the order in which they are asked.
fn rows(wire: &mut Wire, ifindex: u32, side: Side) -> io::Result<Vec<Row>> {
    let of_use = |said| match said {
        Said::Filter(row) => Some(row),
        Said::Qdisc(_) => None,
    };
    Ok(wire.ask(Request::filters(ifindex, side))?.into_iter().filter_map(of_use).collect())
}

fn is_ours(row: &Row) -> bool {
    (row.chain, row.priority, row.handle) == (0, PRIORITY, HANDLE) && row.name.starts_with(NAME)
}

/// For one that an agent made.
fn delete_empty_qdisc(wire: &mut Wire, ifindex: u32) -> io::Result<()> {
    for side in SIDES {
        if !rows(wire, ifindex, side)?.is_empty() {
            return Ok(());
        }
    }
    wire.ask(Request::delete_qdisc(ifindex)).map(|_| ())
}
