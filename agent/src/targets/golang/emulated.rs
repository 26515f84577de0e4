//! The instructions that the kernel emulates under a uprobe instead of stepping over them.

use super::points::PointKind;

/// What the kernel makes of one instruction, given as its bytes. Nothing, if it has to be stepped.
///
/// Longer no-ops are left out on purpose: kernels before 6.8 step over them.
pub(crate) fn kind(instruction: &[u8]) -> Option<PointKind> {
    Some(match instruction {
        [0x55] => PointKind::PushRbp,
        [0x50..=0x57] | [0x41, 0x50..=0x57] => PointKind::Push,
        [0x90] => PointKind::Nop,
        [0xe8, _, _, _, _] => PointKind::Call,
        [0xeb, _] | [0xe9, _, _, _, _] => PointKind::Jmp,
        [0x70..=0x7f, _] | [0x0f, 0x80..=0x8f, _, _, _, _] => PointKind::Jcc,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_kernel_emulates() {
        check(&[0x55], Some(PointKind::PushRbp));
        check(&[0x41, 0x57], Some(PointKind::Push));
        check(&[0x90], Some(PointKind::Nop));
        check(&[0xe8, 1, 2, 3, 4], Some(PointKind::Call));
        check(&[0xeb, 0xfe], Some(PointKind::Jmp));
        check(&[0x76, 0x10], Some(PointKind::Jcc));
        check(&[0x0f, 0x86, 1, 0, 0, 0], Some(PointKind::Jcc));
        check(&[0x49, 0x3b, 0x66, 0x10], None);
        check(&[0xc3], None);
        check(&[0x2e, 0x76, 0x10], None);
        check(&[0x66, 0x90], None);
        check(&[0x0f, 0x1f, 0x40, 0x00], None);
        check(&[0xff, 0xd1], None);
        check(&[], None);
    }

    #[track_caller]
    fn check(bytes: &[u8], want: Option<PointKind>) {
        assert_eq!(kind(bytes), want, "{bytes:02x?}");
    }
}
