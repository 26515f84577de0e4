//! Statements that Go programs give to `database/sql`, one record for each, made when it ends.

use super::Header;

/// Values of [`Statement::kind`].
pub mod kind {
    pub const QUERY: u8 = 1;
    pub const EXEC: u8 = 2;
    /// Prepared by the program; whether it was asked for rows, its record does not say.
    pub const PREPARED: u8 = 3;
}

wire! {
    /// A statement, from the driver's begin to its answer. `header.ktime_ns` is its end. The first
    /// [`Statement::copied_bytes`] of its text follow the record.
    pub struct Statement: 104 bytes {
        pub header: Header,
        pub began_ktime_ns: u64,
        /// As of [`super::http::Call`], and so are the next three.
        pub trace_id: [u8; 16],
        pub span_id: [u8; 8],
        /// All zero: a root.
        pub parent_span_id: [u8; 8],
        pub goid: u64,
        /// Which driver: the method table of its connection, in the process. 0: it could not be read.
        pub driver_itab: u64,
        /// Which type of error: its method table, in the process. 0: none.
        pub error_itab: u64,
        /// Of the whole text.
        pub text_bytes: u32,
        pub copied_bytes: u16,
        pub kind: u8,
        /// As of [`super::http::Call`].
        pub joined_by: u8,
        pub reserved: [u8; 8],
    }
}

impl Statement {
    /// What was copied of the text, out of a whole record; `None` when it contradicts itself.
    #[must_use]
    pub fn text<'a>(&self, record: &'a [u8]) -> Option<&'a [u8]> {
        let copied_bytes = usize::from(self.copied_bytes);
        let is_possible = copied_bytes as u64 <= u64::from(self.text_bytes);
        record.get(size_of::<Self>()..)?.get(..copied_bytes).filter(|_| is_possible)
    }
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;
    use crate::Wire as _;

    /// A change here changes what old recordings mean: retire the kind and add a new one instead.
    #[test]
    fn offsets_are_frozen() {
        let statement = [
            ("header", offset_of!(Statement, header), 0),
            ("began_ktime_ns", offset_of!(Statement, began_ktime_ns), 24),
            ("trace_id", offset_of!(Statement, trace_id), 32),
            ("span_id", offset_of!(Statement, span_id), 48),
            ("parent_span_id", offset_of!(Statement, parent_span_id), 56),
            ("goid", offset_of!(Statement, goid), 64),
            ("driver_itab", offset_of!(Statement, driver_itab), 72),
            ("error_itab", offset_of!(Statement, error_itab), 80),
            ("text_bytes", offset_of!(Statement, text_bytes), 88),
            ("copied_bytes", offset_of!(Statement, copied_bytes), 92),
            ("kind", offset_of!(Statement, kind), 94),
            ("joined_by", offset_of!(Statement, joined_by), 95),
        ];
        for (name, got, want) in statement {
            assert_eq!(got, want, "{name}");
        }
    }

    #[test]
    fn a_text_that_is_not_all_there_is_none() {
        let statement = Statement { text_bytes: 3, copied_bytes: 3, ..Statement::zeroed() };
        let mut record = statement.as_bytes().to_vec();
        record.extend(b"SE");
        assert_eq!(statement.text(&record), None);
        record.extend(b"L of an older one");
        assert_eq!(statement.text(&record), Some(&b"SEL"[..]));
        let contradictory = Statement { text_bytes: 2, ..statement };
        assert_eq!(contradictory.text(&record), None);
    }
}
