//! `doctor`: contacts everything that a configuration names, and says what is wrong and what to do.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::anyhow;

use crate::app::cli::complain;
use crate::app::cli::exit_code;
use crate::app::cli::load;
use crate::app::cli::paint;
use crate::app::cli::run;
use crate::app::doctor;
use crate::app::doctor::report;
use crate::config::Look;
use crate::domain::clock::Clock;

const EXAMPLES: &str = "\
Examples:
  obo-proxy doctor                                  everything
  obo-proxy doctor --only contoso                   one identity provider, listener or upstream, by its name or URL
  obo-proxy doctor --only upstream --only redis     all upstreams, and the shared cache
  obo-proxy doctor --json | jq '.checks[] | select(.result != \"ok\")'

In Kubernetes:
  kubectl exec POD -c obo-proxy -- obo-proxy doctor

Exit codes: 0 all is well, warnings aside; 69 something cannot be reached; 1 something else is wrong;
            2 usage; 74 a file or the output fails; 78 the configuration is wrong.

It asks the identity provider for one token of its own with each credential, writes and deletes one entry of its own in Redis,
sends each upstream HEAD /, and keeps nothing. Read on: docs/troubleshooting.md, by symptom.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    /// Look at this alone: a name or URL, or identity_provider, upstream, redis, listener, telemetry, admin, files
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
}

pub(super) fn run(files: &[PathBuf], arguments: &Arguments) -> ExitCode {
    let loaded = match load(files, Look::At) {
        Ok(loaded) => loaded,
        Err(problems) => {
            let text = match arguments.json {
                true => report::json(&[report::configuration(problems.problems())]),
                false => problems.to_text(paint::of_stdout()),
            };
            return written(&text, exit_code(&problems));
        }
    };
    let runtime = match run::runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&error);
            return ExitCode::from(74);
        }
    };
    let examined = runtime.block_on(doctor::examine(loaded.config, &Clock::system(), &arguments.only));
    // a name that is still being looked up must not hold the process
    runtime.shutdown_background();
    let mut groups = match examined {
        Ok(groups) => groups,
        Err(known) => {
            complain(&anyhow!("--only names nothing that is configured; there is: {}", known.join(", ")));
            return ExitCode::from(2);
        }
    };
    let text = match arguments.json {
        true => {
            groups.insert(0, report::configuration(&loaded.warnings));
            report::json(&groups)
        }
        false => {
            let paint = paint::of_stdout();
            let warnings: String =
                loaded.warnings.iter().map(|warning| warning.to_text(paint) + "\n").collect();
            warnings + &report::human(&groups, paint)
        }
    };
    written(&text, report::code(&groups))
}

fn written(text: &str, code: u8) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::from(code),
        Err(_) => ExitCode::from(74),
    }
}
