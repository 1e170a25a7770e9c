//! A real `redis-server` on a port of its own. Dropping it kills it.

use std::net::TcpListener;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use redis::FromRedisValue;
use redis::RedisResult;

use crate::config;
use crate::config::Login;
use crate::config::RedisServer;
use crate::config::SecretSource;
use crate::config::Topology;
use crate::config::Transport;
use crate::domain::secret::Secret;
use crate::pipeline::exchange::tests::sample;

/// How long it may take to start, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(20);

/// The server.
pub struct Server {
    child: Child,
    port: u16,
}

impl Server {
    /// One that keeps nothing on disk.
    pub fn start() -> Self {
        for _ in 0..20 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let mut command = Command::new("redis-server");
            command.args(["--bind", "127.0.0.1", "--save", "", "--port", &port.to_string()]);
            let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
            let mut server = Self { child: child.unwrap(), port };
            if server.came_up() {
                return server;
            }
        }
        panic!("no redis-server came up");
    }

    /// Whether it serves; if not, its end is seen.
    fn came_up(&mut self) -> bool {
        for _ in 0..PATIENCE.as_millis() / 5 {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            // another server may have taken the port meanwhile
            let own = format!("process_id:{}\r", self.child.id());
            if self.ask::<String>(&["INFO", "server"]).is_ok_and(|info| info.contains(&own)) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }

    /// What it answers.
    pub fn ask<T: FromRedisValue>(&self, words: &[&str]) -> RedisResult<T> {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}", self.port))?;
        let (name, arguments) = words.split_first().unwrap();
        redis::cmd(name).arg(arguments).query(&mut client.get_connection_with_timeout(PATIENCE)?)
    }

    /// Stops it where it stands, or lets it go on.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// The names that match.
    pub fn names(&self, pattern: &str) -> Vec<String> {
        self.ask(&["KEYS", pattern]).unwrap()
    }

    /// How to share what is in it, with the encryption keys of these seeds. It may take long.
    pub fn settings(&self, keys: &[u8]) -> config::Redis {
        let server = RedisServer { host: "127.0.0.1".into(), port: self.port, transport: Transport::Plain };
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
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
