//! The real binary as a child process.

use std::fs;
use std::fs::File;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use obo_proxy::app::demo::entra::settings::Settings;
use serde_json::Value;
use tokio::time::Instant;

/// How long anything may take, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a proxy says that was asked to read its configuration for nothing.
pub const UNCHANGED: &str = "the configuration was read again";

/// The binary, with an environment of its own.
pub fn obo_proxy(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_obo-proxy"));
    command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).env_clear().stdin(Stdio::null());
    command
}

/// Runs it to its end.
pub fn run(arguments: &[&str]) -> Output {
    obo_proxy(arguments).output().unwrap()
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A running `demo`. Killed when dropped.
pub struct Demo {
    child: Child,
    pub addresses: Value,
}

impl Demo {
    /// Starts it on free ports and waits until it serves.
    pub fn start() -> Self {
        let free = "127.0.0.1:0";
        let flags = ["--proxy", "--idp", "--upstream", "--telemetry", "--admin"].map(|flag| [flag, free]);
        Self::start_with(flags.as_flattened())
    }

    /// The same with other flags.
    pub fn start_with(flags: &[&str]) -> Self {
        let arguments = [&["demo", "--json"], flags].concat();
        let mut child = obo_proxy(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        if line.is_empty() {
            let mut why = String::new();
            child.stderr.take().unwrap().read_to_string(&mut why).unwrap();
            panic!("the demo did not start: {why}");
        }
        Self { addresses: serde_json::from_str(&line).unwrap(), child }
    }

    pub fn address(&self, of: &str) -> &str {
        self.addresses[of].as_str().unwrap()
    }

    /// Sends it a signal.
    pub fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// From now on nobody reads its log.
    pub fn ignore(&mut self) {
        drop(self.child.stderr.take());
    }

    /// Waits for its end: its exit code and what it logged that was read.
    pub fn wait(mut self) -> (Option<i32>, String) {
        let mut log = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            stderr.read_to_string(&mut log).unwrap();
        }
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status.code(), log);
            }
            assert!(begun.elapsed() < PATIENCE, "it does not end: {log}");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A running `run`. Killed when dropped.
pub struct Proxy {
    child: Child,
    /// Where callers connect.
    pub address: String,
    /// Where probes and metrics are.
    pub telemetry: String,
    directory: tempfile::TempDir,
}

impl Proxy {
    /// Starts it with a configuration and an environment, and waits until it listens.
    pub fn start(config: &str, environment: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("config.yaml"), config).unwrap();
        Self::start_in(directory, environment)
    }

    /// The same, started by another program with these arguments, which becomes it.
    pub fn start_by(program: &[&str], config: &str, environment: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("config.yaml"), config).unwrap();
        let file = directory.path().join("config.yaml");
        let mut command = Command::new(program[0]);
        command.args(&program[1..]).arg(env!("CARGO_BIN_EXE_obo-proxy")).args(["run", "--config"]).arg(file);
        command.env_clear().envs(environment.iter().copied()).stdin(Stdio::null());
        Self::begun(command, directory)
    }

    /// The same, where the file is a symbolic link into a directory that is one too, as where a ConfigMap is mounted.
    pub fn start_linked(config: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("..1")).unwrap();
        fs::write(directory.path().join("..1/config.yaml"), config).unwrap();
        symlink("..1", directory.path().join("..data")).unwrap();
        symlink("..data/config.yaml", directory.path().join("config.yaml")).unwrap();
        Self::start_in(directory, &[])
    }

    /// The same, where the configuration comes by standard input.
    pub fn start_from_a_pipe(config: &str) -> Self {
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(config.as_bytes()).unwrap();
        drop(writer);
        let mut command = obo_proxy(&["run", "--config", "/dev/stdin"]);
        command.stdin(reader);
        Self::begun(command, tempfile::tempdir().unwrap())
    }

    fn start_in(directory: tempfile::TempDir, environment: &[(&str, &str)]) -> Self {
        let file = directory.path().join("config.yaml");
        let mut command = obo_proxy(&["run", "--config", file.to_str().unwrap()]);
        command.envs(environment.iter().copied());
        Self::begun(command, directory)
    }

    /// The same, by a command of one's own; what it needs is in the directory.
    pub fn begun(mut command: Command, directory: tempfile::TempDir) -> Self {
        let log = File::create(directory.path().join("log")).unwrap();
        let child = command.stderr(log).spawn().unwrap();
        let (address, telemetry) = (String::new(), String::new());
        let mut proxy = Self { child, address, telemetry, directory };
        (proxy.address, proxy.telemetry) = loop {
            let log = proxy.log();
            let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
            let address = |of: &str| {
                let line = lines.iter().find(|line| line["msg"] == of)?;
                line["address"].as_str().map(str::to_owned)
            };
            if let (Some(address), Some(telemetry)) = (address("listening"), address("probes and metrics")) {
                break (address, telemetry);
            }
            assert!(proxy.child.try_wait().unwrap().is_none(), "the proxy did not start: {log}");
            thread::sleep(Duration::from_millis(10));
        };
        proxy
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The most bytes of memory that it had at any time.
    pub fn most_memory(&self) -> u64 {
        self.status("VmHWM:")
    }

    /// The bytes of memory that it has.
    pub fn memory(&self) -> u64 {
        self.status("VmRSS:")
    }

    fn status(&self, of: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(of)).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
    }

    /// How many descriptors it has open, by its own word: nobody but root may look.
    pub fn descriptors(&self) -> usize {
        let text = self.metrics();
        let value = text.lines().find_map(|line| line.strip_prefix("process_open_fds ")).unwrap();
        value.parse::<f64>().unwrap() as usize
    }

    /// What it tells Prometheus.
    pub fn metrics(&self) -> String {
        let mut connection = std::net::TcpStream::connect(&self.telemetry).unwrap();
        let request =
            format!("GET /metrics HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", self.telemetry);
        connection.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        answer
    }

    /// The clock ticks of CPU time, 100 a second, that it has used.
    pub fn cpu_ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id())).unwrap();
        // after the name, which is in parentheses, user and system time are the 12th and 13th field
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    /// Where its configuration is.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Writes another configuration, in one step.
    pub fn write(&self, config: &str) {
        let new = self.directory.path().join("new.yaml");
        fs::write(&new, config).unwrap();
        fs::rename(new, self.directory.path().join("config.yaml")).unwrap();
    }

    /// Has it read its configuration anew, and waits until it did: what it said of it.
    pub fn read_again(&self) -> Value {
        let before = self.verdicts().len();
        signal(self.id(), "HUP");
        self.verdict(before)
    }

    /// Writes another configuration, has it read and waits until it was: what it said of it.
    pub fn reload(&self, config: &str) -> Value {
        self.write(config);
        let before = self.verdicts().len();
        signal(self.id(), "HUP");
        // where it had seen the file already, it has nothing to add
        (before..)
            .map(|verdict| self.verdict(verdict))
            .find(|verdict| !verdict["msg"].as_str().unwrap().starts_with(UNCHANGED))
            .unwrap()
    }

    /// Waits for what it says of a configuration after it has done so that many times.
    pub fn verdict(&self, after: usize) -> Value {
        let begun = Instant::now();
        loop {
            if let Some(verdict) = self.verdicts().get(after) {
                return verdict.clone();
            }
            assert!(begun.elapsed() < PATIENCE, "nothing was said of the configuration: {}", self.log());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// What it said of each configuration it has read since it started.
    pub fn verdicts(&self) -> Vec<Value> {
        let verdicts = ["another configuration is in use", "the configuration is refused", UNCHANGED];
        self.lines(|message| verdicts.iter().any(|verdict| message.starts_with(verdict)))
    }

    /// The lines of its log with such a message.
    pub fn lines(&self, is_wanted: impl Fn(&str) -> bool) -> Vec<Value> {
        let log = self.log();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["msg"].as_str().is_some_and(&is_wanted)).collect()
    }

    /// Waits for its end: its exit code and all it logged.
    pub fn wait(mut self) -> (Option<i32>, String) {
        let code = self.child.wait().unwrap().code();
        (code, self.log())
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap()
    }

    /// Ends it by SIGTERM: its exit code and all it logged.
    pub fn stop(mut self) -> (Option<i32>, String) {
        signal(self.child.id(), "TERM");
        let code = self.child.wait().unwrap().code();
        (code, self.log())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The demo's configuration with one route that exchanges, for a proxy of its own. The secret is in `SECRET`.
pub fn config(authority: &str, upstream: &str, log_level: &str) -> String {
    config_with(authority, upstream, log_level, "{ secret: { env: SECRET } }")
}

/// The same with another `credential`.
pub fn config_with(authority: &str, upstream: &str, log_level: &str, credential: &str) -> String {
    let Settings { tenant, client_id, .. } = Settings::default();
    format!(
        r#"
listeners: {{ default: {{ address: "127.0.0.1:0" }} }}
identity_providers:
  demo:
    entra: {{ tenant: {tenant}, authority: "{authority}" }}
    client_id: {client_id}
    credential: {credential}
routes:
  orders: {{ match: /, upstream: "http://{upstream}", exchange: {{ scopes: [api://orders-backend/orders.read] }} }}
telemetry: {{ address: "127.0.0.1:0", logs: {{ format: json, level: {log_level} }} }}
shutdown: {{ delay: 0s, drain: 2s }}
"#
    )
}

/// What the three curl lines that users are given must answer.
pub fn check_the_three_curls(answers: &[String]) {
    let expected = [
        ("HTTP/1.1 200", "\"aud\":\"api://orders-backend\""),
        ("HTTP/1.1 403", "insufficient_scope"),
        ("HTTP/1.1 401", "error=\"insufficient_claims\", claims=\"eyJ"),
    ];
    assert_eq!(answers.len(), expected.len(), "there are three curl lines");
    for (answer, (status, part)) in answers.iter().zip(expected) {
        assert!(answer.starts_with(status) && answer.contains(part), "{answer}");
    }
}

/// Sends a signal to a process.
pub fn signal(process: u32, name: &str) {
    let status = Command::new("kill").args(["-s", name, &process.to_string()]).status().unwrap();
    assert!(status.success());
}

/// Runs a line of shell as a user would paste it.
pub fn shell(line: &str) -> String {
    let output = Command::new("bash").args(["-c", line]).output().unwrap();
    assert!(output.status.success(), "{line}\n{}", text(&output.stderr));
    text(&output.stdout)
}

/// A file below the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The files below a directory of the repository whose names end so, in order.
pub fn files_below(directory: &str, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut directories = vec![repository(directory)];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|of_file| of_file == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}
