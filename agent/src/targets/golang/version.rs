//! The version a Go toolchain wrote into what it built.

use std::fmt;

/// A released or development version of Go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoVersion {
    pub major: u16,
    pub minor: u16,
    /// Zero when the text names none, as in `go1.27rc1`.
    pub patch: u16,
    /// The text as it stands in the file; vendors append words of their own.
    pub raw: String,
}

impl GoVersion {
    /// Reads `go1.26.8`, `go1.27rc1 X:name`, `devel go1.28-0123456 …`.
    pub fn parse(raw: &str) -> Option<Self> {
        let text = raw.strip_prefix("devel ").unwrap_or(raw).strip_prefix("go")?;
        let (major, rest) = number(text)?;
        let (minor, rest) = number(rest.strip_prefix('.')?)?;
        let patch = rest.strip_prefix('.').and_then(number).map_or(0, |(patch, _)| patch);
        Some(Self { major, minor, patch, raw: raw.to_owned() })
    }
}

impl fmt::Display for GoVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.raw)
    }
}

fn number(text: &str) -> Option<(u16, &str)> {
    let end = text.find(|it: char| !it.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    Some((digits.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn released_and_other_versions() {
        check("go1.26.8", Some((1, 26, 8)));
        check("go1.21", Some((1, 21, 0)));
        check("go1.27rc1", Some((1, 27, 0)));
        check("go1.25.6 X:nodwarf5", Some((1, 25, 6)));
        check("go1.24.13-vendor.1", Some((1, 24, 13)));
        check("devel go1.28-a1b2c3d Mon Jan 2 15:04:05 2026 +0000", Some((1, 28, 0)));
    }

    #[test]
    fn what_is_no_version() {
        for raw in ["", "go", "go1", "go1.", "1.26.8", "gone", "go99999.1", "go1.-3", "devel +abcdef"] {
            check(raw, None);
        }
    }

    #[track_caller]
    fn check(raw: &str, want: Option<(u16, u16, u16)>) {
        let got = GoVersion::parse(raw).map(|it| (it.major, it.minor, it.patch));
        assert_eq!(got, want, "`{raw}`");
    }
}
