//! Connections by their keys, one beside the other: a hash map of them would be half empty after it has grown.

use ahash::AHashMap;
use slab::Slab;

use super::key::Key;

#[derive(Debug)]
pub(super) struct Table<T> {
    slots: Slab<T>,
    places: AHashMap<Key, u32>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { slots: Slab::new(), places: AHashMap::new() }
    }
}

impl<T> Table<T> {
    #[must_use]
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    #[must_use]
    pub(super) fn get(&self, key: &Key) -> Option<&T> {
        self.slots.get(*self.places.get(key)? as usize)
    }

    #[must_use]
    pub(super) fn get_mut(&mut self, key: &Key) -> Option<&mut T> {
        self.slots.get_mut(*self.places.get(key)? as usize)
    }

    /// In the place of whatever has the key.
    pub(super) fn insert(&mut self, key: Key, value: T) {
        let slot = u32::try_from(self.slots.insert(value)).expect("there are not that many connections");
        if let Some(old) = self.places.insert(key, slot) {
            self.slots.remove(old as usize);
        }
    }

    pub(super) fn remove(&mut self, key: &Key) -> Option<T> {
        let value = self.slots.remove(self.places.remove(key)? as usize);
        // After very many, their memory is not kept for ever.
        if self.slots.is_empty() {
            *self = Self::default();
        }
        Some(value)
    }

    pub(super) fn for_each_mut(&mut self, mut visit: impl FnMut(&Key, &mut T)) {
        for (key, slot) in &self.places {
            if let Some(value) = self.slots.get_mut(*slot as usize) {
                visit(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_their_keys_and_slots_are_used_again() {
        let mut table = Table::default();
        let key = |n| Key::Isns(n, n);
        (0..3).for_each(|n| table.insert(key(n), n));
        assert_eq!(table.remove(&key(1)), Some(1));
        table.insert(key(7), 7);
        table.insert(key(7), 8);
        let mut all = Vec::new();
        table.for_each_mut(|key, value| all.push((*key, *value)));
        all.sort_by_key(|(_, value)| *value);
        assert_eq!(all, [(key(0), 0), (key(2), 2), (key(7), 8)]);
        let got = [1, 2, 7].map(|n| (table.get(&key(n)).copied(), table.get_mut(&key(n)).copied()));
        assert_eq!(got, [(None, None), (Some(2), Some(2)), (Some(8), Some(8))]);
        assert_eq!((table.len(), table.slots.capacity()), (3, 4));
        assert_eq!([0, 2, 7].map(|n| table.remove(&key(n))), [Some(0), Some(2), Some(8)]);
        assert_eq!((table.len(), table.slots.capacity()), (0, 0), "nothing is kept of nothing");
        assert_eq!(table.remove(&key(0)), None);
    }
}
