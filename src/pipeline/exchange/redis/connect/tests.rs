//! Servers that say what they are told to, at names that only our resolver knows.

use std::io;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::*;
use crate::net::names::Lookup;

/// Names under `example.` are this machine; `metadata.example` is what its resolver says of 169.254.169.254.
struct Zone;

impl Lookup for Zone {
    fn look_up(&self, host: &str) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>> {
        let found = match host {
            "metadata.example" => Ok(vec![Ipv4Addr::new(169, 254, 169, 254).into()]),
            _ if host.ends_with(".example") => Ok(vec![Ipv4Addr::LOCALHOST.into()]),
            _ => Err(io::ErrorKind::NotFound.into()),
        };
        Box::pin(async { found })
    }
}

/// A server, and what it was asked for.
struct Scripted {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Scripted {
    /// One that answers whichever command begins like that, and everything else with `OK`.
    async fn start(answers: Vec<(&'static str, String)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heard = asked.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (answers, heard) = (answers.clone(), heard.clone());
                tokio::spawn(async move {
                    let (mut text, mut buffer) = (String::new(), [0; 4096]);
                    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                        text.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
                        while let Some((words, rest)) = command(&text) {
                            let answer = answers.iter().find(|(begin, _)| words.starts_with(begin));
                            let answer = answer.map_or("+OK\r\n", |(_, answer)| answer);
                            text = rest.to_owned();
                            heard.lock().unwrap().push(words);
                            if stream.write_all(answer.as_bytes()).await.is_err() {
                                return;
                            }
                        }
                    }
                });
            }
        });
        Self { port, asked }
    }

    fn asked(&self, begin: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|words| words.starts_with(begin)).count()
    }
}

/// The first command in `text`, if all of it is there, and what comes after it.
fn command(text: &str) -> Option<(String, &str)> {
    let (count, mut rest) = text.strip_prefix('*')?.split_once("\r\n")?;
    let mut words = Vec::new();
    for _ in 0..count.parse::<usize>().unwrap() {
        let (length, word) = rest.strip_prefix('$')?.split_once("\r\n")?;
        let length: usize = length.parse().unwrap();
        words.push(word.get(..length)?);
        rest = word.get(length + 2..)?;
    }
    Some((words.join(" "), rest))
}

/// How a server writes several words.
fn array(words: &[&str]) -> String {
    let words = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len()));
    format!("*{}\r\n{}", words.len(), words.collect::<String>())
}

fn server(host: &str, port: u16) -> RedisServer {
    RedisServer { host: host.into(), port, transport: Transport::Plain }
}

async fn opened(topology: Topology) -> Result<Connection, Error> {
    let password = Some(SecretSource::Here(Secret::new("pw-master".into())));
    let login = Login { password, ..Login::default() };
    let settings = config::Redis { topology, login, encryption_keys: Vec::new(), timeout: CONNECTING };
    open(&settings, &Reader::default(), Names::known_to(Zone)).await
}

/// A sentinel that says that the master is there.
async fn sentinel(host: &str, port: u16) -> Scripted {
    let port = port.to_string();
    Scripted::start(vec![("SENTINEL GET-MASTER-ADDR-BY-NAME mymaster", array(&[host, &port]))]).await
}

async fn master() -> Scripted {
    Scripted::start(vec![("ROLE", "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n".into())]).await
}

async fn replica() -> Scripted {
    let role = "*5\r\n$5\r\nslave\r\n$9\r\n127.0.0.1\r\n:1\r\n$9\r\nconnected\r\n:0\r\n";
    Scripted::start(vec![("ROLE", role.into())]).await
}

fn behind(sentinels: &[&Scripted]) -> Topology {
    Topology::Sentinel {
        sentinels: sentinels.iter().map(|one| server("sentinel.example", one.port)).collect(),
        login: Login::default(),
        master: "mymaster".into(),
        database: 0,
        transport: Transport::Plain,
    }
}

#[tokio::test]
async fn sentinels_and_the_master_are_looked_up_by_our_resolver_alone() {
    let master = master().await;
    let sentinel = sentinel("master.example", master.port).await;
    let mut connection = opened(behind(&[&sentinel])).await.unwrap();
    assert_eq!(connection.send::<String>(&cmd("GETRANGE")).await.unwrap(), "OK");
    assert_eq!((sentinel.asked("AUTH"), sentinel.asked("SENTINEL")), (0, 1));
    // it was connected to once, and by whoever speaks to it now
    assert_eq!((master.asked("AUTH pw-master"), master.asked("ROLE"), master.asked("GETRANGE")), (1, 1, 1));
}

#[tokio::test]
async fn no_sentinel_sends_us_where_no_name_may_lead() {
    for host in ["169.254.169.254", "::ffff:169.254.169.254", "fd00:ec2::254", "metadata.example"] {
        let sentinel = sentinel(host, 6379).await;
        let refused = opened(behind(&[&sentinel])).await.err().unwrap().to_string();
        assert!(refused.contains("the name leads to"), "{host}: {refused}");
        assert_eq!(sentinel.asked("SENTINEL"), 1, "{host}");
    }
    // nor is a sentinel asked there
    let topology = Topology::Sentinel {
        sentinels: vec![server("metadata.example", 26379)],
        login: Login::default(),
        master: "mymaster".into(),
        database: 0,
        transport: Transport::Plain,
    };
    let refused = opened(topology).await.err().unwrap().to_string();
    assert!(refused.contains("the name leads to 169.254.169.254"), "{refused}");
}

