//! Sorts rows by the name of a column, and cuts them.

use std::cmp::Ordering;

use super::Refusal;
use crate::query::proto::Filter;

/// A name for `--sort` and the order it stands for.
pub(crate) type Column<T> = (&'static str, fn(&T, &T) -> Ordering);

/// Without a name, by the first of `columns`.
pub(crate) fn sort_and_cut<T>(
    rows: &mut Vec<&T>,
    columns: &[Column<T>],
    filter: &Filter,
) -> Result<(), Refusal> {
    let order = match filter.sort.as_deref() {
        None => columns.first().map(|(_, order)| *order),
        Some(given) => {
            let column = columns.iter().find(|(name, _)| *name == given);
            Some(column.ok_or_else(|| unknown(given, columns))?.1)
        }
    };
    if let Some(order) = order {
        rows.sort_by(|a, b| order(a, b));
    }
    if let Some(limit) = filter.limit {
        rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    }
    Ok(())
}

fn unknown<T>(given: &str, columns: &[Column<T>]) -> Refusal {
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
