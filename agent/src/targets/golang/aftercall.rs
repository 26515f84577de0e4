//! The place behind a call where its results are still in their registers.
//!
//! Go tests an error right after the call that gave it, and the kernel emulates the jump of that
//! test: results without a probe on a return, which would be stepped over or kill the process.

use std::ops::RangeInclusive;

use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, Register};

use super::{emulated, points::PointKind, prologue::writes};

/// How far the jump may be from the call.
const MAX_BETWEEN: usize = 6;
/// Points of one name; the compiler duplicates a call once or twice. A probe at each of thousands
/// would be paid by the kernel.
pub(crate) const MAX_POINTS: usize = 8;
const RESULTS: [Register; 4] = [Register::RAX, Register::RBX, Register::RCX, Register::RDI];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoAfterCall {
    NoCall,
    ResultsLost,
    ReachedOtherwise,
    TooMany,
}

/// The addresses of the points behind the calls of `callee` in `code`, which starts at `address`.
pub(crate) fn after_calls(code: &[u8], address: u64, callee: u64) -> Result<Vec<u64>, NoAfterCall> {
    let function = Decoded::new(code, address);
    let mut points = Vec::new();
    for call in function.calls_of(callee) {
        let point = function.point_behind(call)?;
        let point_address = function.steps[point].instruction.ip();
        if function.is_reached_otherwise(call + 1..=point) {
            return Err(NoAfterCall::ReachedOtherwise);
        }
        // Calls come in order, and so do their points.
        if points.last() == Some(&point_address) {
            continue;
        }
        if points.len() == MAX_POINTS {
            return Err(NoAfterCall::TooMany);
        }
        points.push(point_address);
    }
    if points.is_empty() { Err(NoAfterCall::NoCall) } else { Ok(points) }
}

struct Step {
    instruction: Instruction,
    emulated: Option<PointKind>,
    /// Goes on with the next instruction and leaves the results of a call alone.
    keeps_results: bool,
}

struct Decoded {
    steps: Vec<Step>,
    /// Where jumps go that do not come from right behind a call, as that of HTTP/2 does. In order.
    strays: Vec<u64>,
}

impl Decoded {
    fn new(code: &[u8], address: u64) -> Self {
        let mut decoder = Decoder::with_ip(64, code, address, DecoderOptions::NONE);
        let mut info = InstructionInfoFactory::new();
        let mut steps = Vec::new();
        while decoder.can_decode() {
            let start = decoder.position();
            let instruction = decoder.decode();
            let keeps_results = !instruction.is_invalid()
                && instruction.flow_control() == FlowControl::Next
                && !info
                    .info(&instruction)
                    .used_registers()
                    .iter()
                    .any(|it| writes(it.access()) && RESULTS.contains(&it.register().full_register()));
            let emulated = emulated::kind(&code[start..decoder.position()]);
            steps.push(Step { instruction, emulated, keeps_results });
        }
        let mut decoded = Self { steps, strays: Vec::new() };
        decoded.strays = decoded.find_strays();
        decoded
    }

    fn calls_of(&self, callee: u64) -> impl Iterator<Item = usize> {
        self.steps.iter().enumerate().filter_map(move |(index, step)| {
            let calls =
                step.emulated == Some(PointKind::Call) && step.instruction.near_branch_target() == callee;
            calls.then_some(index)
        })
    }

    fn point_behind(&self, call: usize) -> Result<usize, NoAfterCall> {
        for (index, step) in self.steps.iter().enumerate().skip(call + 1).take(MAX_BETWEEN + 1) {
            match step.emulated {
                Some(PointKind::Jcc | PointKind::Nop | PointKind::Call | PointKind::Jmp) => return Ok(index),
                _ if step.keeps_results => {}
                _ => break,
            }
        }
        Err(NoAfterCall::ResultsLost)
    }

    fn is_reached_otherwise(&self, range: RangeInclusive<usize>) -> bool {
        let [first, last] = [*range.start(), *range.end()].map(|it| self.steps[it].instruction.ip());
        let from = self.strays.partition_point(|it| *it < first);
        self.strays.get(from).is_some_and(|it| *it <= last)
    }

    fn find_strays(&self) -> Vec<u64> {
        let jumps = self.steps.iter().enumerate().filter(|(index, step)| {
            let flow = step.instruction.flow_control();
            let jumps = matches!(flow, FlowControl::ConditionalBranch | FlowControl::UnconditionalBranch);
            jumps && !self.is_behind_call(*index)
        });
        let mut strays: Vec<u64> = jumps.map(|(_, step)| step.instruction.near_branch_target()).collect();
        strays.sort_unstable();
        strays
    }

