//! A master, its replica, and the sentinel that knows which of them is which.

use std::fs;

use redis::RedisResult;

use crate::support::redis::Redis;
use crate::support::redis::words;
use crate::support::until;

/// What the sentinel calls the master.
pub const MASTER: &str = "mymaster";

/// All of them. Dropping it kills them.
pub struct Watched {
    pub sentinel: Redis,
    /// The master at first, and its replica.
    servers: [Redis; 2],
}

impl Watched {
    /// Starts them and waits until one could take the other's place.
    pub async fn start() -> Self {
        let options = ["--repl-diskless-sync-delay", "0"];
        let master = Redis::start_with(|_| words(&options));
        let port = master.port().to_string();
        let of = ["--replicaof", "127.0.0.1", &port];
        let replica = Redis::start_with(|_| words(&[&options[..], &of].concat()));
        until("the replica has caught up", async || {
            let info: String = replica.command(&["INFO", "replication"]);
            info.contains("master_link_status:up")
        })
        .await;
        let settings = format!(
            "sentinel monitor {MASTER} 127.0.0.1 {port} 1\nsentinel down-after-milliseconds {MASTER} 5000\n"
        );
        let sentinel = Redis::launch("", |_, directory| {
            let file = directory.join("sentinel.conf");
            fs::write(&file, &settings).unwrap();
            words(&[file.to_str().unwrap(), "--sentinel"])
        });
        let watched = Self { sentinel, servers: [master, replica] };
        watched.knows_a_replica().await;
        watched
    }

    async fn knows_a_replica(&self) {
        until("the sentinel knows a replica", async || {
            let replicas: Vec<redis::Value> = self.sentinel.command(&["SENTINEL", "REPLICAS", MASTER]);
            !replicas.is_empty()
        })
        .await;
    }

    /// The port of the one that the sentinel calls the master.
    fn master_port(&self) -> u16 {
        let (_, port): (String, u16) =
            self.sentinel.command(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER]);
        port
    }

    /// The master and the replica.
    pub fn servers(&self) -> &[Redis] {
        &self.servers
    }

    /// The one that the sentinel calls the master.
    pub fn master(&self) -> &Redis {
        let port = self.master_port();
        self.servers.iter().find(|server| server.port() == port).unwrap()
    }

    /// Has the replica promoted. The old master goes on as its replica, which the sentinel would see to some seconds
    /// later.
    pub async fn fail_over(&self) {
        let old = self.master();
        let [one, other] = &self.servers;
        until("both have the same", async || one.entries() == other.entries()).await;
        until("a failover has begun", async || {
            let begun: RedisResult<()> = self.sentinel.ask(&["SENTINEL", "FAILOVER", MASTER]);
            begun.is_ok()
        })
        .await;
        until("there is another master", async || self.master_port() != old.port()).await;
        old.command::<()>(&["REPLICAOF", "127.0.0.1", &self.master_port().to_string()]);
    }
}
