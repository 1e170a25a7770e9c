//! The real binary at a real terminal: a pseudo-terminal, which `script` of util-linux makes and connects with pipes.

use std::fs;
use std::io::Read;
use std::io::Write;
use std::path::Path;
use std::process::Child;
use std::process::ChildStdin;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::time::Instant;

/// How long anything may take, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the key sends that interrupts.
pub const CONTROL_C: &str = "\u{3}";

/// What the key sends that ends the input, at the beginning of a line.
pub const CONTROL_D: &str = "\u{4}";

/// A command at a terminal of its own. Killed when dropped.
pub struct Terminal {
    script: Child,
    keyboard: ChildStdin,
    screen: Arc<Mutex<Vec<u8>>>,
    reading: Option<JoinHandle<()>>,
    directory: tempfile::TempDir,
}

impl Terminal {
    /// Runs a line of shell there, in which `$OBO` is the binary, in an empty directory.
    pub fn start(line: &str, environment: &[(&str, &str)]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), line, environment)
    }

    /// The same in this directory.
    pub fn start_in(directory: tempfile::TempDir, line: &str, environment: &[(&str, &str)]) -> Self {
        let process = directory.path().join("process");
        // the shell becomes the command: what the keyboard sends is meant for that alone
        let line = format!("echo $$ > '{}'; exec {line}", process.display());
        let mut script = Command::new("script")
            .args(["--quiet", "--return", "--flush", "--command", &line, "/dev/null"])
            .env_clear()
            .envs([("OBO", env!("CARGO_BIN_EXE_obo-proxy")), ("PATH", "/usr/bin:/bin"), ("SHELL", "/bin/sh")])
            .env("TERM", "xterm-256color")
            .envs(environment.iter().copied())
            .current_dir(directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (keyboard, mut output) = (script.stdin.take().unwrap(), script.stdout.take().unwrap());
        let screen = Arc::<Mutex<Vec<u8>>>::default();
        let shown = Arc::clone(&screen);
        let reading = thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(read @ 1..) = output.read(&mut piece) {
                shown.lock().unwrap().extend_from_slice(&piece[..read]);
            }
        });
        Self { script, keyboard, screen, reading: Some(reading), directory }
    }

    /// Presses these keys.
    pub fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
        self.keyboard.flush().unwrap();
    }

    /// Waits until `text` stands on the screen, clears that and presses these keys: all that stood there.
    pub fn answer(&mut self, text: &str, keys: &str) -> String {
        let shown = self.see(text);
        // what was seen is not to be taken for the next question
        self.screen.lock().unwrap().clear();
        self.press(keys);
        shown
    }

    /// Waits until `text` stands on the screen: all that does.
    pub fn see(&self, text: &str) -> String {
        let begun = Instant::now();
        loop {
            let shown = self.shown();
            if shown.contains(text) {
                return shown;
            }
            assert!(begun.elapsed() < PATIENCE, "{text:?} is not shown: {shown}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for the command's end: its exit code, what the screen showed last, and where it ran.
    pub fn wait(mut self) -> (i32, String, tempfile::TempDir) {
        let code = self.script.wait().unwrap().code().unwrap();
        self.reading.take().unwrap().join().unwrap();
        let shown = self.shown();
        let directory = std::mem::replace(&mut self.directory, tempfile::tempdir().unwrap());
        (code, shown, directory)
    }

    /// Where it runs.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().unwrap()).replace("\r\n", "\n")
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if matches!(self.script.try_wait(), Ok(None)) {
            // the command is a session of its own, which outlives `script`
            if let Ok(process) = fs::read_to_string(self.directory.path().join("process")) {
                let _ = Command::new("kill").args(["-s", "KILL", process.trim()]).status();
            }
            let _ = self.script.kill();
            let _ = self.script.wait();
        }
    }
}
