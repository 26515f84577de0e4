//! Where a stripped program keeps its list of goroutines: told by the code that appends to it.

use iced_x86::{Decoder, DecoderOptions, Mnemonic};

/// Pointer, length and capacity of the slice are the only three consecutive words that the function moves.
pub(crate) fn find(allgadd: &[u8], address: u64) -> Option<u64> {
    let mut words = Vec::new();
    let mut decoder = Decoder::with_ip(64, allgadd, address, DecoderOptions::NONE);
    while decoder.can_decode() {
        let instruction = decoder.decode();
        if instruction.mnemonic() == Mnemonic::Mov && instruction.is_ip_rel_memory_operand() {
            words.push(instruction.ip_rel_memory_address());
        }
    }
    words.sort_unstable();
    words.dedup();
    words.windows(3).find_map(|it| match *it {
        [first, second, third] if second - first == 8 && third - second == 8 => Some(first),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_words_in_a_row() {
        let code = [load(0x2010, 0), load(0x2008, 7), load(0x2000, 14), load(0x1008, 21)].concat();
        assert_eq!(find(&code, 0x1000), Some(0x2000));
    }

    #[test]
    fn two_words_are_something_else() {
        let code = [load(0x2000, 0), load(0x2008, 7), load(0x2020, 14)].concat();
        assert_eq!(find(&code, 0x1000), None);
        assert_eq!(find(&[], 0x1000), None);
        assert_eq!(find(&[0xff; 40], u64::MAX), None);
    }

    /// `mov rax, [rip+…]`, placed `offset` bytes behind the start.
    fn load(target: u64, offset: u64) -> Vec<u8> {
        let distance = (target as i32 - (0x1000 + offset as i32 + 7)).to_le_bytes();
        [&[0x48, 0x8b, 0x05][..], &distance].concat()
    }
}
