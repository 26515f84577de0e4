//! Requests that a collector takes: gRPC servers refuse more than 4 MiB by default.

use prost::bytes::Bytes;

/// Before compression. The rest to 4 MiB is for what proxies add.
pub(in crate::export) const MAX_BYTES: usize = 3_500_000;

/// A request of as many of the first `items` as fit into `max_bytes`, and how many these are.
///
/// A single item is never split: if it is too large, the collector says so and it is counted.
pub(in crate::export) fn fit<T>(
    items: &[T],
    max_bytes: usize,
    encode: impl Fn(&[T]) -> Vec<u8>,
) -> (usize, Bytes) {
    let mut n_items = items.len();
    loop {
        let body = encode(&items[..n_items]);
        if n_items <= 1 || body.len() <= max_bytes {
            return (n_items, Bytes::from(body));
        }
        n_items /= 2;
    }
}

/// All `items`, in as few requests as halving gives.
pub(in crate::export) fn fit_all<T>(items: &[T], encode: impl Fn(&[T]) -> Vec<u8>) -> Vec<Bytes> {
    let mut rest = items;
    let mut bodies = Vec::new();
    while !rest.is_empty() {
        let (n_items, body) = fit(rest, MAX_BYTES, &encode);
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
        for (max_bytes, want) in [(1000, 8), (104, 8), (103, 4), (52, 4), (51, 2), (0, 1)] {
            let items = [*b"0123456789012"; 8];
            let (n_items, body) = fit(&items, max_bytes, |it| it.concat());
            assert_eq!(n_items, want, "{max_bytes}");
            assert_eq!(body.len(), 13 * want);
        }
    }

    #[test]
    fn nothing_is_left_out() {
        let items: Vec<_> = (0..7).map(|n| vec![n; MAX_BYTES / 3]).collect();
        let bodies = fit_all(&items, |it| it.concat());
        assert!(bodies.iter().all(|it| it.len() <= MAX_BYTES));
        assert!(bodies.concat() == items.concat());
        assert!(fit_all(&[], |_: &[u8]| Vec::new()).is_empty());
    }
}
