//! The version of the kernel.

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    pub(crate) major: u32,
    pub(crate) minor: u32,
}

impl Version {
    pub(crate) const fn new(major: u32, minor: u32) -> Self {
        Self { major, minor }
    }

    /// From `/proc/sys/kernel/osrelease`: `6.1.0-18-amd64`, `5.15-gke`.
    pub(crate) fn parse(release: &str) -> Option<Self> {
        let mut numbers = release.trim().split(|it: char| !it.is_ascii_digit());
        let major = numbers.next()?.parse().ok()?;
        let minor = numbers.next()?.parse().ok()?;
        Some(Self { major, minor })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_of_distributions() {
        let check = |release: &str, want: Option<(u32, u32)>| {
            assert_eq!(
                Version::parse(release),
                want.map(|(major, minor)| Version { major, minor }),
                "{release}"
            );
        };
        check("6.18.44-fc-v595\n", Some((6, 18)));
        check("5.15-gke", Some((5, 15)));
        check("6.1.0-18-amd64", Some((6, 1)));
        check("7.3", Some((7, 3)));
        check("linux", None);
        check("", None);
        check("6", None);
        assert!(Version::new(5, 15) < Version::new(6, 6) && Version::new(6, 6) < Version::new(6, 10));
    }
}
