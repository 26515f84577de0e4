//! Parsers of single values: text in, value or [`Problem`] out.

use std::{net::SocketAddr, str::FromStr, time::Duration};

/// Why a text is not the value that is wanted.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    #[error("it is empty")]
    Empty,
    #[error("a duration is a whole number with ms, s, m or h, such as 250ms or 5s")]
    NoDuration,
    #[error("it must be one of {}; did you mean `{nearest}`?", choices.join(", "))]
    NoChoice { choices: &'static [&'static str], nearest: &'static str },
    #[error("it must be from {min} to {max}")]
    OutOfRange { min: String, max: String },
    #[error("it is no whole number")]
    NoNumber,
    #[error("it is no glob: {0}")]
    NoGlob(Box<globset::Error>),
    #[error("it is no address with a port, such as 127.0.0.1:9464")]
    NoAddress,
    #[error("it must be NAME=VALUE")]
    NoPair,
    #[error("the name of a header is letters, digits and dashes, and does not end in -bin")]
    NoHeader,
    #[error("the value of a header is printable ASCII")]
    NoHeaderValue,
    #[error("a container id is hexadecimal digits, 12 or more to be safe")]
    NoContainer,
    #[error("a URL begins with http:// or https://, such as http://localhost:4317")]
    NoScheme,
    #[error("the URL names no host")]
    NoHost,
    #[error("the port of the URL is no number from 1 to 65535")]
    NoPort,
    #[error("the URL has a part that does not belong there: {0:?}")]
    StrayPart(char),
    #[error("gRPC takes no path: leave it away, or set the protocol http/protobuf")]
    PathWithGrpc,
    #[error("it takes one value, not {0}")]
    NotOne(usize),
}

pub fn text(text: &str) -> Result<String, Problem> {
    match text.trim() {
        "" => Err(Problem::Empty),
        text => Ok(text.to_owned()),
    }
}

pub fn path(text: &str) -> Result<std::path::PathBuf, Problem> {
    self::text(text).map(Into::into)
}

/// `250ms`, `5s`, `1m`, `2h`.
pub fn duration(text: &str) -> Result<Duration, Problem> {
    let text = text.trim();
    let digits = text.trim_end_matches(|it: char| it.is_ascii_alphabetic());
    let count = digits.parse::<u64>().map_err(|_| Problem::NoDuration)?;
    let unit_ms = match &text[digits.len()..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(Problem::NoDuration),
    };
    count.checked_mul(unit_ms).map(Duration::from_millis).ok_or(Problem::NoDuration)
}

pub fn duration_within(text: &str, min: Duration, max: Duration) -> Result<Duration, Problem> {
    let duration = duration(text)?;
    if duration < min || max < duration {
        return Err(Problem::OutOfRange { min: format!("{min:?}"), max: format!("{max:?}") });
    }
    Ok(duration)
}

pub fn number_within(text: &str, min: usize, max: usize) -> Result<usize, Problem> {
    let number = text.trim().parse::<usize>().map_err(|_| Problem::NoNumber)?;
    if number < min || max < number {
        return Err(Problem::OutOfRange { min: min.to_string(), max: max.to_string() });
    }
    Ok(number)
}

/// A PID of another process: 0 is nobody.
pub fn pid(text: &str) -> Result<u32, Problem> {
    match u32::from_str(text.trim()) {
        Ok(0) => Err(Problem::OutOfRange { min: "1".into(), max: u32::MAX.to_string() }),
        Ok(pid) => Ok(pid),
        Err(_) => Err(Problem::NoNumber),
    }
}

pub fn glob(text: &str) -> Result<String, Problem> {
    let text = self::text(text)?;
    match globset::Glob::new(&text) {
        Ok(_) => Ok(text),
        Err(source) => Err(Problem::NoGlob(Box::new(source))),
    }
}

pub fn container(text: &str) -> Result<String, Problem> {
    let text = self::text(text)?;
    if text.chars().all(|it| it.is_ascii_hexdigit()) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err(Problem::NoContainer)
    }
}

pub fn address(text: &str) -> Result<SocketAddr, Problem> {
    text.trim().parse().map_err(|_| Problem::NoAddress)
}

