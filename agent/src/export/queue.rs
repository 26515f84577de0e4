//! Spans or log events that wait for export: bounded, the oldest go first when there is no room.

use std::{collections::VecDeque, sync::Arc};

#[derive(Debug)]
pub(super) struct Queue<T> {
    /// Of the first batch, `n_gone` items are gone already.
    batches: VecDeque<Arc<Vec<T>>>,
    n_gone: usize,
    n_items: usize,
    capacity: usize,
}

impl<T> Queue<T> {
    /// Room for at least one.
    pub(super) fn new(capacity: usize) -> Self {
        Self { batches: VecDeque::new(), n_gone: 0, n_items: 0, capacity: capacity.max(1) }
    }

    /// How many had to go.
    #[must_use]
    pub(super) fn push(&mut self, batch: Arc<Vec<T>>) -> u64 {
        self.n_items += batch.len();
        self.batches.push_back(batch);
        let excess = self.n_items.saturating_sub(self.capacity);
        self.remove(excess);
        excess as u64
    }

    /// The oldest, at most `n`; they stay.
    pub(super) fn oldest(&self, n: usize) -> Vec<&T> {
        self.batches.iter().flat_map(|batch| batch.iter()).skip(self.n_gone).take(n).collect()
    }

    /// The `n` oldest go.
    pub(super) fn remove(&mut self, n: usize) {
        let n = n.min(self.n_items);
        self.n_items -= n;
        self.n_gone += n;
        while let Some(first) = self.batches.front()
            && first.len() <= self.n_gone
        {
            self.n_gone -= first.len();
            self.batches.pop_front();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.n_items
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{assemble::span::Span, export::testing};

    #[test]
    fn first_in_first_out() {
        check("push 1 2; push 3; oldest 2; remove 2; oldest 2", "gone 0, saw 1 2, saw 3, left 3");
    }

    #[test]
    fn the_oldest_go_and_are_counted() {
        check("push 1 2; push 3 4 5; oldest 9", "gone 2, saw 3 4 5, left 3 4 5");
        check("push 1 2 3 4 5 6", "gone 3, left 4 5 6");
    }

    #[test]
    fn a_batch_goes_in_parts() {
        check("push 1 2 3; remove 1; oldest 1; remove 1; push 4", "gone 0, saw 2, left 3 4");
    }

    #[test]
    fn nothing_is_nothing() {
        check("oldest 5; remove 5; push 1", "gone 0, saw, left 1");
        check("push; push 1; oldest 1", "gone 0, saw 1, left 1");
    }

    #[test]
    fn no_room_is_room_for_one() {
        let mut queue = Queue::new(0);
        assert_eq!(queue.push(testing::spans(1..=2)), 1);
        assert_eq!(queue.len(), 1);
    }

    #[track_caller]
    fn check(script: &str, want: &str) {
        let mut queue = Queue::new(3);
        let (mut gone, mut text) = (0, String::new());
        for step in script.split("; ") {
            let mut words = step.split(' ');
            let step = words.next().unwrap();
            let numbers: Vec<usize> = words.map(|it| it.parse().unwrap()).collect();
            match step {
                "push" => {
                    let spans = numbers.iter().map(|n| testing::span(*n as u64)).collect();
                    gone += queue.push(Arc::new(spans));
                }
                "oldest" => text += &format!(", saw{}", names(&queue, numbers[0])),
                "remove" => queue.remove(numbers[0]),
                step => panic!("{step:?} is not a step"),
            }
        }
        assert_eq!(queue.oldest(9).len(), queue.len());
        assert_eq!(format!("gone {gone}{text}, left{}", names(&queue, 9)), want);
    }

    fn names(queue: &Queue<Span>, n: usize) -> String {
        queue.oldest(n).into_iter().map(|it| format!(" {}", it.goid)).collect()
    }
}
