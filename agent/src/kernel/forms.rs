//! Older kernels know fewer forms of programs; aya takes the form from the name of a section.

use std::borrow::Cow;

use aya::{
    sys::{UProbeMultiFeature, is_uprobe_multi_supported},
    util::KernelVersion,
};

use super::order;

/// The newer form of each kind of program, where there are two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forms {
    /// Links of many uprobes, since Linux 6.6; else perf events, one for each point.
    pub uprobe_multi: bool,
    /// XDP on packets of more than one page, since Linux 5.18; else drivers refuse large MTUs.
    pub xdp_frags: bool,
    /// Links of classifiers, since Linux 6.6; else filters of clsact.
    pub tcx: bool,
    /// What tells of each recv(), since Linux 6.3; else what tells of those on TCP.
    pub received: bool,
}

impl Forms {
    /// What the running kernel takes.
    #[must_use]
    pub fn of_this_kernel() -> Self {
        let uprobe_multi =
            is_uprobe_multi_supported(UProbeMultiFeature::LinkCreation).unwrap_or_else(|error| {
                tracing::debug!(%error, "Whether there are links of many uprobes cannot be told.");
                true
            });
        let since =
            |major, minor| KernelVersion::current().is_ok_and(|it| KernelVersion::new(major, minor, 0) <= it);
        Self { uprobe_multi, xdp_frags: since(5, 18), tcx: order::has_tcx(), received: since(6, 3) }
    }

    /// The object with the sections that are meant.
    pub(super) fn apply(self, object: &[u8]) -> Cow<'_, [u8]> {
        let mut object = Cow::Borrowed(object);
        if !self.uprobe_multi {
            cut(&mut object, b"uprobe.multi\0");
        }
        if !self.xdp_frags {
            cut(&mut object, b"xdp.frags\0");
        }
        object
    }
}

/// Ends each of these strings at its dot: in the table of section names, where the name of the
/// relocations shares the bytes, and in BTF, which says by name what belongs to which section.
fn cut(object: &mut Cow<'_, [u8]>, name: &[u8]) {
    let dot = name.iter().position(|byte| *byte == b'.').unwrap_or(name.len());
    let found: Vec<usize> =
        object.windows(name.len()).enumerate().filter(|(_, it)| *it == name).map(|(at, _)| at).collect();
    for at in found {
        object.to_mut()[at + dot] = 0;
    }
}

#[cfg(test)]
mod tests {
    use object::{Object as _, ObjectSection as _};

    use super::*;
    use crate::kernel::load::OBJECT;

    #[test]
    fn sections_have_the_names_of_the_form() {
        if OBJECT.is_empty() {
            return;
        }
        for (uprobe_multi, uprobe) in [(true, "uprobe.multi"), (false, "uprobe")] {
            for (xdp_frags, xdp) in [(true, "xdp.frags"), (false, "xdp")] {
                let applied = Forms { uprobe_multi, xdp_frags, tcx: true, received: true }.apply(OBJECT);
                let file = object::File::parse(&*applied).unwrap();
                let mut names: Vec<_> =
                    file.sections().filter_map(|it| it.name().ok().map(str::to_owned)).collect();
                names.retain(|it| it.starts_with("uprobe") || it.starts_with("xdp"));
                names.sort();
                assert_eq!(names, [uprobe, xdp]);
            }
        }
    }

    #[test]
    fn only_whole_names_are_cut() {
        let mut object = Cow::Borrowed(b".reluprobe.multi\0uprobe.multi.s\0xdp.frags\0".as_slice());
        cut(&mut object, b"uprobe.multi\0");
        assert_eq!(&*object, b".reluprobe\0multi\0uprobe.multi.s\0xdp.frags\0");
    }
}
