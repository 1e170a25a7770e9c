//! Whether what a command writes is coloured: [`Paint`] decides, here it is told what it decides by.

use std::io::IsTerminal;

use crate::domain::paint::Medium;
use crate::domain::paint::Paint;

/// For what goes to stdout.
pub fn of_stdout() -> Paint {
    of(&std::io::stdout())
}

/// For what goes to stderr.
pub fn of_stderr() -> Paint {
    of(&std::io::stderr())
}

fn of(stream: &impl IsTerminal) -> Paint {
    let medium = match stream.is_terminal() {
        true => Medium::Terminal,
        false => Medium::Other,
    };
    Paint::on(medium, |name| std::env::var_os(name))
}
