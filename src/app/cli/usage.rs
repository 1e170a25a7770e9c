//! What can be typed: the commands, the help of all of them together, and who reads a configuration.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Arg;
use clap::ArgAction;
use clap::CommandFactory;
use clap::FromArgMatches;
use clap::Parser;
use clap::Subcommand;
use clap::builder::StyledStr;
use clap::error::ContextKind;
use clap::error::ContextValue;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::value_parser;

use crate::app::cli::check;
use crate::app::cli::completions;
use crate::app::cli::config;
use crate::app::cli::demo;
use crate::app::cli::doctor;
use crate::app::cli::explain;
use crate::app::cli::health;
use crate::app::cli::init;
use crate::app::cli::input;
use crate::app::cli::token;
use crate::domain::paint::Paint;
use crate::domain::printable;

const DEFAULT_CONFIG: &str = "/etc/obo-proxy/config.yaml";

const OVERVIEW: &str = "\
Start here:
  obo-proxy demo                                   a playground that needs nothing
  obo-proxy init                                   a first configuration; asks on a terminal
  obo-proxy check --config obo-proxy.yaml          is it right?
  obo-proxy run --config obo-proxy.yaml            the proxy

When something is wrong:
  obo-proxy doctor                                 contacts all that is configured: what is wrong, and what to do
  obo-proxy explain GET https://orders.example/7   what would become of this request, and why
  obo-proxy token verify --token-file token.txt    would this token be let in?

Exit codes: 0 yes; 1 the answer is no; 2 usage; 69 something cannot be reached; 74 a file, an address or a stream cannot be
            used; 78 the configuration is wrong.

`obo-proxy help COMMAND` has examples of each. Read on: docs/README.md; by symptom: docs/troubleshooting.md.";

const RUN: &str = "\
Examples:
  obo-proxy run                                            with /etc/obo-proxy/config.yaml
  obo-proxy run --config base.yaml --config site.yaml      what the second says holds
  OBO__TELEMETRY__LOGS__LEVEL=debug obo-proxy run          one setting by the environment

Exit codes: 0 it was ended; 1 it cannot go on; 2 usage; 74 a file cannot be read, or an address not be bound;
            78 the configuration is wrong.

Read on: config/reference.yaml (every setting), docs/operations.md, docs/reload.md; by symptom: docs/troubleshooting.md.";

const SCHEMA: &str = "\
Examples:
  obo-proxy schema > schema.json       then begin the file with: # yaml-language-server: $schema=schema.json

Exit codes: 0 it is printed; 2 usage; 74 stdout cannot be written to.

Read on: docs/configuration.md has every key as a page, config/reference.yaml as a file.";

/// Exchanges each caller's bearer token On-Behalf-Of the user for the token the API behind wants.
#[derive(Debug, Parser)]
#[command(name = "obo-proxy", version, after_help = OVERVIEW)]
pub(super) struct Arguments {
    /// The configuration file; several are merged, later ones win
    #[arg(short, long = "config", global = true, env = "OBO_CONFIG", hide_env_values = true, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub(super) config: Vec<PathBuf>,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Start the proxy
    ///
    /// A configuration file that changes is used within seconds, or at once on SIGHUP, without a request lost; a bad one is refused, and
    /// the one before goes on. SIGTERM and SIGINT end the proxy when the requests under way are done; a second one ends it at once.
    #[command(after_help = RUN)]
    Run,
    /// Start a complete playground on loopback: an emulated Entra, an echo API and the proxy
    Demo(demo::Arguments),
    /// Check a configuration: lists every problem, contacts nothing
    Check(check::Arguments),
    /// Contact everything that a configuration names, and say what is wrong and what to do
    Doctor(doctor::Arguments),
    /// Tell what the proxy would do with a request, and why; contacts nothing
    Explain(explain::Arguments),
    /// Decode, verify or exchange a token
    Token(token::Arguments),
    /// Print the configuration as it is in use, with where each value was written; secrets are masked
    Config(config::Arguments),
    /// Write a configuration to begin with
    Init(init::Arguments),
    /// Print the JSON Schema of the configuration
    #[command(after_help = SCHEMA)]
    Schema,
    /// Ask a running proxy whether it is ready, for HEALTHCHECK and exec probes: 0 yes, 1 no
    Health(health::Arguments),
    /// Print what makes a shell complete our commands
    Completions(completions::Arguments),
}

