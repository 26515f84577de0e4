//! The place at the start of a function where all arguments are still in their registers.

use iced_x86::{
    Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, OpAccess, Register,
};

use super::{emulated, points::PointKind};

/// The check of the stack and the jump behind it take three instructions; some functions have a few more.
const MAX_INSTRUCTIONS: usize = 12;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoEntry {
    /// Everything before the first lost argument would be stepped over.
    SingleStep,
    /// Only the jump to the stack's growth can be probed, and the function starts anew after that.
    FiresTwice,
}

/// The offset of the point in `code`, a function that starts at `address`.
pub(crate) fn entry_point(code: &[u8], address: u64) -> Result<(u64, PointKind), NoEntry> {
    let mut decoder = Decoder::with_ip(64, code, address, DecoderOptions::NONE);
    let mut info = InstructionInfoFactory::new();
    let mut none = NoEntry::SingleStep;
    for _ in 0..MAX_INSTRUCTIONS {
        if !decoder.can_decode() {
            break;
        }
        let start = decoder.position();
        let instruction = decoder.decode();
        match emulated::kind(&code[start..decoder.position()]) {
            Some(PointKind::Jcc) if address.wrapping_add(start as u64) < instruction.near_branch_target() => {
                none = NoEntry::FiresTwice;
                continue;
            }
            Some(PointKind::Jcc) => break,
            Some(kind) => return Ok((start as u64, kind)),
            None => {}
        }
        if instruction.is_invalid()
            || instruction.flow_control() != FlowControl::Next
            || loses_argument(&mut info, &instruction)
        {
            break;
        }
    }
    Err(none)
}

fn loses_argument(info: &mut InstructionInfoFactory, instruction: &Instruction) -> bool {
    let info = info.info(instruction);
    info.used_memory().iter().any(|it| writes(it.access()))
        || info.used_registers().iter().any(|it| writes(it.access()) && carries_argument(it.register()))
}

pub(crate) fn writes(access: OpAccess) -> bool {
    matches!(access, OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite)
}

/// Go's internal calling convention: arguments, closure, goroutine, and the two of the stack.
fn carries_argument(register: Register) -> bool {
    use Register as R;
    let scratch = [R::R12, R::R13, R::R15, R::RIP];
    let register = register.full_register();
    (register.is_gpr64() && !scratch.contains(&register))
        || (register.is_vector_register() && register != R::ZMM15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behind_the_check_of_the_stack() {
        let small = [0x49, 0x3b, 0x66, 0x10, 0x76, 0x2b, 0x55, 0x48, 0x89, 0xe5];
        assert_eq!(entry_point(&small, 0x1000), Ok((6, PointKind::PushRbp)));
        let large = [
            &[0x4c, 0x8d, 0xa4, 0x24, 0xa8, 0xfe, 0xff, 0xff][..], // lea r12, [rsp-158h]
            &[0x4d, 0x3b, 0x66, 0x10],                             // cmp r12, [r14+10h]
            &[0x0f, 0x86, 0xb4, 0x10, 0, 0],                       // jbe
            &[0x55],
        ];
        assert_eq!(entry_point(&large.concat(), 0x1000), Ok((18, PointKind::PushRbp)));
        assert_eq!(entry_point(&[0x55], 0x1000), Ok((0, PointKind::PushRbp)));
    }

    #[test]
    fn a_lost_argument_ends_the_search() {
        let mov_rax = [0x48, 0x89, 0xd8, 0x55]; // mov rax, rbx; push rbp
        assert_eq!(entry_point(&mov_rax, 0x1000), Err(NoEntry::SingleStep));
        let store = [0x48, 0x89, 0x44, 0x24, 0x08, 0x55]; // mov [rsp+8], rax; push rbp
        assert_eq!(entry_point(&store, 0x1000), Err(NoEntry::SingleStep));
        let xmm = [0x0f, 0x28, 0xc1, 0x55]; // movaps xmm0, xmm1; push rbp
        assert_eq!(entry_point(&xmm, 0x1000), Err(NoEntry::SingleStep));
        let scratch = [0x49, 0x89, 0xc4, 0x55]; // mov r12, rax; push rbp
        assert_eq!(entry_point(&scratch, 0x1000), Ok((3, PointKind::PushRbp)));
    }

    #[test]
    fn the_jump_to_the_growth_alone_would_fire_twice() {
        let code = [0x49, 0x3b, 0x66, 0x10, 0x76, 0x2b, 0x48, 0x83, 0xec, 0x18]; // cmp; jbe; sub rsp, 18h
        assert_eq!(entry_point(&code, 0x1000), Err(NoEntry::FiresTwice));
    }

    #[test]
    fn a_loop_at_the_entry_is_no_check_of_the_stack() {
        let code = [0x48, 0x39, 0xd8, 0x76, 0xfb, 0x55]; // cmp rax, rbx; jbe back; push rbp
        assert_eq!(entry_point(&code, 0x1000), Err(NoEntry::SingleStep));
    }

    #[test]
    fn no_code_no_point() {
        for code in [&[][..], &[0xc3], &[0xcc; 64], &[0x49, 0x3b], &[0x06], &[0xff; 15]] {
            assert_eq!(entry_point(code, u64::MAX - 3), Err(NoEntry::SingleStep), "{code:02x?}");
        }
    }
}
