//! From the bytes of a file to all that is known of it.

use std::{collections::HashMap, path::Path};

use super::{
    allgs, buildinfo,
    check::SelfCheckInput,
    dwarf,
    error::GoError,
    find,
    grpc::{self, GrpcLayout, GrpcVersion},
    layout::{Field, HttpLayout, OLDEST_MINOR, OffsetsFrom, Part},
    points::{Point, Side},
    refusal::{Refusal, RefusalReason, Subject},
    symbols::{ALLGADD, RUNTIME_MAIN, Symbols, SymbolsError},
    version::GoVersion,
};
use crate::targets::elf::{ElfFile, ReadAt, Regular};

/// Plain data. Addresses are as linked, without the load bias.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoBinary {
    pub version: GoVersion,
    pub pie: bool,
    pub stripped: bool,
    /// Go's own build id, else the GNU one.
    pub build_id: Option<String>,
    pub offsets_from: OffsetsFrom,
    pub layout: HttpLayout,
    /// Nothing for a program without gRPC, or with one that is not known.
    pub grpc: Option<GrpcLayout>,
    pub points: Vec<Point>,
    pub refused: Vec<Refusal>,
    pub checks: SelfCheckInput,
    pub base: ImageBase,
}

/// The lowest loaded segment; what is needed to tell the load bias from `/proc/PID/maps`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImageBase {
    pub address: u64,
    pub file_offset: u64,
}

impl GoBinary {
    pub fn open(path: &Path) -> Result<Self, GoError> {
        Self::parse(Regular::open(path)?)
    }

    pub fn parse<R: ReadAt>(source: R) -> Result<Self, GoError> {
        let file = ElfFile::parse(source)?;
        let section = file.section(buildinfo::SECTION).ok_or(GoError::NotGo)?;
        let notes = file.data(section)?;
        let version = version(&notes)?;
        let besides = if buildinfo::may_have(&notes, grpc::MODULE) { grpc::STEPS } else { &[] };
        let members = dwarf::members(&file, besides);
        let layout = Layout::decide(&version, &dwarf::fields(&members))?;
        let symbols = Symbols::read(&file).map_err(|error| match error {
            SymbolsError::Elf(error) => GoError::Elf(error),
            SymbolsError::Table(source) => GoError::Functions { version: version.clone(), source },
        })?;
        let (mut points, mut refused) = find::points(&file, &symbols);
        layout.leave_out(&mut points, &mut refused);
        let has_grpc = points.iter().any(|it| it.name.side().is_grpc());
        let grpc = has_grpc.then(|| {
            let version = GrpcVersion::parse(buildinfo::module_version(&notes, grpc::MODULE));
            let decided = GrpcLayout::decide(&version, &members);
            decided.map_err(|reason| without_grpc(&mut points, &mut refused, &reason)).ok()
        });
        Ok(Self {
            pie: file.position_independent,
            stripped: file.section(".symtab").is_none(),
            build_id: build_id(&file),
            offsets_from: layout.from,
            layout: layout.fields,
            grpc: grpc.flatten(),
            points,
            refused,
            checks: checks(&file, &symbols),
            base: base(&file),
            version,
        })
    }
}

/// Without offsets there are no spans of gRPC; those of HTTP do not need them.
fn without_grpc(points: &mut Vec<Point>, refused: &mut Vec<Refusal>, reason: &RefusalReason) {
    for &side in Side::ALL.iter().filter(|it| it.is_grpc()) {
        if points.iter().any(|it| it.name.side() == side) {
            refused.push(Refusal { subject: Subject::Side(side), reason: reason.clone() });
        }
        points.retain(|it| it.name.side() != side);
    }
}

fn version(notes: &[u8]) -> Result<GoVersion, GoError> {
    let raw = buildinfo::version_text(notes).ok_or(GoError::BuildInfo)?;
    GoVersion::parse(raw).ok_or_else(|| GoError::Version { raw: raw.to_owned() })
}

struct Layout {
    fields: HttpLayout,
    from: OffsetsFrom,
    /// Neither the file nor a table tells where they are. None that everything needs.
    unknown: Vec<Field>,
}

impl Layout {
    /// The file is believed where it tells a field, the table of the version elsewhere.
    fn decide(version: &GoVersion, dwarf: &HashMap<Field, u16>) -> Result<Self, GoError> {
        if (version.major, version.minor) < (1, OLDEST_MINOR) {
            return Err(GoError::TooOld { version: version.clone() });
        }
        let table = HttpLayout::of_version(version);
        let untold = |it: &&Field| !dwarf.contains_key(it);
        let is_complete = !Field::ALL.iter().filter(untold).any(|it| it.part() == Part::All);
        if table.is_none() && !is_complete {
            return Err(GoError::TooNew { version: version.clone() });
        }
        let unknown =
            if table.is_some() { vec![] } else { Field::ALL.iter().filter(untold).copied().collect() };
        let mut fields = table.unwrap_or_else(HttpLayout::unknown);
        dwarf.iter().for_each(|(&field, &offset)| fields.set(field, offset));
        let from = if is_complete { OffsetsFrom::Dwarf } else { OffsetsFrom::Table };
        Ok(Self { fields, from, unknown })
    }

