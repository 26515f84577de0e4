//! Finds the points of a binary, and says why where there is none.

use std::ops::Range;

use super::{
    aftercall::{NoAfterCall, after_calls},
    points::{Names, Need, Place, Point, PointKind, PointName, Side},
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
    for &side in Side::ALL {
        // What cannot begin has no end: it is known by the refusal of the other.
        if side.begun_by().is_none_or(|other| points.iter().any(|it: &Point| it.name.side() == other)) {
            finder.side(side, &mut points, &mut refused);
        }
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
        self.points_at(name, name.place())
    }

    fn points_at(&self, name: PointName, place: Place) -> Result<Vec<Point>, RefusalReason> {
        match place {
            Place::Entry(names) => self.entry(name, self.symbols.name_here(names)).map(|it| vec![it]),
            Place::AfterCall { caller, callee } => self.after_call(name, caller, callee),
            Place::Any(places) => self.any(name, places),
        }
    }

    /// A place that the linker left out is no loss; one that is there and cannot be probed is.
    fn any(&self, name: PointName, places: &[Place]) -> Result<Vec<Point>, RefusalReason> {
        let (mut points, mut absent) = (Vec::new(), None);
        for place in places {
            match self.points_at(name, *place) {
                Ok(found) => points.extend(found),
                Err(reason @ RefusalReason::Absent { .. }) => absent = absent.or(Some(reason)),
                Err(reason) => return Err(reason),
            }
        }
        match absent {
            Some(reason) if points.is_empty() => Err(reason),
            _ => Ok(points),
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

    fn after_call(&self, name: PointName, caller: Names, callee: Names) -> Result<Vec<Point>, RefusalReason> {
        let [caller, callee] = [caller, callee].map(|it| self.symbols.name_here(it));
        let (range, code) = self.code(caller)?;
        let Some(target) = self.symbols.function(callee) else {
            return Err(match name.need() {
                Need::MayBeUnlinked => RefusalReason::Absent { symbol: callee },
                Need::Must | Need::Should => RefusalReason::NoCall { caller, callee },
            });
        };
        let addresses = after_calls(&code, range.start, target.start).map_err(|none| match none {
            NoAfterCall::NoCall => RefusalReason::NoCall { caller, callee },
            NoAfterCall::ResultsLost => RefusalReason::ResultsLost { caller, callee },
            NoAfterCall::ReachedOtherwise => RefusalReason::ReachedOtherwise { caller, callee },
            NoAfterCall::TooMany => RefusalReason::TooManyCalls { caller, callee },
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::targets::golang::{
        GoBinary,
        fixture::{Image, Names, PLAIN, PUSH},
    };

    const GET_CONN: &str = "net/http.(*Transport).getConn";
    const ROUND_TRIP: &str = "net/http.(*Transport).roundTrip";
    const SHOULD_RETRY: &str = "net/http.(*persistConn).shouldRetryRequest";

    #[test]
    fn every_point_of_a_program_that_serves_and_asks() {
        for names in [Names::Symbols, Names::Table, Names::TableOfC] {
            let image = Image::http(names);
            let binary = GoBinary::parse(&image.build()[..]).unwrap();
            assert_eq!(binary.refused, []);
            let got: Vec<_> = binary.points.iter().map(|it| (it.name, it.address, it.kind)).collect();
            let entry = |name, symbol| (name, image.address_of(symbol) + PUSH, PointKind::PushRbp);
            let after = |name, offset| (name, image.address_of(ROUND_TRIP) + offset, PointKind::AfterCall);
            let want = [
                entry(PointName::ServerBegin, "net/http.serverHandler.ServeHTTP"),
                entry(PointName::ServerEnd, "net/http.(*response).finishRequest"),
                entry(PointName::ServerDeferred, "net/http.(*conn).serve.func1"),
                entry(PointName::ClientBegin, ROUND_TRIP),
                after(PointName::ClientConn, 15),
                entry(PointName::ClientSent, "net/http.(*persistConn).roundTrip"),
                after(PointName::ClientAttempted, 25),
                after(PointName::ClientRetry, 35),
                entry(PointName::ClientConnClosed, "net/http.(*persistConn).closeLocked"),
            ];
            assert_eq!(got, want);
            assert!(binary.points.iter().all(|it| it.address - it.file_offset == 0x40_0000));
            assert_eq!(binary.stripped, names != Names::Symbols);
            assert_eq!(binary.checks.runtime_main, Some(image.address_of("runtime.main")));
            assert_eq!(binary.checks.allgs, Some(image.address_of("runtime.allgadd") + 0x100));
        }
    }

    #[test]
    fn a_side_without_a_point_it_needs_is_refused_as_a_whole() {
        check(
            Image::http(Names::Table).without("net/http.(*response).finishRequest"),
            &[Side::Client],
            &[
                "http server spans: the point `server end` is refused, and without it there are no spans",
                "server end: the program has no function `net/http.(*response).finishRequest`",
            ],
        );
        check(
            Image::http(Names::Table).without(SHOULD_RETRY),
            &[Side::Server],
            &[
                "http client spans: the point `client retry` is refused, and without it there are no spans",
                "client retry: `net/http.(*Transport).roundTrip` does not call \
                 `net/http.(*persistConn).shouldRetryRequest` (inlined by a profile-guided build?)",
            ],
        );
    }

    #[test]
    fn http2_has_its_own_points() {
        let image = Image::http2();
        let binary = GoBinary::parse(&image.build()[..]).unwrap();
        assert_eq!(binary.refused, []);
        let of_http2 = |it: &&Point| matches!(it.name.side(), Side::Http2Server | Side::Http2Client);
        let got: Vec<_> = binary.points.iter().filter(of_http2).map(|it| (it.name, it.address)).collect();
        let entry = |name, symbol: &str| (name, image.address_of(&format!("net/http.{symbol}")) + PUSH);
        let after =
            |name, offset| (name, image.address_of("net/http.(*http2Transport).RoundTripOpt") + offset);
        let want = [
            entry(PointName::Http2ServerBegin, "(*http2serverConn).runHandler"),
            entry(PointName::Http2ServerEnd, "(*http2serverConn).runHandler.func1"),
            entry(PointName::Http2ServerConnClosed, "(*http2serverConn).closeAllStreamsOnConnClose"),
            entry(PointName::Http2ClientSent, "(*http2clientStream).encodeAndWriteHeaders"),
            after(PointName::Http2ClientAttempted, 15),
            after(PointName::Http2ClientRetry, 25),
            entry(PointName::Http2ClientConnClosed, "(*http2clientConnReadLoop).cleanup"),
        ];
        assert_eq!(got, want);
    }

    #[test]
    fn the_newest_name_that_a_file_has_is_taken() {
        let mut image = Image::http2();
        let newest = "net/http/internal/http2.(*serverConn).runHandler";
        image.functions.push((newest, PLAIN.to_vec()));
        let binary = GoBinary::parse(&image.build()[..]).unwrap();
        let begin = binary.points.iter().find(|it| it.name == PointName::Http2ServerBegin).unwrap();
        assert_eq!(begin.symbol, newest);
    }

    /// Its calls begin in the code of HTTP/1.
    #[test]
    fn http2_clients_need_those_of_http1() {
        let both = [Side::Server, Side::Http2Server];
        let refused = [
            "http client spans: the point `client retry` is refused, and without it there are no spans",
            "client retry: `net/http.(*Transport).roundTrip` does not call \
             `net/http.(*persistConn).shouldRetryRequest` (inlined by a profile-guided build?)",
        ];
        check(Image::http2().without(SHOULD_RETRY), &both, &refused);
        let all = [Side::Server, Side::Client, Side::Http2Server];
        let refused = [
            "http2 client spans: the point `http2 client attempted` is refused, and without it there are no spans",
            "http2 client attempted: `net/http.(*http2Transport).RoundTripOpt` does not call \
             `net/http/internal/http2.(*ClientConn).roundTrip` (inlined by a profile-guided build?)",
        ];
        check(Image::http2().without("net/http.(*http2ClientConn).roundTrip"), &all, &refused);
    }

    #[test]
    fn grpc_has_its_own_points() {
        let all = [Side::Server, Side::Client, Side::GrpcServer, Side::GrpcClient];
        check(Image::grpc(Some("v1.85.0")), &all, &[]);
        let mut older = Image::grpc(Some("v1.45.0"));
        let end = "google.golang.org/grpc/internal/transport.(*http2Server).WriteStatus";
        older.functions.iter_mut().filter(|it| it.0.ends_with("writeStatus")).for_each(|it| it.0 = end);
        let binary = GoBinary::parse(&older.build()[..]).unwrap();
        assert_eq!(binary.refused, []);
        let found = binary.points.iter().find(|it| it.name == PointName::GrpcServerEnd).unwrap();
        assert_eq!((found.symbol.as_str(), found.address), (end, older.address_of(end) + PUSH));
    }

    #[test]
    fn grpc_that_is_not_known_costs_its_own_spans_only() {
        for (version, noted) in [(None, "without a noted version"), (Some("v1.99.0"), "v1.99.0")] {
            let refused = ["server", "client"].map(|side| {
                format!(
                    "grpc {side} spans: gRPC {noted} is not known, and the file has no debug information that \
                     would tell every offset"
                )
            });
            check(
                Image::grpc(version),
                &[Side::Server, Side::Client],
                &refused.each_ref().map(|it| it.as_str()),
            );
        }
        let without = Image::grpc(Some("v1.85.0")).without("google.golang.org/grpc.(*Server).handleStream");
        check(
            without,
            &[Side::Server, Side::Client, Side::GrpcClient],
            &[
                "grpc server spans: the point `grpc server begin` is refused, and without it there are no spans",
                "grpc server begin: the program has no function `google.golang.org/grpc.(*Server).handleStream`",
            ],
        );
    }

    #[test]
    fn a_side_goes_on_without_a_point_it_can_do_without() {
        let image = Image::http(Names::Symbols).without(GET_CONN);
        let both = [Side::Server, Side::Client];
        check(
            image,
            &both,
            &["client connection: `net/http.(*Transport).roundTrip` does not call \
               `net/http.(*Transport).getConn` (inlined by a profile-guided build?)"],
        );
    }

    #[test]
    fn a_point_that_would_be_stepped_over_is_refused() {
        let mut image = Image::http(Names::Symbols);
        image.functions[0].1 = vec![0x48, 0x83, 0xec, 0x18, 0xc3]; // sub rsp, 18h; ret
        check(
            image,
            &[Side::Client],
            &[
                "http server spans: the point `server begin` is refused, and without it there are no spans",
                "server begin: a probe in `net/http.serverHandler.ServeHTTP` would have to be \
                 single-stepped, which costs 35 times as much",
            ],
        );
    }

    #[test]
    fn a_program_without_http_has_no_points_and_no_refusals() {
        for names in [Names::Symbols, Names::Table] {
            let mut image = Image::http(names);
            image.functions.retain(|it| !it.0.starts_with("net/http."));
            image.functions.push(("main.main", PLAIN.to_vec()));
            check(image, &[], &[]);
        }
    }

    #[track_caller]
    fn check(image: Image, want_sides: &[Side], want_refused: &[&str]) {
        let binary = GoBinary::parse(&image.build()[..]).unwrap();
        let mut sides: Vec<_> = binary.points.iter().map(|it| it.name.side()).collect();
        sides.dedup();
        assert_eq!(sides, want_sides);
        let refused: Vec<_> =
            binary.refused.iter().map(|it| format!("{}: {}", it.subject, it.reason)).collect();
        assert_eq!(refused, want_refused);
    }
}
