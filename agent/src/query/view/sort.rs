//! Sorts rows by the name of a column, and cuts them.

use std::cmp::{Ordering, Reverse};

use super::Refusal;
use crate::query::proto::Filter;

/// A name for `--sort` and the order it stands for.
pub(crate) type Column<T> = (&'static str, fn(&T, &T) -> Ordering);

/// A name for `--sort` and what is the larger the earlier it comes.
pub(crate) type Amount<T> = (&'static str, fn(&T) -> u64);

/// Without a name, by the first of `columns`.
pub(crate) fn sort_and_cut<T>(
    rows: &mut Vec<&T>,
    columns: &[Column<T>],
    filter: &Filter,
) -> Result<(), Refusal> {
    if let Some(order) = asked(columns, filter)? {
        rows.sort_by(|a, b| order(a, b));
    }
    cut(rows, filter);
    Ok(())
}

/// The largest first; equals by `id`, so that tables do not dance. `of` is what the columns look at. Each
/// row is looked at once: ten thousand do not fit into the caches of the processor.
pub(crate) fn largest_and_cut<R, T>(
    rows: &mut Vec<R>,
    columns: &[Amount<T>],
    of: impl Fn(&R) -> &T,
    id: impl Fn(&R) -> u64,
    filter: &Filter,
) -> Result<(), Refusal> {
    if let Some(amount) = asked(columns, filter)? {
        rows.sort_by_cached_key(|row| (Reverse(amount(of(row))), id(row)));
    }
    cut(rows, filter);
    Ok(())
}

fn cut<R>(rows: &mut Vec<R>, filter: &Filter) {
    if let Some(limit) = filter.limit {
        rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    }
}

fn asked<F: Copy>(columns: &[(&'static str, F)], filter: &Filter) -> Result<Option<F>, Refusal> {
    match filter.sort.as_deref() {
        None => Ok(columns.first().map(|(_, order)| *order)),
        Some(given) => {
            let column = columns.iter().find(|(name, _)| *name == given);
            Ok(Some(column.ok_or_else(|| unknown(given, columns))?.1))
        }
    }
}

fn unknown<F>(given: &str, columns: &[(&'static str, F)]) -> Refusal {
    let known: Vec<_> = columns.iter().map(|(name, _)| *name).collect();
    Refusal::UnknownColumn { given: given.to_owned(), known: known.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[Column<i32>] = &[("up", |a, b| a.cmp(b)), ("down", |a, b| b.cmp(a))];

    #[test]
    fn sorts_by_the_first_column_or_the_one_named() {
        check(None, None, &[1, 2, 3]);
        check(Some("down"), None, &[3, 2, 1]);
        check(Some("down"), Some(2), &[3, 2]);
        check(None, Some(0), &[]);
        check(None, Some(u64::MAX), &[1, 2, 3]);
    }

    #[test]
    fn the_largest_come_first_and_equals_stay_in_order() {
        let amounts: &[Amount<(u64, u64)>] = &[("amount", |it| it.1)];
        let rows = [(3, 5), (1, 5), (2, 9)];
        let mut sorted = rows.to_vec();
        largest_and_cut(&mut sorted, amounts, |it| it, |it| it.0, &Filter::default()).unwrap();
        assert_eq!(sorted, [(2, 9), (1, 5), (3, 5)]);
    }

    #[test]
    fn an_unknown_column_is_answered_with_the_known_ones() {
        let filter = Filter { sort: Some("sideways".to_owned()), ..Filter::default() };
        let error = sort_and_cut(&mut vec![&1], COLUMNS, &filter).unwrap_err();
        assert_eq!(error.to_string(), "`sideways` is no column to sort by; these are: up, down");
    }

    #[track_caller]
    fn check(sort: Option<&str>, limit: Option<u64>, want: &[i32]) {
        let mut rows = vec![&2, &3, &1];
        let filter = Filter { sort: sort.map(str::to_owned), limit, ..Filter::default() };
        sort_and_cut(&mut rows, COLUMNS, &filter).unwrap();
        assert_eq!(rows, want.iter().collect::<Vec<_>>());
    }
}
