//! Types that statements speak of: in the kernel half they are method tables, which mean nothing elsewhere.

use std::{collections::HashMap, sync::Arc};

/// So many of each are kept; a program has some dozens.
const MAX_TYPES: usize = 1024;

/// Method tables of one process, by address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SqlTypes {
    drivers: HashMap<u64, Arc<str>>,
    errors: HashMap<u64, Arc<str>>,
}

impl SqlTypes {
    /// The package of a driver's connection, as `github.com/lib/pq`.
    #[must_use]
    pub fn driver(&self, itab: u64) -> Option<&Arc<str>> {
        self.drivers.get(&itab)
    }

    /// The type of an error as Go prints it: `*pq.Error`.
    #[must_use]
    pub fn error(&self, itab: u64) -> Option<&Arc<str>> {
        self.errors.get(&itab)
    }

    pub fn add_driver(&mut self, itab: u64, package: &str) {
        add(&mut self.drivers, itab, package);
    }

    pub fn add_error(&mut self, itab: u64, name: &str) {
        add(&mut self.errors, itab, name);
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.drivers.is_empty() && self.errors.is_empty()
    }
}

fn add(types: &mut HashMap<u64, Arc<str>>, itab: u64, name: &str) {
    if types.len() < MAX_TYPES {
        types.insert(itab, name.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_told_apart_and_bounded() {
        let mut types = SqlTypes::default();
        types.add_driver(1, "github.com/lib/pq");
        (0..2 * MAX_TYPES as u64).for_each(|itab| types.add_error(itab, "*pq.Error"));
        assert_eq!(types.driver(1).map(|it| &**it), Some("github.com/lib/pq"));
        assert_eq!((types.driver(2), types.errors.len()), (None, MAX_TYPES));
    }
}
