//! What is dear to make and outlives a checkout: `TASKSCOPE_CACHE`, else the user's cache folder.
//!
//! Every entry is named after all that it depends on, so that a stale one is never used.

use std::{env, path::PathBuf};

use anyhow::Context as _;

pub(crate) fn dir() -> anyhow::Result<PathBuf> {
    let base = |name: &str| env::var_os(name).filter(|it| !it.is_empty()).map(PathBuf::from);
    base("TASKSCOPE_CACHE")
        .or_else(|| base("XDG_CACHE_HOME").map(|it| it.join("taskscope")))
        .or_else(|| base("HOME").map(|it| it.join(".cache/taskscope")))
        .context("no place for the cache: set TASKSCOPE_CACHE")
}

/// FNV-1a of all parts. Names entries; the inputs are ours, so collisions made on purpose do not matter.
pub(crate) fn key<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for part in parts {
        // The length keeps ("ab", "c") and ("a", "bc") apart.
        for byte in part.len().to_le_bytes().iter().chain(part) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_depends_on_every_byte_and_border() {
        let all = [key([]), key([&b"ab"[..], b"c"]), key([&b"a"[..], b"bc"]), key([&b"abd"[..]])];
        for (n, one) in all.iter().enumerate() {
            assert_eq!(one.len(), 16);
            assert!(!all[..n].contains(one), "{all:?}");
        }
    }
}
