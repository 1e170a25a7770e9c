//! Real Redis servers, each on a port of its own. Dropping one kills it.

use std::collections::BTreeMap;
use std::fs;
use std::fs::File;
use std::hash::BuildHasher;
use std::hash::RandomState;
use std::net::TcpListener;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use redis::Connection;
use redis::FromRedisValue;
use redis::RedisResult;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::support::process::signal;

pub mod cluster;
pub mod sentinel;

/// Ports that the system gives to nobody by itself, so that a server finds its own free again.
const PORTS: std::ops::Range<u16> = 10_000..21_000;

/// How far from a server's port its second one is, as in a cluster.
const SECOND: u16 = 10_000;

/// How long a server may take for anything, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(20);

/// No lease lasts longer: what does is a token.
const LEASE_MS: i64 = 2000;

/// A running `redis-server` that keeps nothing on disk.
pub struct Redis {
    child: Child,
    directory: TempDir,
    port: u16,
    options: Vec<String>,
    /// The default user's password.
    password: String,
}

impl Redis {
    /// One that lets everybody in.
    pub fn start() -> Self {
        Self::start_with(|_| Vec::new())
    }

    /// One whose default user has a password.
    pub fn guarded(password: &str) -> Self {
        let options = words(&["--requirepass", password]);
        Self::launch(password, |_, _| options.clone())
    }

    /// One that speaks TLS too, with the certificate and key in these files.
    pub fn with_tls(certificate: &str, key: &str, options: &[&str]) -> Self {
        Self::start_with(|port| {
            let port = port.to_string();
            let tls = ["--tls-port", &port, "--tls-cert-file", certificate, "--tls-key-file", key];
            words(&[&tls[..], options].concat())
        })
    }

    /// One with further options, which may make use of a second port.
    pub fn start_with(options: impl Fn(u16) -> Vec<String>) -> Self {
        Self::launch("", |port, _| options(port + SECOND))
    }

    /// One with the options for its port and its directory.
    fn launch(password: &str, options: impl Fn(u16, &Path) -> Vec<String>) -> Self {
        for _ in 0..20 {
            let directory = tempfile::tempdir().unwrap();
            let port = free_port();
            let options = options(port, directory.path());
            let child = spawn(port, &options, directory.path());
            let mut redis = Self { child, directory, port, options, password: password.to_owned() };
            if redis.came_up() {
                return redis;
            }
        }
        panic!("no redis-server came up");
    }

    /// Whether it serves; if not, its end is seen.
    fn came_up(&mut self) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            // another server may have taken the port meanwhile
            let info: RedisResult<String> = self.ask(&["INFO", "server"]);
            let own = format!("process_id:{}\r", self.child.id());
            if info.is_ok_and(|info| info.contains(&own)) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }

    /// Where it is reached without TLS.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Where it is reached over TLS.
    pub fn tls_url(&self) -> String {
        format!("rediss://127.0.0.1:{}", self.second_port())
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The port that its options may use.
    pub fn second_port(&self) -> u16 {
        self.port + SECOND
    }

    /// Where it keeps what its options tell it to keep.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Kills it; what it holds is lost.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again where it was, after [`Self::kill`].
    pub fn start_again(&mut self) {
        self.child = spawn(self.port, &self.options, self.directory.path());
        assert!(self.came_up(), "{}", fs::read_to_string(self.directory.path().join("log")).unwrap());
    }

    /// Stops it where it stands: connections stay open, and nobody answers.
    pub fn pause(&self) {
        signal(self.child.id(), "STOP");
    }

    /// Lets it go on after [`Self::pause`].
    pub fn resume(&self) {
        signal(self.child.id(), "CONT");
    }

    /// Leaves no room for another entry, whatever the size.
    pub fn fill(&self) {
        self.command::<()>(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
        self.command::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
    }

    /// Makes room after [`Self::fill`].
    pub fn make_room(&self) {
        self.command::<()>(&["CONFIG", "SET", "maxmemory", "0"]);
    }

    /// What it says to a command of its administrator's, which must succeed.
    pub fn command<T: FromRedisValue>(&self, words: &[&str]) -> T {
        self.ask(words).unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// What it says to a command of its administrator's.
    pub fn ask<T: FromRedisValue>(&self, words: &[&str]) -> RedisResult<T> {
        let (name, arguments) = words.split_first().unwrap();
        redis::cmd(name).arg(arguments).query(&mut self.connection()?)
    }

    fn connection(&self) -> RedisResult<Connection> {
        let url = format!("redis://:{}@127.0.0.1:{}", self.password, self.port);
        let url = if self.password.is_empty() { self.url() } else { url };
        let connection = redis::Client::open(url)?.get_connection_with_timeout(PATIENCE)?;
        connection.set_read_timeout(Some(PATIENCE))?;
        Ok(connection)
    }

    /// The tokens that it holds, sealed, by name.
    pub fn entries(&self) -> BTreeMap<String, Vec<u8>> {
        let mut connection = self.connection().unwrap();
        let names: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut connection).unwrap();
        let mut entries = BTreeMap::new();
        for name in names {
            let left: i64 = redis::cmd("PTTL").arg(&name).query(&mut connection).unwrap();
            // -1: it never ends
            if left > LEASE_MS || left == -1 {
                let value: Option<Vec<u8>> = redis::cmd("GET").arg(&name).query(&mut connection).unwrap();
                entries.extend(value.map(|value| (name, value)));
            }
        }
        entries
    }

    /// Puts another value in the place of an entry, which ends when it would have ended.
    pub fn replace(&self, name: &str, value: &[u8]) {
        self.put("SET", name, &[value, b"KEEPTTL"]);
    }

    /// A command of its administrator's, which may have any bytes, about what has that name.
    pub fn put(&self, command: &str, name: &str, arguments: &[&[u8]]) {
        let mut connection = self.connection().unwrap();
        redis::cmd(command).arg(name).arg(arguments).exec(&mut connection).unwrap();
    }

    /// Starts it again with another password.
    pub fn restart_with_password(&mut self, password: &str) {
        self.kill();
        self.options = words(&["--requirepass", password]);
        password.clone_into(&mut self.password);
        self.start_again();
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Several words as arguments.
pub fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

fn spawn(port: u16, options: &[String], directory: &Path) -> Child {
    let log = File::create(directory.join("log")).unwrap();
    let port = port.to_string();
    // a sentinel's first argument is its file
    let (file, options) = match options.split_first() {
        Some((first, rest)) if !first.starts_with("--") => (Some(first), rest),
        _ => (None, options),
    };
    let mut command = Command::new("redis-server");
    command.args(file).args(["--bind", "127.0.0.1", "--port", &port]);
    if file.is_none() {
        command.args(["--save", ""]);
    }
    command.arg("--dir").arg(directory).args(options);
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    command.spawn().expect("redis-server is not installed; tests/run.sh does that")
}

/// A port at which nobody listens, and the second one neither.
pub fn free_port() -> u16 {
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    loop {
        let random = RandomState::new().hash_one(());
        let port = PORTS.start + u16::try_from(random % PORTS.len() as u64).unwrap();
        if is_free(port) && is_free(port + SECOND) {
            return port;
        }
    }
}
