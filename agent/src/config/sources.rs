//! Who said what: flag, then TASKSCOPE_ variable, then file, then OTEL_ variable, then default.
//!
//! Variables are asked for by name and never listed: Kubernetes adds `TASKSCOPE_PORT` and the like to
//! pods beside a Service of our name, so an unknown one is no mistake of the user.

use super::{
    args::AgentArgs,
    error::{ConfigError, Origin},
    file::File,
    otel,
    settings::Signal,
    table::{Default, Key, Shape},
    value::Problem,
};

/// Asks the environment. Tests give a map instead.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The environment of this process. Bytes that are no text become U+FFFD: what cannot hold it is refused
/// like any other bad value, and a path with it is not found.
#[must_use]
pub fn environment(name: &str) -> Option<String> {
    std::env::var_os(name).map(|it| it.to_string_lossy().into_owned())
}

/// Everything that settings come from.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    pub args: &'a AgentArgs,
    pub env: Env<'a>,
    pub file: Option<&'a File>,
    pub hostname: &'a str,
    /// Whose OTEL_ variables beat the general ones; `None`: nobody's.
    pub signal: Option<Signal>,
}

struct Raw {
    origin: Origin,
    values: Vec<String>,
}

impl Sources<'_> {
    /// `None`: nobody said anything and there is no default.
    pub(crate) fn one<T>(
        &self,
        key: Key,
        parse: impl Fn(&str) -> Result<T, Problem>,
    ) -> Result<Option<T>, ConfigError> {
        Ok(self.one_from(key, parse)?.map(|(value, _)| value))
    }

    /// With the place where it was written.
    pub(crate) fn one_from<T>(
        &self,
        key: Key,
        parse: impl Fn(&str) -> Result<T, Problem>,
    ) -> Result<Option<(T, Origin)>, ConfigError> {
        let Some(Raw { origin, values }) = self.raw(key) else {
            return Ok(None);
        };
        match values.as_slice() {
            [value] => match parse(value) {
                Ok(parsed) => Ok(Some((parsed, origin))),
                Err(problem) => Err(bad(key, origin, value, problem)),
            },
            values => Err(bad(key, origin, &values.join(", "), Problem::NotOne(values.len()))),
        }
    }

    pub(crate) fn must<T>(
        &self,
        key: Key,
        parse: impl Fn(&str) -> Result<T, Problem>,
    ) -> Result<T, ConfigError> {
        self.one(key, parse)?.ok_or(ConfigError::Missing(key))
    }

    pub(crate) fn list<T>(
        &self,
        key: Key,
        parse: impl Fn(&str) -> Result<T, Problem>,
    ) -> Result<Vec<T>, ConfigError> {
        let Some(Raw { origin, values }) = self.raw(key) else {
            return Ok(Vec::new());
        };
        let parsed =
            values.iter().map(|it| parse(it).map_err(|problem| bad(key, origin.clone(), it, problem)));
        parsed.collect()
    }

    fn raw(&self, key: Key) -> Option<Raw> {
        self.typed(key)
            .or_else(|| self.variable(key))
            .or_else(|| self.filed(key))
            .or_else(|| self.otel(key))
            .or_else(|| match key.setting().default {
                Default::Value(text) => {
                    Some(Raw { origin: Origin::Default(key), values: vec![text.to_owned()] })
                }
                Default::Unset(_) => None,
            })
    }

    fn typed(&self, key: Key) -> Option<Raw> {
        let values = self.args.get(key)?.to_vec();
        Some(Raw { origin: Origin::Flag(key), values })
    }

    fn variable(&self, key: Key) -> Option<Raw> {
        let name = key.setting().variable();
        let text = set(self.env, &name)?;
        let values = match key.setting().shape {
            Shape::List => split(&text),
            Shape::One | Shape::Switch => vec![text],
        };
        Some(Raw { origin: Origin::Variable(name), values })
    }

    fn filed(&self, key: Key) -> Option<Raw> {
        let (origin, values) = self.file?.get(key)?;
        Some(Raw { origin, values: values.to_vec() })
    }

    fn otel(&self, key: Key) -> Option<Raw> {
        let own = self.signal.and_then(|it| key.setting().otel_variable(Some(it)));
        own.into_iter().chain(key.setting().otel_variable(None)).find_map(|name| {
            let text = set(self.env, &name)?;
            Some(Raw { origin: Origin::Variable(name), values: otel::translate(key, &text) })
        })
    }
}

fn bad(key: Key, origin: Origin, value: &str, problem: Problem) -> ConfigError {
    if key == Key::OtlpHeaders {
        return ConfigError::BadSecret { origin, problem };
    }
    ConfigError::BadValue { origin, value: value.to_owned(), problem }
}

/// An empty variable counts as none, as OpenTelemetry wants it.
pub(crate) fn set(env: Env<'_>, name: &str) -> Option<String> {
    env(name).filter(|it| !it.trim().is_empty())
}

/// At commas, but not at those of a glob like `{a,b}`.
fn split(text: &str) -> Vec<String> {
    let mut depth = 0_usize;
    let parts = text.split(|it: char| {
        match it {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => (),
        }
        it == ',' && depth == 0
    });
    parts.map(str::trim).filter(|it| !it.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_in_variables_are_split_at_commas_outside_of_braces() {
        assert_eq!(split("/a/{b,c}, /d,,"), ["/a/{b,c}", "/d"]);
        assert_eq!(split("a},b"), ["a}", "b"]);
    }
}