/// The command line as it is understood. Commands that read no configuration have no word for it.
pub(super) fn command() -> clap::Command {
    let hidden = |command: clap::Command| {
        let files = Arg::new("config").short('c').long("config").value_parser(value_parser!(PathBuf));
        command.arg(files.action(ArgAction::Append).hide(true))
    };
    let command = ["demo", "init", "schema", "completions"]
        .into_iter()
        .fold(Arguments::command(), |command, name| command.mut_subcommand(name, hidden));
    command.mut_subcommand("token", |token| token.mut_subcommand("decode", hidden))
}

/// The arguments of this process, or what there is to tell instead.
pub(super) fn parse() -> Result<Arguments, Told> {
    parse_from(std::env::args_os().collect())
}

/// What is told in the place of doing something: help, or what is wrong with the arguments.
#[derive(Debug)]
pub(super) struct Told {
    /// Whether it was asked for.
    pub(super) is_help: bool,
    text: StyledStr,
}

impl Told {
    /// With colours or without. No letter that was typed does anything to a terminal.
    pub(super) fn painted(&self, paint: Paint) -> String {
        match paint {
            Paint::Colours => self.text.ansi().to_string(),
            Paint::Plain => self.text.to_string(),
        }
    }
}

/// The same of any arguments. What is told may quote them, between colours that are ours: so when there is something to
/// tell, they are read again with signs for letters that may not be shown.
fn parse_from(arguments: Vec<OsString>) -> Result<Arguments, Told> {
    let shown: Vec<OsString> =
        arguments.iter().map(|argument| printable::line(&argument.to_string_lossy()).into()).collect();
    let is_shown = shown == arguments;
    understood(arguments).map_err(|said| {
        let text = match if is_shown { Ok(()) } else { understood(shown).map(drop) } {
            Ok(()) if is_shown => said.render(),
            Err(again) if again.kind() == said.kind() => again.render(),
            _ => StyledStr::from(printable::lines(&said.render().to_string())),
        };
        Told { is_help: !said.use_stderr(), text }
    })
}

fn understood(arguments: Vec<OsString>) -> Result<Arguments, clap::Error> {
    let matches = command().try_get_matches_from(arguments).map_err(masked)?;
    let arguments = Arguments::from_arg_matches(&matches)?;
    let instead = match &arguments.command {
        Command::Demo(_) => "`demo` has its own, which --print-config prints; `run` takes yours",
        Command::Init(_) => "`init` reads none; --output says where it writes",
        Command::Token(arguments) if !arguments.reads_configuration() => "`token decode` reads none",
        Command::Schema => "`schema` reads none",
        Command::Completions(_) => "`completions` reads none",
        _ => return Ok(arguments),
    };
    match matches.value_source("config") {
        Some(ValueSource::CommandLine) => {
            let message = format!("--config names a configuration: {instead}");
            Err(command().error(ErrorKind::ArgumentConflict, message))
        }
        // whoever has OBO_CONFIG set means the commands that read it
        _ => Ok(arguments),
    }
}

