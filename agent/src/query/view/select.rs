//! Which processes and which times a filter lets through.

use std::time::Duration;

use globset::{GlobBuilder, GlobMatcher};

use super::{Refusal, shapes};
use crate::{
    clock::Ktime,
    query::{proto::Filter, snapshot::Snapshot},
    targets::process::Process,
};

/// A filter, ready to be applied.
pub(crate) struct Selection<'a> {
    filter: &'a Filter,
    exe: Option<GlobMatcher>,
    earliest: Option<Ktime>,
}

impl<'a> Selection<'a> {
    pub(crate) fn new(filter: &'a Filter, snapshot: &Snapshot) -> Result<Self, Refusal> {
        let exe = filter.exe.as_deref().map(glob).transpose()?;
        let earliest = filter.since_ns.map(|since_ns| snapshot.at.minus(Duration::from_nanos(since_ns)));
        Ok(Self { filter, exe, earliest })
    }

    /// Whether a process is asked for.
    pub(crate) fn process(&self, process: &Process) -> bool {
        let Filter { pid, service, exe: _, container, pod, namespace, .. } = self.filter;
        pid.is_none_or(|it| process.tgid.0 == it)
            && service.as_ref().is_none_or(|it| process.service.name == *it)
            && self.exe.as_ref().is_none_or(|it| it.is_match(&process.exe))
            && container
                .as_ref()
                .is_none_or(|it| process.container_id.as_ref().is_some_and(|id| id.starts_with(it)))
            && pod.as_ref().is_none_or(|it| in_pod(process, it))
            && namespace.as_deref().is_none_or(|it| shapes::namespace(process) == Some(it))
    }

    /// Whether anything about the process matters. If not, what has no process passes too.
    pub(crate) fn asks_for_processes(&self) -> bool {
        let Filter { pid, service, exe, container, pod, namespace, .. } = self.filter;
        pid.is_some() || [service, exe, container, pod, namespace].iter().any(|it| it.is_some())
    }

    /// Whether what was last seen then is recent enough.
    pub(crate) fn time(&self, last_seen: Ktime) -> bool {
        self.earliest.is_none_or(|earliest| earliest <= last_seen)
    }
}

fn in_pod(process: &Process, asked: &str) -> bool {
    shapes::pod(process) == Some(asked) || process.pod_uid.as_deref() == Some(asked)
}

fn glob(given: &str) -> Result<GlobMatcher, Refusal> {
    match GlobBuilder::new(given).build() {
        Ok(glob) => Ok(glob.compile_matcher()),
        Err(source) => Err(Refusal::BadGlob { given: given.to_owned(), source: Box::new(source) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::samples;

    #[test]
    fn each_selector_lets_its_own_through() {
        check(|_| (), true);
        check(|it| it.pid = Some(41), true);
        check(|it| it.pid = Some(42), false);
        check(|it| it.service = Some("shop".to_owned()), true);
        check(|it| it.service = Some("sho".to_owned()), false);
        check(|it| it.exe = Some("/srv/*".to_owned()), true);
        check(|it| it.exe = Some("*/cart".to_owned()), false);
        check(|it| it.container = Some("0123".to_owned()), true);
        check(|it| it.container = Some("123".to_owned()), false);
        check(|it| it.pod = Some("shop-1".to_owned()), true);
        check(|it| it.pod = Some("shop-2".to_owned()), false);
        check(|it| it.namespace = Some("prod".to_owned()), true);
        check(|it| it.namespace = Some("test".to_owned()), false);
    }

    #[test]
    fn a_broken_glob_is_named() {
        let filter = Filter { exe: Some("[".to_owned()), ..Filter::default() };
        let error = Selection::new(&filter, &samples::snapshot()).err().unwrap();
        assert_eq!(error.to_string(), "`[` is no glob");
    }

    #[test]
    fn since_counts_from_the_snapshot() {
        let snapshot = samples::snapshot();
        let filter = Filter { since_ns: Some(1_000), ..Filter::default() };
        let selection = Selection::new(&filter, &snapshot).unwrap();
        assert!(selection.time(snapshot.at.minus(Duration::from_nanos(1_000))));
        assert!(!selection.time(snapshot.at.minus(Duration::from_nanos(1_001))));
    }

    #[track_caller]
    fn check(set: fn(&mut Filter), want: bool) {
        let mut filter = Filter::default();
        set(&mut filter);
        let selection = Selection::new(&filter, &samples::snapshot()).unwrap();
        assert_eq!(selection.process(&samples::shop()), want, "{filter:?}");
    }
}
