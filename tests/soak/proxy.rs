//! The real binary as a process of its own, whose log is read as it comes.

use std::collections::BTreeMap;
use std::fs;
use std::fs::File;
use std::io::BufRead;
use std::io::BufReader;
use std::io::BufWriter;
use std::io::Write;
use std::path::Path;
use std::process::Child;
use std::process::ChildStderr;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::calls::numbered;
use crate::ledger::Ledger;
use crate::run::sum;
use crate::support::process::signal;

/// How long anything may take, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// What it logs that somebody waits for.
pub const IN_USE: &str = "another configuration is in use";
pub const REFUSED: &str = "the configuration is refused";
pub const LISTENING: &str = "listening";

/// What one says that counts how much it has allocated.
pub const HEAP: &str = "heap";

/// A running proxy. Killed when dropped.
pub struct Proxy {
    child: Child,
    reading: Option<JoinHandle<()>>,
    pub log: Arc<Log>,
}

/// What it has logged, as far as it matters.
#[derive(Default)]
pub struct Log(Mutex<Lines>);

#[derive(Default)]
struct Lines {
    /// How many of each level.
    levels: BTreeMap<String, u64>,
    /// Lines of level error, but for those of requests; whatever is no JSON; and when they came.
    errors: Vec<(Instant, String)>,
    /// How often each message came, but for that of requests.
    messages: BTreeMap<String, u64>,
    /// What it listens on, by name.
    addresses: BTreeMap<String, String>,
    /// What was allocated last, in bytes.
    heap: u64,
}

/// What the kernel says of it at a moment, to itself or to us.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Resident memory in KiB.
    pub memory: u64,
    /// What is allocated of it, in KiB; 0 = nobody counts.
    pub heap: u64,
    pub descriptors: u64,
    pub threads: u64,
}

impl Proxy {
    /// Starts it and waits until all of these listen. The access log goes to the ledger, and all of it to a file if there is
    /// one.
    pub fn start(mut command: Command, listeners: &[&str], ledger: Arc<Ledger>, file: Option<&Path>) -> Self {
        command.stdin(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (log, stderr) = (Arc::new(Log::default()), child.stderr.take().unwrap());
        let noting = log.clone();
        let file = file.map(|path| BufWriter::new(File::create(path).unwrap()));
        let reading = std::thread::spawn(move || read(stderr, &noting, &ledger, file));
        let mut proxy = Self { child, reading: Some(reading), log };
        let begun = Instant::now();
        while !listeners.iter().all(|name| proxy.log.address(name).is_some()) {
            let is_over = proxy.child.try_wait().unwrap().is_some() || begun.elapsed() > PATIENCE;
            assert!(!is_over, "the proxy did not start: {:?}", proxy.log.errors());
            std::thread::sleep(Duration::from_millis(10));
        }
        proxy
    }

    /// Has it read its files now.
    pub fn hang_up(&self) {
        signal(self.child.id(), "HUP");
    }

    pub fn terminate(&self) {
        signal(self.child.id(), "TERM");
    }

    /// Waits for its end, and the last of its log: its exit code.
    pub fn wait(&mut self) -> Option<i32> {
        let code = self.child.wait().unwrap().code();
        if let Some(reading) = self.reading.take() {
            reading.join().unwrap();
        }
        code
    }

    /// As it is now. How many descriptors it has open, its metrics say: nobody but root may look.
    pub fn sample(&self, metrics: &str) -> Sample {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let number = |of: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(of));
            line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
        };
        let descriptors = sum(metrics, "process_open_fds ", "");
        let heap = self.log.0.lock().unwrap().heap / 1024;
        Sample { memory: number("VmRSS:"), heap, descriptors, threads: number("Threads:") }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _ended_already = self.child.wait();
    }
}

impl Log {
    pub fn address(&self, name: &str) -> Option<String> {
        self.0.lock().unwrap().addresses.get(name).cloned()
    }

    /// How often a message that begins so came.
    pub fn count(&self, message: &str) -> u64 {
        let lines = self.0.lock().unwrap();
        lines.messages.iter().filter(|(own, _)| own.starts_with(message)).map(|(_, count)| count).sum()
    }

    pub fn errors(&self) -> Vec<(Instant, String)> {
        self.0.lock().unwrap().errors.clone()
    }

    pub fn levels(&self) -> BTreeMap<String, u64> {
        self.0.lock().unwrap().levels.clone()
    }

    fn note(&self, line: &str, ledger: &Ledger) {
        let value: Option<Value> = serde_json::from_str(line).ok();
        let mut lines = self.0.lock().unwrap();
        let Some(value) = value else {
            return lines.errors.push((Instant::now(), line.to_owned()));
        };
        let text = |name: &str| value[name].as_str().unwrap_or_default();
        let (level, message) = (text("level"), text("msg"));
        if message == HEAP {
            lines.heap = value["bytes"].as_u64().unwrap_or_default();
            return;
        }
        *lines.levels.entry(level.to_owned()).or_default() += 1;
        if message == "request" {
            let number = numbered(text("request_id"));
            let status =
                value["http.response.status_code"].as_u64().and_then(|status| status.try_into().ok());
            return match number.zip(status) {
                Some((number, status)) => ledger.logged(number, status),
                None => lines.errors.push((Instant::now(), format!("whose request is this? {line}"))),
            };
        }
        if level == "error" {
            lines.errors.push((Instant::now(), line.to_owned()));
        }
        if matches!(level, "error" | "warn" | "info") {
            *lines.messages.entry(message.to_owned()).or_default() += 1;
        }
        let name = if message == LISTENING { text("listener") } else { message };
        if let Some(address) = value["address"].as_str() {
            lines.addresses.insert(name.to_owned(), address.to_owned());
        }
    }
}

fn read(stderr: ChildStderr, log: &Log, ledger: &Ledger, mut file: Option<BufWriter<File>>) {
    for line in BufReader::new(stderr).split(b'\n') {
        let line = line.unwrap();
        log.note(&String::from_utf8_lossy(&line), ledger);
        if let Some(file) = &mut file {
            file.write_all(&[&line, &b"\n"[..]].concat()).unwrap();
        }
    }
}
