//! The files of encryption keys change while a proxy runs.

use std::io;
use std::path::Path;
use std::sync::Mutex;

use tracing_subscriber::layer::SubscriberExt;

use super::*;

/// What is logged in this thread, from now on and as long as the guard lives.
fn logged() -> (Arc<Mutex<Vec<u8>>>, tracing::subscriber::DefaultGuard) {
    #[derive(Clone)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let lines = Arc::new(Mutex::default());
    let sink = Sink(lines.clone());
    let layer = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(move || sink.clone());
    (lines, tracing::subscriber::set_default(tracing_subscriber::registry().with(layer)))
}

/// A user whom nobody has seen is fetched for by the one: whether the other finds that. Both have clocks of their own.
async fn share(fleet: &Fleet, one: &World, other: &World) -> bool {
    let user = format!("user{}", fleet.server.names("token").len());
    let tokens = fleet.server.names("token").len();
    one.fetch(&caller(&user, 1)).await;
    fleet.holds(tokens + 1).await;
    let found = other.fetch(&caller(&user, 2)).await.1 == CacheResult::Shared;
    fleet.holds(tokens + 1 + usize::from(!found)).await;
    found
}

#[tokio::test]
async fn another_encryption_key_is_used_within_half_a_minute() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key");
    let write = |letter| std::fs::write(&path, encryption_key(letter).expose()).unwrap();
    write('a');
    let fleet = Fleet::of(granted).await;
    let proxy = fleet.proxy_with(vec![SecretSource::File(path.clone())]);
    let [old, new] =
        ['a', 'b'].map(|letter| fleet.proxy_with(vec![SecretSource::Here(encryption_key(letter))]));
    assert!(share(&fleet, &proxy, &old).await);
    write('b');
    proxy.pass(29);
    assert!(share(&fleet, &proxy, &old).await);
    proxy.pass(1);
    until("the new key is used", async || share(&fleet, &proxy, &new).await).await;
    assert!(!share(&fleet, &proxy, &old).await);
    assert_eq!(proxy.looks().errors, 0);
}

#[tokio::test]
async fn keys_that_cannot_be_read_leave_those_before_in_use() {
    /// What is done to the file.
    type Harm = fn(&Path);
    const HARMS: [(&str, Harm); 5] = [
        ("gone", |path| std::fs::remove_file(path).unwrap()),
        ("empty", |path| std::fs::write(path, "").unwrap()),
        ("short", |path| std::fs::write(path, "sh0rt").unwrap()),
        ("no text", |path| std::fs::write(path, [0xff; 32]).unwrap()),
        ("a directory", |path| {
            std::fs::remove_file(path).unwrap();
            std::fs::create_dir(path).unwrap();
        }),
    ];
    let (lines, _guard) = logged();
    let warnings = || {
        let text = String::from_utf8(lines.lock().unwrap().clone()).unwrap();
        let is_meant = |line: &&str| line.contains("WARN") && line.contains("those read before go on");
        let count = text.lines().filter(is_meant).count();
        for secret in [encryption_key('a').expose(), encryption_key('b').expose(), "sh0rt"] {
            assert!(!text.contains(secret), "{text}");
        }
        count
    };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key");
    std::fs::write(&path, encryption_key('a').expose()).unwrap();
    let fleet = Fleet::of(granted).await;
    let proxy = fleet.proxy_with(vec![SecretSource::File(path.clone())]);
    let [old, new] =
        ['a', 'b'].map(|letter| fleet.proxy_with(vec![SecretSource::Here(encryption_key(letter))]));
    assert!(share(&fleet, &proxy, &old).await);
    for (read, (of, harm)) in HARMS.into_iter().enumerate() {
        harm(&path);
        [&proxy, &old, &new].iter().for_each(|proxy| proxy.pass(30));
        assert!(share(&fleet, &proxy, &old).await, "{of}");
        until(of, async || warnings() == read + 1).await;
        assert!(share(&fleet, &proxy, &old).await, "{of}");
    }
    assert_eq!(warnings(), HARMS.len());
    // when it is well again, so is all
    std::fs::remove_dir(&path).unwrap();
    std::fs::write(&path, encryption_key('b').expose()).unwrap();
    [&proxy, &old, &new].iter().for_each(|proxy| proxy.pass(30));
    until("the new key is used", async || share(&fleet, &proxy, &new).await).await;
    assert_eq!(proxy.looks().errors, 0);
}
