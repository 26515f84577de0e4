//! Rust text with comments, strings and tests blanked, so that rules can look for words and braces.
//!
//! Not a parser: it knows comments (nested too), strings (raw too), characters and lifetimes.
//! Blanked text keeps its lines.

pub(super) struct Source {
    /// Without comments and the inside of strings.
    pub(super) code: String,
    /// `code` without the modules under `#[cfg(test)]`.
    pub(super) production: String,
}

impl Source {
    pub(super) fn new(text: &str) -> Self {
        let code = blank(text);
        let production = without_tests(&code);
        Self { code, production }
    }
}

/// Where `word` stands as a whole: lines, counted from one, and offsets.
pub(super) fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = (usize, usize)> + 'a {
    let in_word = |it: char| it.is_alphanumeric() || it == '_';
    code.match_indices(word)
        .map(|(at, _)| at)
        .filter(move |at| !code[..*at].ends_with(in_word) && !code[at + word.len()..].starts_with(in_word))
        .map(|at| (code[..at].matches('\n').count() + 1, at))
}

/// Lines, counted from one, with a path that begins with a crate whose name begins with `name`.
pub(super) fn crates<'a>(code: &'a str, name: &'a str) -> impl Iterator<Item = usize> + 'a {
    let in_word = |it: char| it.is_alphanumeric() || it == '_';
    code.match_indices(name)
        .map(|(at, _)| at)
        .filter(move |at| {
            let rest = code[at + name.len()..].trim_start_matches(in_word);
            !code[..*at].ends_with(in_word) && rest.starts_with("::")
        })
        .map(|at| code[..at].matches('\n').count() + 1)
}

fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = end_of_blank(text, at).min(bytes.len());
        if end == at {
            at += 1;
        } else {
            wipe(&mut out[at..end]);
            at = end;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Where the comment, string or character that begins at `at` ends; `at` if there is none.
fn end_of_blank(text: &str, at: usize) -> usize {
    let bytes = text.as_bytes();
    let rest = &bytes[at..];
    let in_word = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
    match rest {
        [b'/', b'/', ..] => at + rest.iter().position(|it| *it == b'\n').unwrap_or(rest.len()),
        [b'/', b'*', ..] => at + comment(rest),
        [b'r', b'"' | b'#', ..] if !in_word => at + raw_string(rest, 1),
        [b'b', b'r', b'"' | b'#', ..] if !in_word => at + raw_string(rest, 2),
        [b'"', ..] => at + string(rest),
        [b'\'', b'\\', ..] => {
            at + 2 + rest[2..].iter().skip(1).position(|it| *it == b'\'').map_or(1, |it| it + 2)
        }
        [b'\'', ..] => at + character(rest),
        _ => at,
    }
}

fn comment(rest: &[u8]) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// `r#word` is no string: 0.
fn raw_string(rest: &[u8], prefix: usize) -> usize {
    let n_hashes = rest[prefix..].iter().take_while(|it| **it == b'#').count();
    let body = prefix + n_hashes;
    if rest.get(body) != Some(&b'"') {
        return 0;
    }
    let close: Vec<u8> = [b'"'].into_iter().chain(std::iter::repeat_n(b'#', n_hashes)).collect();
    let found = rest[body + 1..].windows(close.len()).position(|it| it == close);
    found.map_or(rest.len(), |it| body + 1 + it + close.len())
}

fn string(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// A character of up to four bytes between quotes; a lifetime has no second quote: 0.
fn character(rest: &[u8]) -> usize {
    let end = rest.iter().skip(2).take(4).position(|it| *it == b'\'').map(|it| it + 3);
    let is_one =
        |end: &usize| std::str::from_utf8(&rest[1..*end - 1]).is_ok_and(|it| it.chars().count() == 1);
    end.filter(is_one).unwrap_or(0)
}

fn wipe(bytes: &mut [u8]) {
    for byte in bytes.iter_mut().filter(|it| **it != b'\n') {
        *byte = b' ';
    }
}

fn without_tests(code: &str) -> String {
    let mut out = code.as_bytes().to_vec();
    let mut from = 0;
    while let Some(found) = code[from..].find("#[cfg(test)]") {
        let start = from + found;
        let end = end_of_item(code, start);
        wipe(&mut out[start..end]);
        from = end;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// After the `;` or the closing brace of the item that begins at `start`.
fn end_of_item(code: &str, start: usize) -> usize {
    let mut depth = 0_usize;
    for (n, byte) in code.bytes().enumerate().skip(start) {
        match byte {
            b'{' | b'(' | b'[' => depth += 1,
            b'}' | b')' | b']' => {
                depth = depth.saturating_sub(1);
                if depth == 0 && byte == b'}' {
                    return n + 1;
                }
            }
            b';' if depth == 0 => return n + 1,
            _ => (),
        }
    }
    code.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_strings_are_blank() {
        check("a // b\nc", &["a", "c"]);
        check("a /* b /* c */\n d */ e", &["a", "e"]);
        check(r#"x( "{ \" }" , 1)"#, &["x(", ",", "1)"]);
        check(r##"x( r#"{"}"# , r"\" , br"{" )"##, &["x(", ",", ",", ")"]);
        check("r#type", &["r#type"]);
    }

    #[test]
    fn characters_are_blank_and_lifetimes_stay() {
        check("'{' 'é' '\\'' '\\u{7b}' fn f<'a>(x: &'a str)", &["fn", "f<'a>(x:", "&'a", "str)"]);
        check("'\\n' b'{'", &["b"]);
        check("'a'", &[]);
    }

    #[test]
    fn tests_are_no_production() {
        let code =
            "fn a() {}\n#[cfg(test)]\nmod tests {\n fn b() { { } }\n}\n#[cfg(test)]\nuse x;\nfn c() {}\n";
        let got = Source::new(code).production;
        assert_eq!(got.split_whitespace().collect::<Vec<_>>(), ["fn", "a()", "{}", "fn", "c()", "{}"]);
        assert_eq!(got.lines().count(), code.lines().count());
    }

    #[test]
    fn unfinished_text_is_no_reason_to_stop() {
        for text in ["\"", "'", "'\\", "/*", "r#\"", "\"\\", "#[cfg(test)] mod {", "b'"] {
            assert_eq!(Source::new(text).production.len(), text.len(), "{text}");
        }
    }

    #[track_caller]
    fn check(text: &str, want: &[&str]) {
        let got = blank(text);
        assert_eq!(got.split_whitespace().collect::<Vec<_>>(), want, "{text}");
        assert_eq!((got.len(), got.lines().count()), (text.len(), text.lines().count()), "{text}");
    }
}
