//! Statements of every dialect, whole and cut: the first byte says which. What is in quotes never comes through.

#![no_main]

use agent::assemble::sql::{
    redact::{Token, redacted, tokens},
    system::Dialect,
};
use libfuzzer_sys::fuzz_target;

/// Of a mark of what was cut.
const MORE_BYTES: usize = 3;

fuzz_target!(|bytes: &[u8]| {
    let Some((how, text)) = bytes.split_first() else {
        return;
    };
    let dialects = [Dialect::MySql, Dialect::Postgres, Dialect::Sqlite, Dialect::Unknown];
    let (dialect, is_cut) = (dialects[usize::from(how % 4)], how & 4 != 0);
    let tokens = tokens(text, is_cut, dialect);
    for (_, token) in &tokens {
        match token {
            Token::Word(word) => assert!(!word.starts_with(|it: char| it.is_ascii_digit()), "{word:?}"),
            Token::Quoted(name) => assert!(!name.contains(['\'', '"', '\n']), "{name:?}"),
            Token::Mark(mark) => assert!(!"'\"`\\ \n".contains(*mark), "{mark:?}"),
            Token::Private => {}
        }
    }
    // A name in one byte of quotes may be in two afterwards, and space is put before what ends the text.
    let shown = redacted(&tokens, is_cut);
    assert!(shown.len() <= text.len() + 2 + MORE_BYTES, "{shown:?}");
    assert!(!shown.contains(['\'', '\n', '\\']));
});
