//! What is left in memory of secrets and tokens that are not needed any more: every copy in the real process, counted.
//!
//! Of a block that was freed the allocator overwrites the front, and of a buffer the next message does: so a copy counts without
//! its front, and the end of a word by itself.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::os::unix::fs::FileExt;

use serde_json::Value;
use serde_json::json;

use crate::hardening::is_root;
use crate::support::certificates::Authority;
use crate::support::idp::Answer;
use crate::support::idp::Idp;
use crate::support::raw;
use crate::support::sidecar::Sidecar;
use crate::support::until;

const USERS: usize = 16;

/// Of so many of the 32 users' tokens there may be anything left: in the buffers of the connections that carried them last, to the caller,
/// the identity provider or the API.
const MOST_LEFT: usize = 8;

/// How many copies of one of those, or of its end, there may be.
const MOST_COPIES: usize = 3;

/// So much at the front of a copy may be overwritten: the allocator puts its lists there.
const FRONT: usize = 16;

/// So much of a word's end tells it from all others.
const END: usize = 24;

/// As everywhere here, nothing in it is encoded in a form.
const SECRET: &str = "can4ry-secret-of-the-client-which-nobody-else-may-know-0123456789";

/// Set where root may not look into other processes either, and that is meant to be so.
const UNSEEN: &str = "MEMORY_UNSEEN";

/// The size of a page, and of what `pagemap` says of one (proc_pid_pagemap(5)).
const PAGE: u64 = 4096;
const ENTRY: u64 = 8;

/// All memory that the process can write to and has: most of what is reserved is not there.
fn memory(process: u32) -> Vec<Vec<u8>> {
    let open = |name: &str| File::open(format!("/proc/{process}/{name}")).unwrap();
    let (pages, memory) = (open("pagemap"), open("mem"));
    let mut pieces = Vec::new();
    for line in BufReader::new(open("maps")).lines().map(Result::unwrap) {
        let mut words = line.split_whitespace();
        let (range, rights) = (words.next().unwrap(), words.next().unwrap());
        if !rights.starts_with("rw") {
            continue;
        }
        let (from, to) = range.split_once('-').unwrap();
        let [from, to] = [from, to].map(|text| u64::from_str_radix(text, 16).unwrap());
        let mut entries = vec![0; usize::try_from((to - from) / PAGE * ENTRY).unwrap()];
        if pages.read_exact_at(&mut entries, from / PAGE * ENTRY).is_err() {
            continue;
        }
        // bits 63 and 62: in memory, or swapped
        let there: Vec<bool> = entries.chunks_exact(8).map(|entry| entry[7] & 0b1100_0000 != 0).collect();
        let mut page = 0;
        for run in there.chunk_by(|one, next| one == next) {
            let mut piece = vec![0; run.len() * PAGE as usize];
            if run[0] && memory.read_exact_at(&mut piece, from + page * PAGE).is_ok() {
                pieces.push(piece);
            }
            page += run.len() as u64;
        }
    }
    pieces
}

/// How often a word is in memory.
#[derive(Clone, Copy, Debug, Default)]
struct Copies {
    /// As a whole, but for its [`FRONT`].
    whole: usize,
    /// Its [`END`], those of whole ones among them.
    ends: usize,
}

/// What is found of the words that are there at all.
fn copies(process: u32, words: &BTreeMap<String, String>) -> BTreeMap<String, Copies> {
    let pieces = memory(process);
    let mut found: BTreeMap<String, Copies> = BTreeMap::new();
    for (name, word) in words {
        let (whole, end) = (&word.as_bytes()[FRONT..], &word.as_bytes()[word.len() - END..]);
        let finder = memchr::memmem::Finder::new(end);
        for piece in &pieces {
            for at in finder.find_iter(piece) {
                let copies = found.entry(name.clone()).or_default();
                copies.whole += usize::from(piece[..at + END].ends_with(whole));
                copies.ends += 1;
            }
        }
    }
    found
}

/// How many words of that kind there are, and how many copies, then the same of their ends.
fn total(found: &BTreeMap<String, Copies>, kind: &str) -> [(usize, usize); 2] {
    let found = || found.iter().filter(|(name, _)| name.starts_with(kind)).map(|(_, copies)| copies);
    [|copies: &Copies| copies.whole, |copies: &Copies| copies.ends].map(|of| {
        let counts = found().map(of).filter(|count| *count > 0);
        (counts.clone().count(), counts.sum())
    })
}

/// What a caller without a connection to keep asks.
fn request(path: &str, token: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: orders\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    )
}

async fn idp(way: &'static str) -> Idp {
    Idp::start(move |asked| {
        let user = crate::support::idp::parts(asked.get("assertion"))[1]["sub"].as_str().unwrap().to_owned();
        Answer::granted(&token_b(way, &user))
    })
    .await
}

/// About as long as Entra's.
fn token_b(way: &str, user: &str) -> String {
    format!("can4ry-token-b-by-{way}-of-{user}-{}-end-{way}-{user}-can4ry", "b".repeat(1200))
}