#[tokio::test]
async fn a_sentinel_that_is_away_wrong_or_ignorant_does_not_keep_another_from_being_believed() {
    let (master, replica) = (master().await, replica().await);
    let behind_the_times = sentinel("replica.example", replica.port).await;
    let astray = sentinel("169.254.169.254", 6379).await;
    let ignorant = Scripted::start(vec![("SENTINEL", "*-1\r\n".into())]).await;
    let silent = Scripted::start(vec![("SENTINEL", String::new())]).await;
    let [one, other] =
        [sentinel("master.example", master.port).await, sentinel("master.example", master.port).await];
    let asked = [&silent, &behind_the_times, &astray, &ignorant, &one, &other];
    let mut connection = opened(behind(&asked)).await.unwrap();
    connection.send::<String>(&cmd("GETRANGE")).await.unwrap();
    assert_eq!((master.asked("GETRANGE"), replica.asked("GETRANGE")), (1, 0));
    // both told of it, and it is visited once
    assert_eq!(master.asked("ROLE"), 1);
}

#[tokio::test]
async fn where_no_master_is_known_that_is_said() {
    let replica = replica().await;
    let behind_the_times = sentinel("replica.example", replica.port).await;
    let ignorant = Scripted::start(vec![("SENTINEL", "*-1\r\n".into())]).await;
    for asked in [&[&behind_the_times][..], &[&ignorant], &[&behind_the_times, &ignorant]] {
        let refused = opened(behind(asked)).await.err().unwrap().to_string();
        assert!(refused.contains("know no master"), "{refused}");
    }
    // what is wrong with the one that they know is worth more
    let denied = "-NOPERM no permissions to run the 'role' command\r\n";
    let denying = Scripted::start(vec![("ROLE", denied.into())]).await;
    let sentinel = sentinel("master.example", denying.port).await;
    let refused = opened(behind(&[&ignorant, &sentinel])).await.err().unwrap().to_string();
    assert!(refused.contains("NoPerm"), "{refused}");
}

/// A node's answer to `CLUSTER SLOTS`: that host has all of them.
fn slots(host: &str, port: u16) -> String {
    format!("*1\r\n*3\r\n:0\r\n:16383\r\n*3\r\n${}\r\n{host}\r\n:{port}\r\n$40\r\n{:040}\r\n", host.len(), 0)
}

fn get() -> Cmd {
    let mut get = cmd("GETRANGE");
    get.arg("obo:token:x").arg(0).arg(-1);
    get
}

#[tokio::test]
async fn whatever_a_cluster_names_is_looked_up_by_our_resolver() {
    let third = Scripted::start(Vec::new()).await;
    for redirection in ["MOVED", "ASK"] {
        let moved = format!("-{redirection} 0 third.example:{}\r\n", third.port);
        let second = Scripted::start(vec![("GETRANGE", moved)]).await;
        let first = Scripted::start(vec![("CLUSTER SLOTS", slots("second.example", second.port))]).await;
        let cluster = Topology::Cluster(vec![server("first.example", first.port)]);
        let mut connection = opened(cluster).await.unwrap();
        let before = third.asked("GETRANGE");
        assert_eq!(connection.send::<String>(&get()).await.unwrap(), "OK", "{redirection}");
        assert_eq!((second.asked("GETRANGE"), third.asked("GETRANGE") - before), (1, 1), "{redirection}");
    }
    assert!(third.asked("AUTH") > 0);
}

#[tokio::test]
async fn no_cluster_sends_us_where_no_name_may_lead() {
    for host in ["169.254.169.254", "metadata.example"] {
        let first = Scripted::start(vec![("CLUSTER SLOTS", slots(host, 6379))]).await;
        let cluster = Topology::Cluster(vec![server("first.example", first.port)]);
        let refused = match opened(cluster).await {
            Ok(mut connection) => connection.send::<String>(&get()).await.err().unwrap().to_string(),
            Err(error) => error.to_string(),
        };
        // the library keeps the cause of each to itself
        assert!(refused.contains("No connections found"), "{host}: {refused}");
        for redirection in ["MOVED", "ASK"] {
            let second =
                Scripted::start(vec![("GETRANGE", format!("-{redirection} 0 {host}:6379\r\n"))]).await;
            let first = Scripted::start(vec![("CLUSTER SLOTS", slots("second.example", second.port))]).await;
            let cluster = Topology::Cluster(vec![server("first.example", first.port)]);
            let refused =
                opened(cluster).await.unwrap().send::<String>(&get()).await.err().unwrap().to_string();
            assert!(refused.contains("the name leads to 169.254.169.254"), "{redirection} {host}: {refused}");
        }
    }
}
