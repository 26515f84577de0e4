//! Texts that come again and again: methods, hosts, paths. Each is kept once.

use std::sync::Arc;

use ahash::AHashSet;

/// Paths that hold ids never come again: when there are so many, all are let go and kept anew.
const MAX_TEXTS: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct Texts {
    known: AHashSet<Arc<str>>,
}

impl Texts {
    /// What is no UTF-8 is replaced, character by character.
    pub(super) fn get(&mut self, bytes: &[u8]) -> Arc<str> {
        let text = String::from_utf8_lossy(bytes);
        if let Some(known) = self.known.get(&*text) {
            return Arc::clone(known);
        }
        if MAX_TEXTS <= self.known.len() {
            self.known.clear();
        }
        let new: Arc<str> = Arc::from(&*text);
        self.known.insert(Arc::clone(&new));
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_text_is_kept_once() {
        let mut texts = Texts::default();
        let (first, second) = (texts.get(b"/cart"), texts.get(b"/cart"));
        assert!(Arc::ptr_eq(&first, &second));
        assert_eq!(&*texts.get(b"/c\xffrt"), "/c\u{fffd}rt");
    }

    #[test]
    fn many_texts_do_not_fill_the_memory() {
        let mut texts = Texts::default();
        for n in 0..3 * MAX_TEXTS {
            texts.get(format!("/order/{n}").as_bytes());
            assert!(texts.known.len() <= MAX_TEXTS);
        }
    }
}