/// Whether the memory of that process can be looked at, which takes root, and of its capabilities CAP_SYS_PTRACE.
fn is_open(process: u32) -> bool {
    let Err(why) = File::open(format!("/proc/{process}/mem")) else { return true };
    let _ = writeln!(std::io::stderr(), "NOTHING was looked at: the proxy's memory cannot be read: {why}");
    assert!(
        !is_root() || std::env::var_os(UNSEEN).is_some(),
        "{why}; if that is meant to be so, set {UNSEEN}=1"
    );
    false
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_needed_any_more_is_wiped_but_for_a_few_buffers() {
    let directory = tempfile::tempdir().unwrap();
    Authority::new().issue("client").write(directory.path(), "client");
    let secret = directory.path().join("secret");
    std::fs::write(&secret, SECRET).unwrap();
    let place = directory.path().display();
    let (by_secret, by_key) = (idp("secret").await, idp("key").await);
    let providers = format!(
        "
  secret:
    oidc: {{ issuer: \"{}\" }}
    client_id: ours
    audiences: [orders]
    grant: jwt_bearer
    credential: {{ secret: {{ file: \"{}\" }} }}
  key:
    oidc: {{ issuer: \"{}\" }}
    client_id: ours
    audiences: [orders]
    grant: jwt_bearer
    auth_method: private_key_jwt
    credential: {{ certificate: {{ file: \"{place}/client.crt\", key: \"{place}/client.key\", algorithm: ES256 }} }}",
        by_secret.authority(),
        secret.display(),
        by_key.authority(),
    );
    let routes = "
  secret: { match: /secret, identity_provider: secret, exchange: { scopes: [s] } }
  key: { match: /key, identity_provider: key, exchange: { scopes: [s] } }";
    // each worker has buffers of its own
    let more = "admin: { address: \"127.0.0.1:0\" }\nworkers: 1";
    let sidecar = Sidecar::start_with(&providers, routes, more, &[]).await;
    sidecar.ready().await;
    if !is_open(sidecar.proxy.id()) {
        return;
    }
    let address = sidecar.proxy.address.parse().unwrap();
    let ways = [("secret", &by_secret), ("key", &by_key)];

    for (way, idp) in ways {
        let early = request(&format!("/{way}"), &idp.token("early", json!({})));
        until("its keys are there", async || raw(address, &early).await.starts_with("HTTP/1.1 200")).await;
    }
    let mut words = BTreeMap::from([("the client secret".to_owned(), SECRET.to_owned())]);
    for (way, idp) in ways {
        for user in (0..USERS).map(|number| format!("user{number}")) {
            let token = idp.token(&user, json!({}));
            words.insert(format!("token A of {user} by {way}"), token.clone());
            words.insert(format!("token B of {user} by {way}"), token_b(way, &user));
            let answer = raw(address, &request(&format!("/{way}"), &token)).await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        }
    }
    for (number, asked) in by_key.received().iter().enumerate() {
        words.insert(format!("assertion {number}"), asked.get("client_assertion").to_owned());
    }
    let used = copies(sidecar.proxy.id(), &words);
    assert_eq!(total(&used, "token B")[0].0, 2 * USERS, "what is cached is found: {used:?}");

    let port = sidecar.proxy.lines(|message| message == "admin interface")[0]["address"]
        .as_str()
        .unwrap()
        .to_owned();
    for (_, idp) in ways {
        for user in (0..USERS).map(|number| format!("user{number}")) {
            let body = json!({ "issuer": idp.authority(), "subject": user }).to_string();
            let purge = format!(
                "POST /api/v1/cache/purge HTTP/1.1\r\nHost: {port}\r\nX-Obo-Admin: 1\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            let answer = raw(port.parse().unwrap(), &purge).await;
            let purged: Value = serde_json::from_str(answer.rsplit("\r\n\r\n").next().unwrap()).unwrap();
            assert_eq!(purged["tokens"], 1, "{answer}");
        }
    }
    let purged = copies(sidecar.proxy.id(), &words);
    // a few others come by, and take the buffers over
    for (way, idp) in ways {
        for user in (0..10).map(|number| format!("passer-by{number}")) {
            let token = idp.token(&user, json!({}));
            raw(address, &request(&format!("/{way}"), &token)).await;
        }
    }
    let later = copies(sidecar.proxy.id(), &words);
    let mut report =
        String::from("\n(words, copies) but for their fronts, and of their ends  in use | purged | later\n");
    for kind in ["the client secret", "assertion", "token A", "token B"] {
        let [used, purged, later] = [&used, &purged, &later].map(|found| total(found, kind));
        report += &format!("{kind}: {used:?} | {purged:?} | {later:?}\n");
    }
    let _ = std::io::stderr().write_all(report.as_bytes());
    for (when, found) in [("purged", &purged), ("later", &later)] {
        // the secret serves on while its file is away
        assert_eq!(total(found, "the client secret"), [(1, 1); 2], "{when}: {found:?}");
        assert_eq!(total(found, "assertion"), [(0, 0); 2], "{when}: {found:?}");
        for kind in ["token A", "token B"] {
            let [_, (left, _)] = total(found, kind);
            assert!(left <= MOST_LEFT, "{when}, {kind}: {found:?}");
        }
        for (word, copies) in found {
            assert!(copies.ends <= MOST_COPIES, "{when}, {word}: {copies:?}");
        }
    }
}
