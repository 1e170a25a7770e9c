//! What is told of a panic.
//!
//! **In:** a panic, in whatever thread. **Out:** where in the code it was. **Never:** its text: it may hold what a request,
//! a token or a file said.

use std::io;
use std::io::Write;
use std::panic::Location;

/// Has every panic from now on told by its place alone: in the log, or before there is one on stderr.
pub fn tell_places_alone() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or_else(|| "an unknown place".into(), Location::to_string);
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or("unnamed");
        match tracing::dispatcher::has_been_set() {
            true => tracing::error!(place, thread, "a fault in obo-proxy: the code panicked"),
            // where nobody reads, another panic would end the process
            false => _ = writeln!(io::stderr(), "error: a fault in obo-proxy: the code panicked at {place}"),
        }
    }));
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::process::Command;

    use super::*;

    /// The hook is the whole process's: the panic is in a process of its own, which is this test again.
    #[test]
    fn a_panic_is_told_by_its_place_and_without_its_words() {
        const AGAIN: &str = "OBO_PROXY_TEST_PANICS";
        const SELF: &str = "app::panics::tests::a_panic_is_told_by_its_place_and_without_its_words";
        match std::env::var_os(AGAIN).as_deref().and_then(OsStr::to_str) {
            Some("log") => tracing::subscriber::set_global_default(
                tracing_subscriber::fmt().with_writer(io::stderr).with_ansi(false).finish(),
            )
            .unwrap(),
            Some(_) => {}
            None => return ["log", "stderr"].into_iter().for_each(|way| check(SELF, AGAIN, way)),
        }
        tell_places_alone();
        let secret = String::from("hunter") + "2";
        panic!("{secret}");
    }

    fn check(test: &str, variable: &str, way: &str) {
        let mut again = Command::new(std::env::current_exe().unwrap());
        let ended = again.args([test, "--exact", "--nocapture"]).env(variable, way).output().unwrap();
        let told = String::from_utf8([ended.stdout, ended.stderr].concat()).unwrap();
        assert!(!ended.status.success(), "{told}");
        assert!(told.contains("the code panicked") && told.contains("src/app/panics.rs:"), "{told}");
        assert!(!told.contains("hunter2"), "{told}");
        assert_eq!(told.contains("ERROR"), way == "log", "{told}");
    }
}
