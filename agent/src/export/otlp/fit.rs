//! Requests that a collector takes: gRPC servers refuse more than 4 MiB by default.

use prost::{Message, bytes::Bytes};

/// Before compression. The rest to 4 MiB is for what proxies add.
pub(in crate::export) const MAX_BYTES: usize = 3_500_000;

/// A request of as many of the first `items` as fit into `max_bytes`, and how many these are.
///
/// A single item is never split: if it is too large, the collector says so and it is counted.
pub(in crate::export) fn fit<T, M: Message>(
    items: &[T],
    max_bytes: usize,
    build: impl Fn(&[T]) -> M,
) -> (usize, Bytes) {
    let mut n_items = items.len();
    loop {
        let message = build(&items[..n_items]);
        if n_items <= 1 || message.encoded_len() <= max_bytes {
            return (n_items, Bytes::from(message.encode_to_vec()));
        }
        n_items /= 2;
    }
}

/// All `items`, in as few requests as halving gives.
pub(in crate::export) fn fit_all<T, M: Message>(items: &[T], build: impl Fn(&[T]) -> M) -> Vec<Bytes> {
    let mut rest = items;
    let mut bodies = Vec::new();
    while !rest.is_empty() {
        let (n_items, body) = fit(rest, MAX_BYTES, &build);
        bodies.push(body);
        rest = &rest[n_items..];
    }
    bodies
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_fit() {
        for (max_bytes, want) in [(1000, 8), (100, 4), (54, 4), (53, 2), (0, 1)] {
            let items = ["0123456789012"; 8];
            let (n_items, body) = fit(&items, max_bytes, |it| it.concat());
            assert_eq!(n_items, want, "{max_bytes}");
            assert_eq!(String::decode(body).unwrap(), items[..want].concat());
        }
    }

    #[test]
    fn nothing_is_left_out() {
        let items = vec!["x".repeat(MAX_BYTES / 3); 7];
        let bodies = fit_all(&items, |it| it.concat());
        let bytes: usize = bodies.iter().map(|it| String::decode(it.clone()).unwrap().len()).sum();
        assert_eq!(bytes, 7 * (MAX_BYTES / 3));
        assert!(bodies.iter().all(|it| it.len() <= MAX_BYTES));
        assert!(fit_all(&[], |_: &[u8]| String::new()).is_empty());
    }
}
