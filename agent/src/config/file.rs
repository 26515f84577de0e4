//! The YAML file: a flat map of settings. Unknown keys are errors, with their line.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::Spanned;

use super::{
    error::{ConfigError, Origin},
    table::{Key, TABLE},
    value,
};

/// A file that was read: values as written.
#[derive(Clone, Debug, Default)]
pub struct File {
    path: PathBuf,
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    key: Key,
    line: u64,
    values: Vec<String>,
}

impl File {
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        Self::parse(path, &text)
    }

    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        // The id of a container may be all digits with a zero in front.
        let options = serde_saphyr::options! { leading_zero_numbers_as_strings: true, strict_booleans: true, with_snippet: false };
        let Written(written) = serde_saphyr::from_str_with_options::<Option<Written>>(text, options)
            .map_err(|source| ConfigError::Yaml { path: path.to_owned(), source: Box::new(source) })?
            .unwrap_or_default();
        let entries = written
            .into_iter()
            .map(|(name, Node(values))| {
                let line = name.referenced.line();
                match TABLE.iter().find(|it| it.in_file() && it.name == name.value) {
                    Some(setting) => Ok(Entry { key: setting.key, line, values }),
                    None => Err(unknown(path, line, name.value)),
                }
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { path: path.to_owned(), entries })
    }

    pub(crate) fn get(&self, key: Key) -> Option<(Origin, &[String])> {
        let Entry { line, values, .. } = self.entries.iter().find(|it| it.key == key)?;
        Some((Origin::File { path: self.path.clone(), line: *line, key }, values))
    }
}

fn unknown(path: &Path, line: u64, key: String) -> ConfigError {
    let names = TABLE.iter().filter(|it| it.in_file()).map(|it| it.name);
    let nearest = value::nearest(&key, names).unwrap_or_default();
    ConfigError::UnknownKey { path: path.to_owned(), line, key, nearest }
}

/// The file in its order.
#[derive(Default)]
struct Written(Vec<(Spanned<String>, Node)>);

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = Written;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("lines of `setting: value`")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Written, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Written(entries))
            }
        }

        deserializer.deserialize_map(Entries)
    }
}

/// A scalar, a list of scalars, or a map of scalars, which is a list of `NAME=VALUE`.
struct Node(Vec<String>);

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Scalars)
    }
}

struct Scalars;

impl<'de> Visitor<'de> for Scalars {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value, a list of values, or NAME: VALUE")
    }

    fn visit_str<E>(self, it: &str) -> Result<Node, E> {
        Ok(Node(vec![it.to_owned()]))
    }

    fn visit_bool<E>(self, it: bool) -> Result<Node, E> {
        Ok(Node(vec![it.to_string()]))
    }

    fn visit_u64<E>(self, it: u64) -> Result<Node, E> {
        Ok(Node(vec![it.to_string()]))
    }

    fn visit_i64<E>(self, it: i64) -> Result<Node, E> {
        Ok(Node(vec![it.to_string()]))
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<Node, E> {
        Err(E::custom("no setting is a fraction; if it is meant as text, put it in quotes"))
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Node, E> {
        Err(E::custom("there is a key without a value"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut values = Vec::new();
        while let Some(item) = items.next_element::<String>()? {
            values.push(item);
        }
        Ok(Node(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut values = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            if name.contains('=') {
                let _: IgnoredAny = map.next_value()?;
                return Err(A::Error::custom("a name with `=` in it"));
            }
            values.push(format!("{name}={}", map.next_value::<String>()?));
        }
        Ok(Node(values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<File, ConfigError> {
        File::parse(Path::new("t.yaml"), text)
    }

    fn check(text: &str, key: Key, want: &[&str]) {
        let file = parse(text).unwrap();
        let (_, values) = file.get(key).unwrap();
        assert_eq!(values, want, "{text}");
    }

    fn check_error(text: &str, want: &str) {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(want), "`{error}` does not say `{want}`");
    }

    #[test]
    fn scalars_lists_and_maps() {
        check("window: 5m", Key::Window, &["5m"]);
        check("export_queue: 4096", Key::ExportQueue, &["4096"]);
        check("http_spans: false", Key::HttpSpans, &["false"]);
        check("watch_pid: 42", Key::WatchPid, &["42"]);
        check("watch_pid: [1, 2]", Key::WatchPid, &["1", "2"]);
        check("watch_exe:\n  - /a/*\n  - /b", Key::WatchExe, &["/a/*", "/b"]);
        check("watch_container: 012345678901", Key::WatchContainer, &["012345678901"]);
        check("watch_container: [12e4]", Key::WatchContainer, &["12e4"]);
        check("otlp_headers:\n  a: b,c\n  d: 1", Key::OtlpHeaders, &["a=b,c", "d=1"]);
    }

    #[test]
    fn an_empty_file_sets_nothing() {
        for text in ["", "# nothing\n", "---\n"] {
            assert!(parse(text).unwrap().entries.is_empty(), "{text:?}");
        }
    }

    #[test]
    fn an_unknown_key_has_a_line_and_a_neighbour() {
        check_error(
            "window: 1m\notlp-endpoint: x\n",
            "t.yaml:2: there is no setting `otlp-endpoint`; did you mean `otlp_endpoint`?",
        );
        check_error("# a\n\nwatch_exes:\n  - /a\n", "t.yaml:3: there is no setting `watch_exes`");
        check_error("config: other.yaml", "there is no setting `config`");
    }

    #[test]
    fn what_is_no_map_of_settings_is_refused() {
        for text in
            ["- a\n", "window", "window: 1m\nwindow: 2m\n", "window:\n", "a: [", "window: 1.5", "x: [[1]]"]
        {
            assert!(parse(text).is_err(), "{text:?}");
        }
        check_error("window: 1m\nwindow: 2m\n", "t.yaml is no list of settings");
    }
}