pub fn pair(text: &str) -> Result<(String, String), Problem> {
    let (name, value) = text.split_once('=').ok_or(Problem::NoPair)?;
    match name.trim() {
        "" => Err(Problem::NoPair),
        name => Ok((name.to_owned(), value.trim().to_owned())),
    }
}

/// gRPC wants names of headers in small letters, HTTP does not mind.
pub fn header(text: &str) -> Result<(String, String), Problem> {
    let (name, value) = pair(text)?;
    let valid = |it: char| it.is_ascii_alphanumeric() || matches!(it, '-' | '_' | '.');
    // gRPC reads the value of what ends in -bin as Base64.
    if !name.chars().all(valid) || name.to_ascii_lowercase().ends_with("-bin") {
        return Err(Problem::NoHeader);
    }
    if !value.chars().all(|it| matches!(it, ' '..='~')) {
        return Err(Problem::NoHeaderValue);
    }
    Ok((name.to_ascii_lowercase(), value))
}

/// The value that belongs to the word; upper case is forgiven.
pub fn choice<T: Copy>(text: &str, choices: &'static [&'static str], values: &[T]) -> Result<T, Problem> {
    let text = text.trim().to_lowercase();
    let found = choices.iter().zip(values).find(|(choice, _)| **choice == text);
    found.map(|(_, value)| *value).ok_or_else(|| Problem::NoChoice {
        choices,
        nearest: nearest(&text, choices.iter().copied()).unwrap_or_default(),
    })
}

pub fn switch(text: &str) -> Result<bool, Problem> {
    choice(text, &["true", "false"], &[true, false])
}

/// `LEVEL` or `MODULE=LEVEL`, separated by commas. A misspelt level would else pass for a module.
pub fn log_filter(text: &str) -> Result<String, Problem> {
    const LEVELS: &[&str] = &["off", "error", "warn", "info", "debug", "trace"];
    let text = self::text(text)?;
    for part in text.split(',') {
        let level = part.rsplit_once('=').map_or(part, |(_, level)| level);
        choice(level, LEVELS, LEVELS)?;
    }
    Ok(text)
}

/// The candidate with the fewest letters to change.
pub fn nearest<'a>(text: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    candidates.min_by_key(|it| strsim::damerau_levenshtein(text, it))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        let check = |text: &str, want_ms: Option<u64>| {
            assert_eq!(duration(text).ok(), want_ms.map(Duration::from_millis), "{text}");
        };
        check("250ms", Some(250));
        check(" 5s ", Some(5_000));
        check("1m", Some(60_000));
        check("2h", Some(7_200_000));
        for text in [
            "",
            "5",
            "s",
            "-5s",
            "1.5s",
            "5 parsecs",
            "5µs",
            "99999999999999999999s",
            "18446744073709551615h",
        ] {
            check(text, None);
        }
    }

    #[test]
    fn a_misspelt_level_is_no_module() {
        assert_eq!(log_filter("info,agent::kernel=debug").unwrap(), "info,agent::kernel=debug");
        let error = log_filter("inof").unwrap_err().to_string();
        assert_eq!(error, "it must be one of off, error, warn, info, debug, trace; did you mean `info`?");
        assert!(log_filter("info,").is_err());
    }

    #[test]
    fn single_values() {
        assert_eq!(pid("42").unwrap(), 42);
        assert!(pid("0").is_err() && pid("-1").is_err() && pid("4294967296").is_err());
        assert!(glob("/usr/bin/{a,b}*").is_ok() && glob("/usr/[").is_err() && glob(" ").is_err());
        assert_eq!(container("0AF3").unwrap(), "0af3");
        assert!(container("docker://0af3").is_err());
        assert_eq!(header("X-Scope=a=b").unwrap(), ("x-scope".into(), "a=b".into()));
        for text in ["a b=c", "=c", "abc", "trace-bin=c", "a=\u{fc}", "a=b\nc"] {
            assert!(header(text).is_err(), "{text}");
        }
        assert!(number_within("0", 1, 9).is_err() && number_within("10", 1, 9).is_err());
    }
}
