//! What the process does to itself before anything else, so that nobody else comes by what it will hold.
//!
//! **In:** nothing. **Out:** a process of which no core is written, which nobody but root may look into or trace (prctl(2),
//! `PR_SET_DUMPABLE`), and which no program that it might start can lift above it (`PR_SET_NO_NEW_PRIVS`). **Never:** ends the
//! process: where the system refuses one of them, the others hold all the same.

use rustix::io::Errno;
use rustix::process::Resource;
use rustix::process::Rlimit;
use rustix::process::setrlimit;

/// What the system refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A dump may be written when the process breaks.
    #[error("the limit of core dumps cannot be set to nothing")]
    Core(#[source] Errno),
    /// Whoever runs as the same user may read its memory.
    #[error("the process cannot be made undumpable")]
    Dumpable(#[source] Errno),
    /// What it starts may be more than it is.
    #[error("new privileges cannot be given up")]
    Privileges(#[source] Errno),
}

/// Shuts the process off: before there are threads, which would keep the privileges that it has, and before anything
/// secret is read. What could not be done.
pub fn seclude() -> Vec<Error> {
    let nothing = Rlimit { current: Some(0), maximum: Some(0) };
    let core = setrlimit(Resource::Core, nothing).map_err(Error::Core);
    [core, undumpable(), unprivileged()].into_iter().filter_map(Result::err).collect()
}

/// The limit of cores holds for files alone, and not where the kernel pipes dumps into a program (core(5)); this holds for both.
#[cfg(target_os = "linux")]
fn undumpable() -> Result<(), Error> {
    use rustix::process::DumpableBehavior;
    use rustix::process::set_dumpable_behavior;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(Error::Dumpable)
}

#[cfg(target_os = "linux")]
fn unprivileged() -> Result<(), Error> {
    rustix::thread::set_no_new_privs(true).map_err(Error::Privileges)
}

/// There is no such thing.
#[cfg(not(target_os = "linux"))]
fn undumpable() -> Result<(), Error> {
    Ok(())
}

/// There is no such thing.
#[cfg(not(target_os = "linux"))]
fn unprivileged() -> Result<(), Error> {
    Ok(())
}
