//! From files and environment to a checked configuration, or to everything that is wrong with it.

use std::path::Path;
use std::path::PathBuf;

use zeroize::Zeroizing;

use crate::config::Config;
use crate::config::Environment;
use crate::config::check;
use crate::config::check::Look;
use crate::config::file;
use crate::config::layers::Input;
use crate::config::layers::Layers;
use crate::config::outline::Outline;
use crate::config::problem;
use crate::config::problem::Cause;
use crate::config::problem::Location;
use crate::config::problem::Problem;
use crate::config::problem::Report;
use crate::config::problem::Severity;
use crate::config::tree::Tree;
use crate::config::wire;
use crate::config::yaml::MAX_BYTES;
use crate::domain::printable;

/// A configuration that can be used.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What is probably not meant.
    pub warnings: Vec<Problem>,
    /// What it was made of, to tell what another one changes.
    pub outline: Outline,
}

/// Reads `files`, later ones over earlier ones, with the whole process environment: it overrides settings by `OBO__*`
/// variables, holds secrets named by `{ env: NAME }`, and provides what Azure's platforms tell a process about its
/// identity (AZURE_TENANT_ID, AZURE_CLIENT_ID and their kin). Looks that closely at the files that the configuration names:
/// warns of those that cannot be read now, and complains of what does not serve in those it looks into.
///
/// # Errors
/// If a file cannot be read, or the configuration cannot be used: everything that is wrong, at once.
pub fn load(files: &[PathBuf], environment: &Environment, look: Look) -> Result<Loaded, Report> {
    let mut inputs = Vec::new();
    let mut problems = Vec::new();
    let mut cause = Cause::Invalid;
    for (order, path) in files.iter().enumerate() {
        let name = printable::line(&path.display().to_string());
        let (message, help) = match read(path) {
            Ok(bytes) => match std::str::from_utf8(&bytes) {
                Ok(text) => {
                    inputs.push(Input { name, text: text.to_owned() });
                    continue;
                }
                Err(_) => ("the file is not UTF-8 text".to_owned(), None),
            },
            Err(error) => {
                cause = Cause::Unreadable;
                let help = "name the configuration with --config FILE or in OBO_CONFIG";
                (error.to_string(), Some(help.to_owned()))
            }
        };
        problems.push(Problem {
            severity: Severity::Error,
            location: Location::File { order, name, position: None },
            message,
            help,
            excerpt: None,
        });
    }
    match problems.is_empty() {
        true => load_inputs(&inputs, environment, look),
        false => Err(Report::new(cause, problems)),
    }
}

/// Reads a configuration from `text`, which is called `name` in problems. Does not look at the files that it names.
///
/// # Errors
/// If the configuration cannot be used: everything that is wrong, at once.
pub fn load_text(name: &str, text: &str, environment: &[(String, String)]) -> Result<Loaded, Report> {
    let inputs = [Input { name: name.into(), text: text.into() }];
    load_inputs(&inputs, &Environment::from(environment.to_vec()), Look::Away)
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, file::Error> {
    match file::read_given(path, u64::try_from(MAX_BYTES).unwrap_or(u64::MAX)) {
        // whoever reads it reports the length
        Err(file::Error::TooLong) => Ok(Zeroizing::new(vec![b'#'; MAX_BYTES + 1])),
        read => read,
    }
}

fn load_inputs(inputs: &[Input], environment: &Environment, look: Look) -> Result<Loaded, Report> {
    let layers = Layers::merge(inputs, &environment.texts).map_err(|_| {
        // the crate's own text is not shown: it may quote values
        let location = Location::Environment("OBO__*".into());
        let message = "the files and the environment cannot be merged".into();
        let problem = Problem { severity: Severity::Error, location, message, help: None, excerpt: None };
        Report::new(Cause::Invalid, vec![problem])
    })?;
    let (mut tree, mut problems, complete) = Tree::new(layers);
    if !complete {
        return Err(Report::new(Cause::Invalid, problems));
    }
    let wire: wire::File = tree.read(&mut problems);
    let (config, found) = check::check(&wire, &tree, environment, look);
    problems.extend(found);
    problem::sort(&mut problems);
    let failed = problems.iter().any(|problem| problem.severity == Severity::Error);
    match config {
        Some(config) if !failed => {
            let outline = Outline::of(&tree.root);
            Ok(Loaded { config, warnings: problems, outline })
        }
        _ => Err(Report::new(Cause::Invalid, problems)),
    }
}
