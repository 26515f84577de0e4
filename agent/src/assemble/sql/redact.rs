//! A statement without its literals and comments.
//!
//! What was written in another dialect than is supposed, or is no statement at all, must not let a literal
//! through: whatever could be read in two ways ends the reading, and the rest is as private as a literal.

use super::system::Dialect;

/// In place of a literal, and of all that comes after what is not understood.
const PLACEHOLDER: char = '?';
/// Stands at the end of what was cut.
const ELLIPSIS: char = '…';

/// A part of a statement that may be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token<'a> {
    /// A keyword, a name or a parameter.
    Word(&'a str),
    /// A name in quotes, without them.
    Quoted(&'a str),
    /// Something private, which is left out.
    Private,
    /// One character of punctuation.
    Mark(char),
}

/// A token, and whether space is before it.
pub type Spaced<'a> = (bool, Token<'a>);

/// Splits the text, which may be cut anywhere.
#[must_use]
pub fn tokens(text: &[u8], is_cut: bool, dialect: Dialect) -> Vec<Spaced<'_>> {
    let (text, is_text) = utf8(text, is_cut);
    let mut lexer = Lexer { rest: text, dialect };
    let mut tokens = Vec::new();
    loop {
        match lexer.next() {
            Ok(Some(token)) => tokens.push(token),
            Ok(None) if is_text => return tokens,
            Ok(None) | Err(Stop) => {
                tokens.push((true, Token::Private));
                return tokens;
            }
        }
    }
}

/// The text as it may be shown.
#[must_use]
pub fn redacted(tokens: &[Spaced<'_>], is_cut: bool) -> String {
    let mut out = String::new();
    for (is_apart, token) in tokens {
        if *is_apart && !out.is_empty() {
            out.push(' ');
        }
        match token {
            Token::Word(word) => out.push_str(word),
            Token::Quoted(name) => out.extend(["\"", name, "\""]),
            Token::Private => out.push(PLACEHOLDER),
            Token::Mark(mark) => out.push(*mark),
        }
    }
    if is_cut {
        out.push(ELLIPSIS);
    }
    out
}

/// The front of it that is text, and whether that is all; a character that the cut halved is no fault.
fn utf8(text: &[u8], is_cut: bool) -> (&str, bool) {
    match str::from_utf8(text) {
        Ok(text) => (text, true),
        Err(error) => {
            let front = text.get(..error.valid_up_to()).and_then(|it| str::from_utf8(it).ok());
            (front.unwrap_or_default(), is_cut && error.error_len().is_none())
        }
    }
}

/// What comes next is not understood.
#[derive(Debug)]
struct Stop;

struct Lexer<'a> {
    rest: &'a str,
    dialect: Dialect,
}

