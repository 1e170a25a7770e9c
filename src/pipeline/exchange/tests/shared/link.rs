//! The one connection to Redis, and what is done while there is none.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::*;
use crate::config::RedisServer;
use crate::config::Transport;
use crate::domain::digest::Digest;
use crate::pipeline::exchange::filed::Filed;
use crate::pipeline::exchange::redis::Claim;

/// What a look-up may take of a server that is of no use.
const BUDGET: Duration = Duration::from_millis(300);

/// Looks for what nobody keeps: whether Redis answered.
async fn look(redis: &Redis) -> bool {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let key = CacheKey::from(Digest::of(&number.to_be_bytes()));
    match redis.claim(Filed { key, holder: None }, key, |_| true).await {
        Claim::Ours(_) => true,
        Claim::Free => false,
        Claim::Found(record) => panic!("{record:?}"),
    }
}

/// That many look at once: how many of them were answered.
async fn looks_at_once(redis: &Arc<Redis>, count: usize) -> usize {
    let looks = (0..count).map(|_| {
        let redis = redis.clone();
        async move { look(&redis).await }
    });
    let looks: JoinSet<bool> = looks.collect();
    looks.join_all().await.into_iter().filter(|was_answered| *was_answered).count()
}

/// A tier by itself, and its clock.
fn tier(settings: config::Redis) -> (Arc<Redis>, Clock, Arc<Metrics>) {
    let (clock, metrics) = (Clock::manual(START), Arc::new(Metrics::new()));
    (Arc::new(Redis::new(Arc::new(settings), clock.clone(), metrics.clone())), clock, metrics)
}

#[tokio::test]
async fn a_hundred_look_ups_at_once_make_one_connection() {
    let server = Server::start();
    let (redis, _, _) = tier(settings(server.address(), PATIENCE));
    let connections = || server.number("stats", "total_connections_received");
    let before = connections();
    assert_eq!(looks_at_once(&redis, 100).await, 100);
    assert_eq!(looks_at_once(&redis, 100).await, 100);
    assert_eq!(connections() - before, 1);
    // when it breaks, there is one more
    server.run::<()>("CLIENT", &["KILL", "TYPE", "normal", "SKIPME", "yes"]);
    assert_eq!(looks_at_once(&redis, 100).await, 100);
    assert_eq!(looks_at_once(&redis, 100).await, 100);
    assert_eq!(connections() - before, 2);
}

/// What is no Redis, but may look like one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Impostor {
    /// It takes connections and says nothing.
    Silent,
    /// It says nothing once it is asked for something.
    SilentLater,
    /// It is another kind of server.
    Garbage,
    /// It is one once it is asked for something.
    GarbageLater,
    /// It hangs up.
    HangsUp,
}

impl Impostor {
    /// Where it listens, and how many connections it took.
    async fn start(self) -> (RedisServer, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let taken = Arc::new(AtomicUsize::new(0));
        let count = taken.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(self.serve(stream));
            }
        });
        (RedisServer { host: "127.0.0.1".into(), port, transport: Transport::Plain }, taken)
    }

    async fn serve(self, mut stream: TcpStream) {
        const GARBAGE: &str = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = stream.read(&mut buffer).await {
            let text = String::from_utf8_lossy(&buffer[..length]);
            let is_greeting = text.contains("SETINFO");
            let answer = match self {
                Self::HangsUp => return,
                Self::Garbage => GARBAGE.to_owned(),
                Self::GarbageLater if !is_greeting => GARBAGE.to_owned(),
                Self::SilentLater | Self::GarbageLater if is_greeting => {
                    "+OK\r\n".repeat(text.matches("SETINFO").count())
                }
                Self::Silent | Self::SilentLater | Self::GarbageLater => continue,
            };
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

#[tokio::test]
async fn what_is_no_redis_costs_one_look_up_its_time_and_the_others_nothing() {
    for impostor in [
        Impostor::Silent,
        Impostor::SilentLater,
        Impostor::Garbage,
        Impostor::GarbageLater,
        Impostor::HangsUp,
    ] {
        let (server, taken) = impostor.start().await;
        let (redis, clock, metrics) = tier(settings(server, BUDGET));
        let taken = || taken.load(Ordering::SeqCst);
        let begun = Instant::now();
        assert!(!look(&redis).await);
        // the rest is for a machine that is busy
        assert!(begun.elapsed() < BUDGET * 4, "{impostor:?}: {:?}", begun.elapsed());
        // that one is late may be the crowd's doing; that there is silence for so long is not
        clock.advance(Duration::from_millis(500));
        assert!(!look(&redis).await);
        let begun = Instant::now();
        for _ in 0..100 {
            assert!(!look(&redis).await);
        }
        assert!(begun.elapsed() < BUDGET, "{impostor:?}: {:?}", begun.elapsed());
        assert_eq!(taken(), 1, "{impostor:?}");
        // once a second it is tried again, by one who asks; an attempt to connect may take two
        for attempts in 2..4 {
            until("it is tried again", async || {
                clock.advance(Duration::from_secs(1));
                let begun = Instant::now();
                assert!(!look(&redis).await);
                assert!(begun.elapsed() < BUDGET * 4, "{impostor:?}: {:?}", begun.elapsed());
                taken() >= attempts
            })
            .await;
        }
        let looks = Looks::of(&metrics);
        assert_eq!((looks.hits, looks.misses), (0, 0), "{impostor:?}");
        assert!(looks.errors > 100, "{impostor:?}: {looks:?}");
    }
}
