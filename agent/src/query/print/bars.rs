//! How often something took how long, drawn.

use std::io::{self, Write};

use super::{
    Style,
    table::{self, Column, number, text},
    units,
};
use crate::query::proto::{Bucket, Requests};

/// More buckets than these share a line.
const MAX_LINES: usize = 16;
const WIDTH: u64 = 40;

struct Line {
    /// `None`: whatever is longer.
    up_to_seconds: Option<f64>,
    count: u64,
    /// Of the longest line.
    most: u64,
    quantiles: String,
}

const COLUMNS: &[Column<Line>] = &[
    number("UP TO", |line, _| line.up_to_seconds.map_or_else(|| "more".to_owned(), units::duration)),
    number("REQUESTS", |line, _| line.count.to_string()),
    text("", |line, _| bar(line)),
    text("", |line, _| line.quantiles.clone()),
];

pub(super) fn write(
    buckets: &[Bucket],
    requests: Option<&Requests>,
    style: &Style,
    out: &mut dyn Write,
) -> io::Result<()> {
    table::write(&lines(buckets, requests), COLUMNS, 0, table::calm, style, out)
}

fn lines(buckets: &[Bucket], requests: Option<&Requests>) -> Vec<Line> {
    let mut per_line = 1;
    while MAX_LINES < buckets.len().div_ceil(per_line) {
        per_line *= 2;
    }
    let mut quantiles: Vec<_> = requests.into_iter().flat_map(quantiles).collect();
    let mut lines: Vec<Line> = Vec::new();
    for buckets in buckets.chunks(per_line) {
        let up_to_seconds = buckets.last().and_then(|it| it.up_to_seconds);
        // A quantile is the boundary of its bucket.
        let here: Vec<_> =
            quantiles.extract_if(.., |(_, seconds)| up_to_seconds.is_none_or(|it| *seconds <= it)).collect();
        lines.push(Line {
            up_to_seconds,
            count: buckets.iter().map(|it| it.count).sum(),
            most: 0,
            quantiles: here.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(" "),
        });
    }
    let most = lines.iter().map(|line| line.count).max().unwrap_or(0);
    lines.iter_mut().for_each(|line| line.most = most);
    lines
}

fn quantiles(requests: &Requests) -> impl Iterator<Item = (&'static str, f64)> {
    let Requests { p50_seconds, p95_seconds, p99_seconds, .. } = *requests;
    [("p50", p50_seconds), ("p95", p95_seconds), ("p99", p99_seconds)]
        .into_iter()
        .filter_map(|(name, seconds)| Some((name, seconds?)))
}

/// Of what happened at all something is seen.
fn bar(line: &Line) -> String {
    let eighths = (line.count * WIDTH * 8).div_ceil(line.most.max(1));
    let whole = usize::try_from(eighths / 8).unwrap_or_default();
    let rest = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][(eighths % 8) as usize];
    format!("{}{rest}", "█".repeat(whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_buckets_share_lines_and_none_is_lost() {
        let buckets: Vec<_> =
            (1_u32..=121).map(|n| Bucket { up_to_seconds: Some(f64::from(n)), count: n.into() }).collect();
        let lines = lines(&buckets, None);
        assert!(lines.len() <= MAX_LINES, "{}", lines.len());
        assert_eq!(lines.iter().map(|it| it.count).sum::<u64>(), 121 * 122 / 2);
        assert_eq!(lines.last().map(|it| it.up_to_seconds), Some(Some(121.0)));
    }

    #[test]
    fn a_single_request_among_many_is_seen() {
        let bar =
            |count| bar(&Line { up_to_seconds: Some(1.0), count, most: 1_000_000, quantiles: String::new() });
        assert_eq!([0, 1, 500_000].map(bar), [String::new(), "▏".to_owned(), "█".repeat(20)]);
        assert_eq!(bar(1_000_000).chars().count(), 40);
    }

    #[test]
    fn each_quantile_stands_once() {
        let buckets = [1.0, 2.0, 3.0].map(Some).map(|up_to_seconds| Bucket { up_to_seconds, count: 1 });
        let requests = Requests {
            p50_seconds: Some(2.0),
            p95_seconds: Some(3.0),
            p99_seconds: Some(3.0),
            ..Requests::default()
        };
        let marks: Vec<_> = lines(&buckets, Some(&requests)).into_iter().map(|it| it.quantiles).collect();
        assert_eq!(marks, ["", "p50", "p95 p99"]);
    }
}
