//! Finds the points of a binary, and says why where there is none.

use std::ops::Range;

use super::{
    aftercall::{NoAfterCall, after_calls},
    points::{Need, Place, Point, PointKind, PointName, Side},
    prologue::{NoEntry, entry_point},
    refusal::{Refusal, RefusalReason, Subject},
    symbols::Symbols,
};
use crate::targets::elf::{ElfFile, ReadAt};

/// The longest function that is decoded; those of interest have some 4 KiB.
const MAX_CODE_BYTES: u64 = 128 << 10;

/// All points that can be probed, and a refusal for each of the others.
pub(crate) fn points<R: ReadAt>(file: &ElfFile<R>, symbols: &Symbols) -> (Vec<Point>, Vec<Refusal>) {
    let finder = Finder { file, symbols };
    let (mut points, mut refused) = (Vec::new(), Vec::new());
    for side in [Side::Server, Side::Client] {
        finder.side(side, &mut points, &mut refused);
    }
    (points, refused)
}

struct Finder<'a, R> {
    file: &'a ElfFile<R>,
    symbols: &'a Symbols,
}

impl<R: ReadAt> Finder<'_, R> {
    fn side(&self, side: Side, points: &mut Vec<Point>, refused: &mut Vec<Refusal>) {
        let mut found = Vec::new();
        let mut missing = Vec::new();
        for &name in PointName::ALL.iter().filter(|it| it.side() == side) {
            match self.point(name) {
                Ok(points) => found.extend(points),
                Err(reason) => missing.push((name, reason)),
            }
        }
        let is_absent = |reason: &RefusalReason| matches!(reason, RefusalReason::Absent { .. });
        let all_unlinked =
            missing.iter().filter(|(name, _)| name.need() == Need::Must).all(|(_, it)| is_absent(it))
                && !found.iter().any(|it| it.name.need() == Need::Must);
        if all_unlinked {
            return;
        }
        missing.retain(|(name, reason)| name.need() != Need::MayBeUnlinked || !is_absent(reason));
        let incomplete = missing.iter().find(|(name, _)| name.need() == Need::Must).map(|(name, _)| *name);
        if let Some(missing) = incomplete {
            let reason = RefusalReason::Incomplete { missing };
            refused.push(Refusal { subject: Subject::Side(side), reason });
        } else {
            points.append(&mut found);
        }
        refused.extend(
            missing.into_iter().map(|(name, reason)| Refusal { subject: Subject::Point(name), reason }),
        );
    }

    fn point(&self, name: PointName) -> Result<Vec<Point>, RefusalReason> {
        match name.place() {
            Place::Entry(symbol) => self.entry(name, symbol).map(|it| vec![it]),
            Place::AfterCall { caller, callee } => self.after_call(name, caller, callee),
        }
    }

    fn entry(&self, name: PointName, symbol: &'static str) -> Result<Point, RefusalReason> {
        let (range, code) = self.code(symbol)?;
        let (offset, kind) = entry_point(&code, range.start).map_err(|none| match none {
            NoEntry::SingleStep => RefusalReason::SingleStep { symbol },
            NoEntry::FiresTwice => RefusalReason::FiresTwice { symbol },
        })?;
        self.at(name, symbol, range.start + offset, kind)
    }

    fn after_call(
        &self,
        name: PointName,
        caller: &'static str,
        callee: &'static str,
    ) -> Result<Vec<Point>, RefusalReason> {
        let (range, code) = self.code(caller)?;
        let Some(target) = self.symbols.function(callee) else {
            return Err(RefusalReason::NoCall { caller, callee });
        };
        let addresses = after_calls(&code, range.start, target.start).map_err(|none| match none {
            NoAfterCall::NoCall => RefusalReason::NoCall { caller, callee },
            NoAfterCall::ResultsLost => RefusalReason::ResultsLost { caller, callee },
            NoAfterCall::ReachedOtherwise => RefusalReason::ReachedOtherwise { caller, callee },
        })?;
        addresses.into_iter().map(|it| self.at(name, caller, it, PointKind::AfterCall)).collect()
    }

    fn code(&self, symbol: &'static str) -> Result<(&Range<u64>, Vec<u8>), RefusalReason> {
        let range = self.symbols.function(symbol).ok_or(RefusalReason::Absent { symbol })?;
        let size = range.end.saturating_sub(range.start);
        if MAX_CODE_BYTES < size || !self.file.holds_code(range.start, size) {
            return Err(RefusalReason::NoCode { symbol });
        }
        let code = self.file.at_address(range.start, size).ok_or(RefusalReason::NoCode { symbol })?;
        Ok((range, code))
    }

    fn at(
        &self,
        name: PointName,
        symbol: &'static str,
        address: u64,
        kind: PointKind,
    ) -> Result<Point, RefusalReason> {
        let file_offset = self.file.offset_of(address).ok_or(RefusalReason::NoCode { symbol })?;
        Ok(Point { name, symbol: symbol.to_owned(), file_offset, address, kind })
    }
}
