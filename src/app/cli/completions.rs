//! `completions`: what makes a shell complete our commands.

use clap::CommandFactory;
use clap::ValueEnum;
use clap_complete::Shell;

use crate::app::cli;
use crate::app::cli::Failure;
use crate::app::cli::print;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  source <(obo-proxy completions bash)
  obo-proxy completions zsh > \"${fpath[1]}/_obo-proxy\"
  obo-proxy completions fish > ~/.config/fish/completions/obo-proxy.fish")]
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
    clap_complete::generate(shell, &mut cli::Arguments::command(), "obo-proxy", &mut script);
    print(&String::from_utf8_lossy(&script))
}
