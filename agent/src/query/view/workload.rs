//! What a process is a part of, as far as is known without Kubernetes: what merges its edges with others.

use std::fmt;

use super::shapes;
use crate::targets::process::Process;

/// Short ids are what people know containers by.
const SHORT_ID: usize = 12;

/// The first of these that a process has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Workload<'a> {
    Owner { namespace: Option<&'a str>, name: &'a str },
    Container(&'a str),
    Unit(&'a str),
    Executable(&'a str),
}

impl<'a> Workload<'a> {
    pub(crate) fn of(process: &'a Process) -> Self {
        if let Some(name) = shapes::owner(process) {
            Self::Owner { namespace: shapes::namespace(process), name }
        } else if let Some(id) = &process.container_id {
            Self::Container(id)
        } else if let Some(unit) = &process.systemd_unit {
            Self::Unit(unit)
        } else {
            Self::Executable(&process.exe)
        }
    }
}

impl fmt::Display for Workload<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owner { namespace: Some(namespace), name } => write!(f, "{namespace}/{name}"),
            Self::Owner { namespace: None, name } => f.write_str(name),
            Self::Container(id) => write!(f, "container {}", id.get(..SHORT_ID).unwrap_or(id)),
            Self::Unit(unit) => f.write_str(unit),
            Self::Executable(path) => f.write_str(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::samples;

    #[test]
    fn the_largest_whole_that_is_known_comes_first() {
        let mut process = Process::clone(&samples::shop());
        process.systemd_unit = Some("shop.service".to_owned());
        check(&process, "prod/shop");
        process.attributes.retain(|(name, _)| name != "k8s.namespace.name");
        check(&process, "shop");
        process.attributes.clear();
        check(&process, "container 0123456789ab");
        process.container_id = None;
        check(&process, "shop.service");
        process.systemd_unit = None;
        check(&process, "/srv/shop");
    }

    #[track_caller]
    fn check(process: &Process, want: &str) {
        assert_eq!(Workload::of(process).to_string(), want);
    }
}