    /// Refuses what needs a field that is not known.
    fn leave_out(&self, points: &mut Vec<Point>, refused: &mut Vec<Refusal>) {
        for &side in Side::ALL {
            let Some(field) = self.unknown.iter().find(|it| it.part() == side.part()) else {
                continue;
            };
            let n_before = points.len();
            points.retain(|it| it.name.side() != side);
            if points.len() < n_before {
                let reason = RefusalReason::NoOffset { field: field.name() };
                refused.push(Refusal { subject: Subject::Side(side), reason });
            }
        }
    }
}

fn build_id<R: ReadAt>(file: &ElfFile<R>) -> Option<String> {
    let note = |name| file.section(name).and_then(|it| file.data(it).ok());
    note(buildinfo::GO_ID_SECTION)
        .and_then(|it| buildinfo::go_build_id(&it))
        .or_else(|| note(buildinfo::GNU_ID_SECTION).and_then(|it| buildinfo::gnu_build_id(&it)))
}

fn checks<R: ReadAt>(file: &ElfFile<R>, symbols: &Symbols) -> SelfCheckInput {
    let text = file.section(".text").map_or(0..0, |it| it.address..it.address.saturating_add(it.size));
    SelfCheckInput {
        allgs: symbols.allgs.or_else(|| allgs_of_code(file, symbols)),
        runtime_main: symbols.function(RUNTIME_MAIN).map(|it| it.start),
        module_data: symbols.module_data,
        text,
        itabs: symbols.itabs.clone(),
    }
}

fn allgs_of_code<R: ReadAt>(file: &ElfFile<R>, symbols: &Symbols) -> Option<u64> {
    const MAX_BYTES: u64 = 4096;
    let code = symbols.function(ALLGADD)?;
    let size = code.end.saturating_sub(code.start).min(MAX_BYTES);
    allgs::find(&file.at_address(code.start, size)?, code.start)
}

fn base<R: ReadAt>(file: &ElfFile<R>) -> ImageBase {
    file.segments
        .iter()
        .min_by_key(|it| it.address)
        .map(|it| ImageBase { address: it.address, file_offset: it.offset })
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::targets::golang::fixture::Image;

    #[test]
    fn the_file_is_believed_before_the_table() {
        let version = GoVersion::parse("go1.26.8").unwrap();
        let dwarf = HashMap::from([(Field::ResponseStatus, 136), (Field::GGoid, 152)]);
        let layout = Layout::decide(&version, &dwarf).unwrap();
        assert_eq!((layout.from, layout.fields.response_status), (OffsetsFrom::Table, 136));
    }

    #[test]
    fn a_newer_version_needs_every_field() {
        let version = GoVersion::parse("go1.28.0").unwrap();
        let mut dwarf: HashMap<_, _> = Field::ALL.iter().map(|it| (*it, 8)).collect();
        let layout = Layout::decide(&version, &dwarf).unwrap();
        assert_eq!(layout.from, OffsetsFrom::Dwarf);
        assert!(Field::ALL.iter().all(|it| layout.fields.get(*it) == 8));

        dwarf.remove(&Field::StmtQuery);
        assert!(Layout::decide(&version, &dwarf).is_ok(), "a program without a database");
        dwarf.remove(&Field::UrlPath);
        assert!(matches!(Layout::decide(&version, &dwarf), Err(GoError::TooNew { .. })));
    }

    #[test]
    fn a_newer_version_may_have_another_http2() {
        let version = GoVersion::parse("go1.28.0").unwrap();
        let dwarf: HashMap<_, _> =
            Field::ALL.iter().filter(|it| it.part() == Part::All).map(|it| (*it, 8)).collect();
        let layout = Layout::decide(&version, &dwarf).unwrap();
        assert_eq!(layout.from, OffsetsFrom::Dwarf);
        let binary = GoBinary::parse(&Image::http2().build()[..]).unwrap();
        let (mut points, mut refused) = (binary.points, binary.refused);
        assert!(points.iter().any(|it| it.name.side() == Side::Http2Server));
        layout.leave_out(&mut points, &mut refused);
        assert!(points.iter().all(|it| matches!(it.name.side(), Side::Server | Side::Client)));
        let refused: Vec<_> = refused.iter().map(|it| format!("{}: {}", it.subject, it.reason)).collect();
        let why = "the file does not tell where `http2_request_method` is, and this version of Go was never looked at";
        assert_eq!(refused, ["server", "client"].map(|it| format!("http2 {it} spans: {why}")));
    }

    #[test]
    fn an_older_version_is_refused() {
        let version = GoVersion::parse("go1.20.14").unwrap();
        let dwarf = Field::ALL.iter().map(|it| (*it, 8)).collect();
        assert!(matches!(Layout::decide(&version, &dwarf), Err(GoError::TooOld { .. })));
    }
}