/// The same complaint, without what may be a token: logs keep what commands print.
fn masked(mut complaint: clap::Error) -> clap::Error {
    let is_unknown = matches!(complaint.kind(), ErrorKind::UnknownArgument | ErrorKind::InvalidSubcommand);
    let (kinds, is_secret): (&[_], fn(&str) -> bool) = match is_unknown {
        true => (&[ContextKind::InvalidArg, ContextKind::InvalidSubcommand], |said| !input::is_plain(said)),
        false => (&[ContextKind::InvalidValue], input::may_be_secret),
    };
    for kind in kinds {
        if complaint.get(*kind).is_some_and(|said| is_secret(&said.to_string())) {
            complaint.insert(*kind, ContextValue::String("***".into()));
            // tips repeat it
            complaint.remove(ContextKind::Suggested);
        }
    }
    complaint
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The help of a command and of those below it, with their names.
    fn helps(command: &clap::Command) -> Vec<(String, String)> {
        let own = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let below = command.get_subcommands().filter(|below| below.get_name() != "help").flat_map(helps);
        [(command.get_name().to_owned(), own)].into_iter().chain(below).collect()
    }

    #[test]
    fn nothing_that_a_terminal_obeys_is_quoted_from_the_arguments() {
        for typed in ["\u{1b}[31mred", "[31mred\u{7}\u{9b}2J", "[31mred\u{202e}\r\nmore"] {
            is_shown_as_signs(typed);
        }
    }

    #[test]
    fn what_may_be_a_secret_is_repeated_nowhere() {
        for words in [
            &["explain", "--eyJhbGciOiJSUzI1NiJ9.e30.c2ln", "GET", "https://x.example/"][..],
            &["--eyJhbGciOiJSUzI1NiJ9.e30.c2ln"],
            &["token", "decode", "--eyJhbGciOiJSUzI1NiJ9.e30.c2ln"],
        ] {
            let arguments = ["obo-proxy"].into_iter().chain(words.iter().copied()).map(OsString::from);
            let told = parse_from(arguments.collect()).unwrap_err().painted(Paint::Plain);
            assert!(told.contains("***") && !told.contains("eyJ"), "{told}");
        }
    }

    fn is_shown_as_signs(typed: &str) {
        for (words, kept) in [
            (vec![typed.to_owned()], "***"),
            (vec![format!("--{typed}")], "***"),
            (vec!["run".into(), typed.to_owned()], "***"),
            (vec!["schema".into(), "--config".into(), typed.to_owned()], "`schema` reads none"),
            (vec!["demo".into(), "--proxy".into(), typed.to_owned()], "[31mred"),
            (vec!["completions".into(), typed.to_owned()], "[31mred"),
            (vec!["explain".into(), typed.to_owned()], "[31mred"),
        ] {
            let arguments = ["obo-proxy".to_owned()].into_iter().chain(words.clone()).map(OsString::from);
            let told = parse_from(arguments.collect()).unwrap_err();
            let plain = told.painted(Paint::Plain);
            assert!(!told.is_help && plain.contains(kept), "{words:?}: {plain:?}");
            assert!(plain.chars().all(|own| own == '\n' || printable::is_printable(own)), "{plain:?}");
            // colours are ours alone: each begins with ESC, and none of them is red where we have none
            let coloured = told.painted(Paint::Colours);
            let ours = coloured.split('\u{1b}').skip(1);
            assert!(ours.clone().count() > 0, "{coloured:?}");
            for code in ours {
                let code = code.split_once('m').unwrap().0;
                assert!(
                    code.strip_prefix('[')
                        .is_some_and(|code| code.bytes().all(|own| own.is_ascii_digit() || own == b';')),
                    "{code:?}"
                );
            }
            let without: String = coloured.replace('\u{1b}', "");
            assert!(without.chars().all(|own| own == '\n' || printable::is_printable(own)), "{coloured:?}");
        }
    }

    #[test]
    fn every_help_has_examples_that_are_understood_exit_codes_and_where_to_read_on() {
        let helps = helps(&command());
        assert_eq!(helps.len(), 15);
        for (name, help) in helps {
            for part in ["obo-proxy ", "Exit codes: 0 ", "2 usage", "Read on: "] {
                assert!(help.contains(part), "{name} lacks `{part}`");
            }
            let help = help.replace("\\\n", " ");
            let examples =
                help.lines().filter(|line| line.starts_with("  ")).flat_map(|line| line.split(" | "));
            let mut number = 0;
            for example in examples.filter_map(|line| line.rfind("obo-proxy ").and_then(|at| line.get(at..)))
            {
                // a comment stands behind three blanks, and where output goes is the shell's to know
                let typed =
                    example.split("   ").next().and_then(|line| line.split([')', '>']).next()).unwrap();
                let words = typed.replace("'X-Channel: web'", "x-channel:web");
                let said = command().try_get_matches_from(words.split_whitespace());
                assert!(said.is_ok(), "{name}: {typed}: {}", said.unwrap_err());
                number += 1;
            }
            assert!(number > 0, "{name} has no example");
        }
    }
}