impl<'a> Lexer<'a> {
    fn next(&mut self) -> Result<Option<Spaced<'a>>, Stop> {
        let before = self.rest.len();
        self.space()?;
        let is_apart = self.rest.len() < before;
        let Some(first) = self.rest.chars().next() else {
            return Ok(None);
        };
        Ok(Some((is_apart, self.token(first)?)))
    }

    /// Skips space and comments.
    fn space(&mut self) -> Result<(), Stop> {
        loop {
            let before = self.rest.len();
            self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
            self.rest = self.behind_comment()?;
            if self.rest.len() == before {
                return Ok(());
            }
        }
    }

    fn behind_comment(&self) -> Result<&'a str, Stop> {
        let (rest, dialect) = (self.rest, self.dialect);
        if let Some(comment) = rest.strip_prefix("--") {
            // Two minuses may be just that, unless space follows.
            let is_clear = matches!(dialect, Dialect::Postgres | Dialect::Sqlite)
                || comment.is_empty()
                || comment.starts_with([' ', '\t', '\n']);
            return if is_clear { next_line(comment) } else { Err(Stop) };
        }
        if let Some(comment) = rest.strip_prefix('#')
            && dialect == Dialect::MySql
        {
            return next_line(comment);
        }
        rest.strip_prefix("/*").map_or(Ok(rest), |comment| self.behind_block(comment))
    }

    /// Some dialects put comments into comments, and what is in one for MySQL may be run.
    fn behind_block(&self, mut comment: &'a str) -> Result<&'a str, Stop> {
        if self.dialect == Dialect::MySql && (comment.starts_with('!') || comment.starts_with("M!")) {
            return Err(Stop);
        }
        let mut depth = 1;
        while depth != 0 {
            let Some(end) = comment.find("*/") else {
                return Ok("");
            };
            let inner = comment.find("/*").filter(|begin| *begin < end);
            let step = match (inner, self.dialect) {
                (Some(_), Dialect::Unknown) => return Err(Stop),
                (Some(begin), Dialect::Postgres) => {
                    depth += 1;
                    begin
                }
                _ => {
                    depth -= 1;
                    end
                }
            };
            comment = comment.get(step + 2..).unwrap_or_default();
        }
        Ok(comment)
    }

    fn token(&mut self, first: char) -> Result<Token<'a>, Stop> {
        match (first, self.dialect) {
            ('\'', _) => self.string(first),
            ('"', Dialect::Postgres) => self.name(first),
            ('"', _) => self.string(first),
            ('`', Dialect::MySql | Dialect::Sqlite | Dialect::Unknown) => self.name(first),
            ('[', Dialect::Sqlite | Dialect::Unknown) => self.name(']'),
            ('[' | '#', Dialect::Postgres) => Ok(self.mark(first)),
            ('$', _) => self.dollar(),
            ('.', _) if self.rest[1..].starts_with(|it: char| it.is_ascii_digit()) => Ok(self.number()),
            ('0'..='9', _) => Ok(self.number()),
            ('/', _) if self.rest.starts_with("//") => Err(Stop),
            _ if is_word(first) => self.word(),
            _ if "()],;.+-*/%=<>!&|^~?{}@:".contains(first) => Ok(self.mark(first)),
            _ => Err(Stop),
        }
    }

    /// Up to a quote that is not doubled. A backslash before it escapes it in some places and not in others,
    /// and three quotes are one in some.
    fn string(&mut self, quote: char) -> Result<Token<'a>, Stop> {
        let body = &self.rest[1..];
        if self.dialect == Dialect::Unknown && body.chars().take_while(|it| *it == quote).count() == 2 {
            return Err(Stop);
        }
        let (mut rest, mut is_escaped) = (body, false);
        while let Some(next) = rest.chars().next() {
            rest = &rest[next.len_utf8()..];
            if next != quote {
                is_escaped = next == '\\' && !is_escaped;
            } else if is_escaped {
                return Err(Stop);
            } else if let Some(doubled) = rest.strip_prefix(quote) {
                rest = doubled;
            } else {
                break;
            }
        }
        self.rest = rest;
        Ok(Token::Private)
    }

    /// Plain, and whole: one with a quote of any kind in it is left out.
    fn name(&mut self, quote: char) -> Result<Token<'a>, Stop> {
        let (name, behind) = self.rest[1..].split_once(quote).ok_or(Stop)?;
        if behind.starts_with(quote) || name.contains(['\'', '"', '`', '[', '\\', '\n', '\r']) {
            return Err(Stop);
        }
        self.rest = behind;
        Ok(Token::Quoted(name))
    }

    /// `$1`, `$name`, or what is between `$tag$` and `$tag$`.
    fn dollar(&mut self) -> Result<Token<'a>, Stop> {
        let name_bytes = self.rest[1..].find(|it| !is_word(it) || it == '$').unwrap_or(self.rest.len() - 1);
        let (parameter, behind) = self.rest.split_at(1 + name_bytes);
        let is_number = name_bytes != 0 && parameter[1..].bytes().all(|it| it.is_ascii_digit());
        if let Some(body) = behind.strip_prefix('$') {
            if self.dialect != Dialect::Postgres || is_number {
                return Err(Stop);
            }
            let tag = &self.rest[..parameter.len() + 1];
            self.rest = body.split_once(tag).map_or("", |(_, behind)| behind);
            return Ok(Token::Private);
        }
        if !is_number && (self.dialect != Dialect::Sqlite || name_bytes == 0) {
            return Err(Stop);
        }
        self.rest = behind;
        Ok(Token::Word(parameter))
    }

    /// With whatever is written together with it.
    fn number(&mut self) -> Token<'a> {
        let bytes = self.rest.as_bytes();
        let is_digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
        let end = self.rest.char_indices().find(|(at, it)| {
            let is_exponent =
                matches!(it, '+' | '-') && matches!(bytes[at - 1], b'e' | b'E') && is_digit(at + 1);
            !(is_word(*it) || *it == '.' || is_exponent)
        });
        self.rest = end.map_or("", |(at, _)| &self.rest[at..]);
        Token::Private
    }

    /// A quote right behind it belongs to it, and is of a kind that only some dialects know.
    fn word(&mut self) -> Result<Token<'a>, Stop> {
        let end = self.rest.find(|it| !is_word(it)).unwrap_or(self.rest.len());
        let (word, behind) = self.rest.split_at(end);
        let is_prefix = behind.starts_with(['\'', '"']);
        let is_known = self.dialect != Dialect::Unknown
            || ["e", "n", "b", "x"].iter().any(|it| it.eq_ignore_ascii_case(word));
        if is_prefix && !is_known {
            return Err(Stop);
        }
        self.rest = behind;
        Ok(Token::Word(word))
    }

    fn mark(&mut self, mark: char) -> Token<'a> {
        self.rest = &self.rest[mark.len_utf8()..];
        Token::Mark(mark)
    }
}

fn is_word(it: char) -> bool {
    it.is_alphanumeric() || matches!(it, '_' | '$')
}

/// What a lone carriage return ends is not the same everywhere.
fn next_line(comment: &str) -> Result<&str, Stop> {
    let (line, behind) = comment.find('\n').map_or((comment, ""), |end| comment.split_at(end));
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.contains('\r') { Err(Stop) } else { Ok(behind) }
}

#[cfg(test)]
mod tests;
