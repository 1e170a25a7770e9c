//! `completions`: what makes a shell complete our commands.

use clap::ValueEnum;
use clap_complete::Shell;

use crate::app::cli::Failure;
use crate::app::cli::print;
use crate::app::cli::usage;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  source <(obo-proxy completions bash)
  obo-proxy completions zsh > \"${fpath[1]}/_obo-proxy\"
  obo-proxy completions fish > ~/.config/fish/completions/obo-proxy.fish

Exit codes: 0 it is printed; 2 usage; 74 stdout cannot be written to.

Read on: `obo-proxy --help` lists the commands, the README's `Commands` says what each answers.")]
pub(super) struct Arguments {
    /// For which shell
    #[arg(value_enum)]
    shell: Known,
}

/// The shells that are known.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Known {
    Bash,
    Zsh,
    Fish,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let shell = match arguments.shell {
        Known::Bash => Shell::Bash,
        Known::Zsh => Shell::Zsh,
        Known::Fish => Shell::Fish,
    };
    // it panics where it cannot write, and this can always be written to
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut usage::command(), "obo-proxy", &mut script);
    print(&String::from_utf8_lossy(&script))
}