    fn is_behind_call(&self, index: usize) -> bool {
        for step in self.steps[..index].iter().rev().take(MAX_BETWEEN + 1) {
            if matches!(step.instruction.flow_control(), FlowControl::Call | FlowControl::IndirectCall) {
                return true;
            }
            if !step.keeps_results {
                return false;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: u64 = 0x1000;
    const CALLEE: u64 = 0x1100;
    const TEST_RBX: &[u8] = &[0x48, 0x85, 0xdb];
    const JE: &[u8] = &[0x74, 0x20];
    const SPILL: &[u8] = &[0x48, 0x89, 0x44, 0x24, 0x08];

    #[test]
    fn the_jump_of_the_error_test() {
        check(&[&call(0), TEST_RBX, JE], Ok(vec![8]));
        check(&[&call(0), SPILL, TEST_RBX, JE], Ok(vec![13]));
        check(&[&call(0), &[0x90], TEST_RBX, JE], Ok(vec![5]));
        check(&[&call(0), &[0x0f, 0x1f, 0x40, 0], TEST_RBX, JE], Ok(vec![12]));
    }

    #[test]
    fn each_call_has_its_point() {
        check(&[&call(0), TEST_RBX, JE, &call(10), TEST_RBX, JE], Ok(vec![8, 18]));
    }

    #[test]
    fn without_the_call_there_is_none() {
        check(&[TEST_RBX, JE], Err(NoAfterCall::NoCall));
        check(&[&[0xe8, 0, 0, 0, 0], TEST_RBX, JE], Err(NoAfterCall::NoCall));
        check(&[], Err(NoAfterCall::NoCall));
    }

    #[test]
    fn a_result_overwritten_before_the_jump() {
        for overwrite in [
            &[0x48, 0x89, 0xd8][..],         // mov rax, rbx
            &[0x31, 0xdb],                   // xor ebx, ebx
            &[0xb1, 0x01],                   // mov cl, 1
            &[0x48, 0x8b, 0x7c, 0x24, 0x08], // mov rdi, [rsp+8]
        ] {
            check(&[&call(0), overwrite, TEST_RBX, JE], Err(NoAfterCall::ResultsLost));
        }
        check(&[&call(0), &[0x48, 0x89, 0xc2], TEST_RBX, JE], Ok(vec![11])); // mov rdx, rax
    }

    #[test]
    fn too_far_or_cut_off() {
        let spills = SPILL.repeat(7);
        check(&[&call(0), &spills, JE], Err(NoAfterCall::ResultsLost));
        check(&[&call(0), TEST_RBX], Err(NoAfterCall::ResultsLost));
        check(&[&call(0), &[0xc3]], Err(NoAfterCall::ResultsLost));
        check(&[&call(0), &[0xff, 0xd1], TEST_RBX, JE], Err(NoAfterCall::ResultsLost));
    }

    #[test]
    fn a_jump_from_elsewhere_is_told() {
        // xor ebx, ebx; jmp to the test: no call was made on that way.
        let elsewhere = [0x31, 0xdb, 0xeb, 0x05];
        check(&[&elsewhere, &call(4), TEST_RBX, JE], Err(NoAfterCall::ReachedOtherwise));
        // call rcx; jmp to the test: the results of another call, as of HTTP/2.
        let other_call = [0xff, 0xd1, 0xeb, 0x05];
        check(&[&other_call, &call(4), TEST_RBX, JE], Ok(vec![12]));
        // call rcx; xor ebx, ebx; jmp: a result of that call is lost.
        let lost = [0xff, 0xd1, 0x31, 0xdb, 0xeb, 0x05];
        check(&[&lost, &call(6), TEST_RBX, JE], Err(NoAfterCall::ReachedOtherwise));
        // A jump to the call itself is the way to the point.
        check(&[&[0xeb, 0x00], &call(2), TEST_RBX, JE], Ok(vec![10]));
    }

    /// A hostile function full of calls must not take time by their square, nor a probe for each.
    #[test]
    fn many_calls_are_cheap_and_refused() {
        let calls = |n| (0..n).flat_map(|n| [&call(n * 10)[..], TEST_RBX, JE].concat()).collect::<Vec<u8>>();
        let points = |n| after_calls(&calls(n), ADDRESS, CALLEE).map(|it| it.len());
        assert_eq!(points(MAX_POINTS as i32), Ok(MAX_POINTS));
        assert_eq!(points(12_000), Err(NoAfterCall::TooMany));
        // None of them is the callee's: all are looked at.
        assert_eq!(after_calls(&calls(12_000), ADDRESS, CALLEE + 1), Err(NoAfterCall::NoCall));
    }

    #[track_caller]
    fn check(parts: &[&[u8]], want: Result<Vec<u64>, NoAfterCall>) {
        let code = parts.concat();
        let want = want.map(|offsets| offsets.into_iter().map(|it| ADDRESS + it).collect());
        assert_eq!(after_calls(&code, ADDRESS, CALLEE), want, "{code:02x?}");
    }

    /// `call` of the callee, placed `offset` bytes behind the start.
    fn call(offset: i32) -> [u8; 5] {
        let [a, b, c, d] = ((CALLEE - ADDRESS) as i32 - offset - 5).to_le_bytes();
        [0xe8, a, b, c, d]
    }
}
