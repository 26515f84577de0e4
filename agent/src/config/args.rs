//! Arguments of `taskscope agent` as typed: text by setting, not yet looked at.

use std::collections::BTreeMap;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches};

use super::{
    settings::Signal,
    table::{Default as DefaultOf, Key, Setting, Shape, TABLE},
};

const HELP_MARKDOWN: &str = "help_markdown";

/// For `#[command(flatten)]`. Without arguments it is what `taskscope doctor` uses.
#[derive(Clone, Debug, Default)]
pub struct AgentArgs {
    values: BTreeMap<Key, Vec<String>>,
    /// Print the table of the README and exit.
    pub help_markdown: bool,
}

impl AgentArgs {
    /// As if only `key` had been typed.
    pub(crate) fn of(key: Key, typed: Option<&str>) -> Self {
        let values = typed.map(|it| (key, vec![it.to_owned()])).into_iter().collect();
        Self { values, help_markdown: false }
    }

    pub(crate) fn get(&self, key: Key) -> Option<&[String]> {
        self.values.get(&key).map(Vec::as_slice)
    }
}

impl Args for AgentArgs {
    fn augment_args(command: Command) -> Command {
        let command = TABLE.iter().fold(command, |command, setting| match setting.shape {
            Shape::Switch => {
                command.arg(arg(setting).action(ArgAction::SetTrue).overrides_with(no(setting))).arg(
                    Arg::new(no(setting))
                        .long(no(setting).replace('_', "-"))
                        .action(ArgAction::SetTrue)
                        .help(format!("The opposite of {}", setting.flag())),
                )
            }
            Shape::List => command.arg(arg(setting).value_name(setting.value).action(ArgAction::Append)),
            Shape::One => command.arg(arg(setting).value_name(setting.value).action(ArgAction::Set)),
        });
        command.arg(
            Arg::new(HELP_MARKDOWN)
                .long("help-markdown")
                .hide(true)
                .action(ArgAction::SetTrue)
                .help("Print the table of settings for the README"),
        )
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for AgentArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let mut args = Self::default();
        args.update_from_arg_matches(matches)?;
        Ok(args)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        self.help_markdown |= matches.get_flag(HELP_MARKDOWN);
        for setting in TABLE {
            let typed: Vec<String> = match setting.shape {
                Shape::One | Shape::List => {
                    matches.get_many::<String>(setting.name).into_iter().flatten().cloned().collect()
                }
                Shape::Switch if matches.get_flag(&no(setting)) => vec!["false".to_owned()],
                Shape::Switch if matches.get_flag(setting.name) => vec!["true".to_owned()],
                Shape::Switch => Vec::new(),
            };
            if !typed.is_empty() {
                self.values.insert(setting.key, typed);
            }
        }
        Ok(())
    }
}

fn arg(setting: &Setting) -> Arg {
    Arg::new(setting.name)
        .long(setting.name.replace('_', "-"))
        .help(setting.about)
        .long_help(long_help(setting))
}

fn no(setting: &Setting) -> String {
    format!("no_{}", setting.name)
}

fn long_help(setting: &Setting) -> String {
    let Setting { about, cost, name, .. } = setting;
    let default = match setting.default {
        DefaultOf::Value(text) | DefaultOf::Unset(text) => text,
    };
    let signals = Signal::ALL.map(Some).into_iter().chain([None]);
    let otel = signals.filter_map(|it| setting.otel_variable(it));
    let variables = std::iter::once(setting.variable()).chain(otel);
    let variables = variables.collect::<Vec<_>>().join(", ");
    let file = if setting.in_file() { format!("\nIn the file: {name}") } else { String::new() };
    format!("{about}\n\nCosts: {cost}\nDefault: {default}\nEnvironment: {variables}{file}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<AgentArgs, Error> {
        let command = AgentArgs::augment_args(Command::new("agent"));
        let matches =
            command.try_get_matches_from(std::iter::once("agent").chain(line.split_whitespace()))?;
        AgentArgs::from_arg_matches(&matches)
    }

    #[test]
    fn the_flags_are_those_of_the_table() {
        let command = AgentArgs::augment_args(Command::new("agent"));
        command.clone().debug_assert();
        let flags: Vec<String> =
            command.get_arguments().filter_map(|it| it.get_long()).map(|it| format!("--{it}")).collect();
        let mut want = Vec::new();
        for setting in TABLE {
            want.push(setting.flag());
            if setting.shape == Shape::Switch {
                want.push(setting.flag().replacen("--", "--no-", 1));
            }
        }
        want.push("--help-markdown".to_owned());
        assert_eq!(flags, want);
    }

    #[test]
    fn every_flag_says_what_it_costs() {
        let mut command = AgentArgs::augment_args(Command::new("agent"));
        let help = command.render_long_help().to_string();
        assert_eq!(help.matches("Costs: ").count(), TABLE.len());
        assert!(TABLE.iter().all(|it| !it.cost.is_empty() && !it.about.is_empty()));
    }

    #[test]
    fn values_are_kept_as_typed() {
        let args = parse("--interface a --interface b --window 1m --no-http-spans").unwrap();
        assert_eq!(args.get(Key::Interface).unwrap(), ["a", "b"]);
        assert_eq!(args.get(Key::Window).unwrap(), ["1m"]);
        assert_eq!(args.get(Key::HttpSpans).unwrap(), ["false"]);
        assert_eq!(args.get(Key::KernelLog), None);
    }

    #[test]
    fn the_last_of_a_switch_and_its_opposite_holds() {
        let last = |line| parse(line).unwrap().get(Key::HttpSpans).unwrap().to_vec();
        assert_eq!(last("--http-spans --no-http-spans"), ["false"]);
        assert_eq!(last("--no-http-spans --http-spans"), ["true"]);
    }

    #[test]
    fn an_unknown_flag_names_the_nearest() {
        let error = parse("--otlp-endpiont http://x").unwrap_err().to_string();
        assert!(error.contains("--otlp-endpoint"), "{error}");
    }
}
