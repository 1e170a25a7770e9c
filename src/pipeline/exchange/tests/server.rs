//! A real `redis-server` on a port of its own. Dropping it kills it.

use std::net::TcpListener;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use redis::Client;
use redis::Connection;
use redis::FromRedisValue;
use redis::RedisResult;
use redis::ToRedisArgs;
use redis::cmd;

use crate::config;
use crate::config::Login;
use crate::config::RedisServer;
use crate::config::SecretSource;
use crate::config::Topology;
use crate::config::Transport;
use crate::domain::secret::Secret;
use crate::pipeline::exchange::tests::sample;

/// The server, and a connection of its administrator's.
pub struct Server {
    child: Child,
    port: u16,
    connection: Mutex<Connection>,
}

impl Server {
    /// One that keeps nothing on disk.
    pub fn start() -> Self {
        (0..20).find_map(|_| Self::attempt()).expect("no redis-server came up")
    }

    /// Fails where somebody takes the port first.
    fn attempt() -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", ""]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().expect("redis-server is not installed; tests/run.sh does that");
        let client = Client::open(format!("redis://127.0.0.1:{port}")).unwrap();
        for _ in 0..2000 {
            if let Ok(mut connection) = client.get_connection() {
                let info: RedisResult<String> = cmd("INFO").arg("server").query(&mut connection);
                if info.is_ok_and(|info| info.contains(&format!("process_id:{}\r", child.id()))) {
                    return Some(Self { child, port, connection: Mutex::new(connection) });
                }
            }
            if child.try_wait().unwrap().is_some() {
                return None;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = child.kill();
        let _ = child.wait();
        None
    }

    /// Where it is.
    pub fn address(&self) -> RedisServer {
        RedisServer { host: "127.0.0.1".into(), port: self.port, transport: Transport::Plain }
    }

    /// What it says to a command.
    pub fn run<T: FromRedisValue>(&self, name: &str, arguments: &[impl ToRedisArgs]) -> T {
        cmd(name).arg(arguments).query(&mut self.connection.lock().unwrap()).unwrap()
    }

    /// What it says to a command, if it says yes.
    pub fn ask<T: FromRedisValue>(&self, words: &[&str]) -> RedisResult<T> {
        let (name, arguments) = words.split_first().unwrap();
        cmd(name).arg(arguments).query(&mut self.connection.lock().unwrap())
    }

    /// The names that match.
    pub fn matching(&self, pattern: &str) -> Vec<String> {
        self.run("KEYS", &[pattern])
    }

    /// The names of what it holds for that purpose.
    pub fn names(&self, purpose: &str) -> Vec<String> {
        self.matching(&format!("obo:{purpose}:*"))
    }

    /// The one name there is for that purpose.
    pub fn name(&self, purpose: &str) -> String {
        let names = self.names(purpose);
        assert_eq!(names.len(), 1, "{names:?}");
        names.into_iter().next().unwrap()
    }

    /// What it holds under that name.
    pub fn value(&self, name: &str) -> Option<Vec<u8>> {
        self.run("GET", &[name])
    }

    /// Puts a value under that name, where another one may be.
    pub fn put(&self, name: &str, value: &[u8]) {
        self.run::<()>("SET", &[name.as_bytes(), value]);
    }

    /// A number among what it says of itself in that section.
    pub fn number(&self, section: &str, name: &str) -> u64 {
        let info: String = self.run("INFO", &[section]);
        let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let digits = value.unwrap_or("0").trim_start_matches("calls=");
        digits.split(',').next().unwrap().trim().parse().unwrap()
    }

    /// Stops it where it stands, or lets it go on.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// How to share what is in it, with the encryption keys of these seeds. It may take long.
    pub fn settings(&self, keys: &[u8]) -> config::Redis {
        let server = self.address();
        let key = |seed: &u8| SecretSource::Here(Secret::new(BASE64_STANDARD.encode([*seed; 32])));
        config::Redis {
            topology: Topology::Standalone { server, database: 0 },
            login: Login::default(),
            encryption_keys: keys.iter().map(key).collect(),
            timeout: Duration::from_secs(5),
        }
    }

    /// A cache that shares what is in it, with the encryption keys of these seeds.
    pub fn cache(&self, keys: &[u8]) -> config::Cache {
        config::Cache { redis: Some(Arc::new(self.settings(keys))), ..sample::cache() }
    }

    /// Kills it; what it holds is lost.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
