//! What the process does to itself, and what others of the machine can learn of it: the real binary, looked at from outside.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

mod memory;
mod operators;
mod outbound;
mod process;

/// Whom a container runs as.
const NOBODY: u32 = 65532;

/// The status of a process, line by line, which everybody may read.
fn status(process: u32, of: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(of)?.strip_prefix(':')).unwrap();
    line.trim().to_owned()
}

fn is_root() -> bool {
    status(std::process::id(), "Uid").starts_with("0\t")
}

/// The command run as somebody who is not root: as [`NOBODY`] where this is root, else as who this is.
fn unprivileged(command: &mut Command) -> &mut Command {
    match is_root() {
        true => command.uid(NOBODY).gid(NOBODY),
        false => command,
    }
}

/// A directory that [`NOBODY`] may write to, with the binary in it: the way to where it was built may be shut to them.
fn open_directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
    if is_root() {
        fs::copy(env!("CARGO_BIN_EXE_obo-proxy"), directory.path().join("obo-proxy")).unwrap();
    }
    directory
}

/// The binary as [`unprivileged`] can run it.
fn program(directory: &Path) -> Command {
    let copy = directory.join("obo-proxy");
    let mut command =
        Command::new(if copy.exists() { &copy } else { Path::new(env!("CARGO_BIN_EXE_obo-proxy")) });
    command.env_clear().current_dir(directory);
    unprivileged(&mut command);
    command
}
