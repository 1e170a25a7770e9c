//! What cached tokens take of memory, beside what the cache reckons they do, and that it stays so: `cargo bench --bench memory`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a benchmark may fail loudly
#![allow(clippy::print_stdout)] // a table is what it is for
#![allow(missing_docs)]

use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use obo_proxy::config;
use obo_proxy::config::CacheKeyMode;
use obo_proxy::domain::bounded::Bounded;
use obo_proxy::domain::bounded::Kept;
use obo_proxy::domain::caller::Claims;
use obo_proxy::domain::caller::Principal;
use obo_proxy::domain::caller::UserKey;
use obo_proxy::domain::caller::claims_digest;
use obo_proxy::domain::caller::user_digest;
use obo_proxy::domain::capacity::Capacity;
use obo_proxy::domain::clock::Clock;
use obo_proxy::domain::derived::Derived;
use obo_proxy::domain::digest::Digest;
use obo_proxy::domain::name::Name;
use obo_proxy::domain::scope::Scopes;
use obo_proxy::domain::tenant::TenantId;
use obo_proxy::domain::token::DownstreamToken;
use obo_proxy::pipeline::authenticate::memo::Evidence;
use obo_proxy::pipeline::authenticate::memo::Memo;
use obo_proxy::pipeline::authenticate::memo::Memoised;
use obo_proxy::pipeline::exchange::Moment;
use obo_proxy::pipeline::exchange::filed::Filed;
use obo_proxy::pipeline::exchange::key::CacheKey;
use obo_proxy::pipeline::exchange::lifetime::Lifetime;
use obo_proxy::pipeline::exchange::memory::Found;
use obo_proxy::pipeline::exchange::memory::Memory;
use obo_proxy::telemetry::metrics::Metrics;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use zeroize::Zeroizing;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Says which measurement a process is to make: each is made in one of its own, which nothing was freed in before.
const PART: &str = "--part";

const TENANT: &str = "26039cce-489d-4002-8293-5b0c5134eacb";

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|argument| argument == PART) {
        return part(&arguments[at + 1..]);
    }
    println!("tier      entries  token, B  RSS, MiB  RSS/entry, B  reckoned/entry, B  reckoned:RSS");
    for tier in ["tokens", "memo", "small"] {
        for entries in ["10000", "50000"] {
            let sizes = if tier == "small" { &["100"][..] } else { &["1536", "4096"] };
            sizes.iter().for_each(|size| of_its_own(&[tier, entries, size]));
        }
    }
    for crowd in ["users", "user"] {
        println!();
        of_its_own(&[crowd]);
    }
}

fn of_its_own(part: &[&str]) {
    let status = Command::new(std::env::current_exe().unwrap()).arg(PART).args(part).status().unwrap();
    assert!(status.success());
}

fn part(part: &[String]) {
    let number = |at: usize| part[at].parse::<usize>().unwrap();
    match part[0].as_str() {
        "tokens" => tokens(number(1), number(2)),
        "memo" => memo(number(1), number(2)),
        "small" => small(number(1), number(2)),
        "users" => users(),
        _ => user(),
    }
}

/// Resident memory of this process, in bytes.
fn rss() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

fn row(tier: &str, entries: usize, size: usize, rss: usize, reckoned: u64) {
    let (each, reckoned) = (rss as f64 / entries as f64, reckoned as f64 / entries as f64);
    println!(
        "{tier:<8} {entries:>8} {size:>9} {:>9.1} {each:>13.0} {reckoned:>18.0} {:>13.2}",
        rss as f64 / 1_048_576.0,
        reckoned / each
    );
}

/// Room for so many entries of any size, none of which is reckoned to be larger than it is.
fn roomy(entries: usize) -> config::Cache {
    cache(entries as u64 * 64, entries as u64 * 64 * 256)
}

fn cache(max_entries: u64, max_bytes: u64) -> config::Cache {
    config::Cache {
        max_entries,
        max_bytes,
        key: CacheKeyMode::User,
        expiry_margin: Duration::from_secs(300),
        negative_ttl: Duration::from_secs(30),
        redis: None,
    }
}

/// A memory, and tokens for it.
struct Tokens {
    memory: Memory,
    asked_at: Moment,
    lifetime: Lifetime,
}

impl Tokens {
    fn new(cache: &config::Cache) -> Self {
        let clock = Clock::system();
        let asked_at = Moment { wall: clock.now(), monotonic: clock.monotonic() };
        let margin = Duration::from_secs(300);
        let expires_on = asked_at.wall.after(Duration::from_secs(3600));
        let lifetime = Lifetime { expires_on, renew_at: expires_on.before(margin), margin };
        Self { memory: Memory::new(cache, clock, Arc::new(Metrics::new())), asked_at, lifetime }
    }

    fn filed(user: usize, number: usize) -> Filed {
        let key = CacheKey::from(Digest::of(format!("{user} {number}").as_bytes()));
        Filed { key, holder: Some(Digest::of(&user.to_be_bytes())) }
    }

    fn keep(&self, user: usize, number: usize, size: usize) {
        let text = format!("{user}.{number}.{}", "x".repeat(size));
        let token = DownstreamToken::bearer(Zeroizing::new(text[..size].to_owned())).unwrap();
        assert!(self.memory.keep(Self::filed(user, number), token, None, self.lifetime, self.asked_at));
    }

    fn holds(&self, user: usize, number: usize) -> bool {
        matches!(self.memory.find(Self::filed(user, number).key, Digest::of(b"")), Found::Live(..))
    }
}

/// Tokens B, each another user's.
fn tokens(entries: usize, size: usize) {
    let tokens = Tokens::new(&roomy(entries));
    let before = rss();
    (0..entries).for_each(|number| tokens.keep(number, number, size));
    assert_eq!(tokens.memory.tokens(), entries as u64);
    row("tokens", entries, size, rss() - before, tokens.memory.bytes());
}

/// Claims as tokens A of that size make them, each another user's.
fn memo(entries: usize, size: usize) {
    let memo = Memo::new(&roomy(entries));
    let until = Clock::system().monotonic() + Duration::from_secs(3600);
    let before = rss();
    for number in 0..entries {
        memo.keep(Memoised {
            claims: Arc::new(claims(number, size)),
            evidence: Evidence::Word { until },
            holder: None,
            sign: "",
            rivals: Vec::new(),
            kept_for: Duration::from_secs(3600),
        });
    }
    assert_eq!(memo.tokens(), entries as u64);
    row("memo", entries, size, rss() - before, memo.bytes());
}

fn claims(number: usize, size: usize) -> Claims {
    let oid = format!("00000000-0000-4000-8000-{number:012}");
    let mut groups = Vec::new();
    let all = loop {
        let text = json!({
            "aud": "625391af-c675-43e5-8e44-edd3e30ceb15", "iss": format!("https://login.microsoftonline.com/{TENANT}/v2.0"),
            "iat": 1_700_000_000, "nbf": 1_700_000_000, "exp": 1_700_003_600, "aio": "x".repeat(80), "azp": TENANT, "azpacr": "1",
            "groups": groups, "name": format!("User {number}"), "oid": oid, "preferred_username": format!("user{number}@contoso.example"),
            "rh": "x".repeat(50), "scp": "user_impersonation orders.read", "sid": oid, "sub": "x".repeat(43), "tid": TENANT,
            "uti": "x".repeat(22), "ver": "2.0",
        })
        .to_string();
        // a token also has a header and a signature, and base64 is longer by a third
        if 450 + text.len() * 4 / 3 >= size {
            break serde_json::from_str::<Map<String, Value>>(&text).unwrap();
        }
        groups.push(format!("{:08x}-0000-4000-8000-{number:012}", groups.len()));
    };
    let (tenant, user) = (TenantId::parse(TENANT), UserKey::entra(&oid));
    let text = |name: &str| all[name].as_str().unwrap().to_owned();
    Claims {
        identity_provider: Name::parse("contoso").unwrap(),
        issuer: text("iss"),
        user_digest: user_digest(tenant.as_ref(), &user),
        tenant,
        user,
        client: Some(text("azp")),
        scopes: Scopes::parse(&text("scp")),
        roles: Vec::new(),
        principal: Principal::User,
        expires_on: Clock::system().now().after(Duration::from_secs(3600)),
        not_before: None,
        token_digest: Digest::of(&number.to_be_bytes()),
        claims_digest: claims_digest(&all),
        all,
        derived: Derived::default(),
    }
}

/// A value of nothing but text.
struct Small {
    holder: Digest,
    text: Box<str>,
}

impl Kept for Small {
    fn holder(&self) -> Option<Digest> {
        Some(self.holder)
    }

    fn size(&self) -> usize {
        self.text.len()
    }

    fn kept_for(&self) -> Duration {
        Duration::from_secs(3600)
    }
}

/// What is left of an entry when nothing is in it: the least that any kind takes.
fn small(entries: usize, size: usize) {
    let cache = roomy(entries);
    let bounded = Bounded::new(Capacity::new(cache.max_entries, cache.max_bytes), 64, |_| {});
    let before = rss();
    for number in 0..entries {
        let key = Digest::of(&number.to_be_bytes());
        bounded.insert(key, Arc::new(Small { holder: key, text: "x".repeat(size).into() }));
    }
    assert_eq!(bounded.count(), entries as u64);
    row("small", entries, size, rss() - before, bounded.weight());
}

/// A million tokens of a hundred thousand users for a cache of ten thousand.
fn users() {
    let tokens = Tokens::new(&cache(10_000, 64 * 1024 * 1024));
    let told = |after: usize| {
        println!(
            "{after:>9} tokens of 100,000 users offered: {:>6} held, RSS {:.1} MiB",
            tokens.memory.tokens(),
            rss() as f64 / 1_048_576.0
        );
    };
    told(0);
    for number in 0..1_000_000 {
        tokens.keep(number % 100_000, number, 1536);
        if [10_000, 100_000, 500_000, 1_000_000].contains(&(number + 1)) {
            told(number + 1);
        }
    }
    assert!((995_000..1_000_000).all(|number| tokens.holds(number % 100_000, number)));
}

/// A million tokens of one user for a cache that others have filled.
fn user() {
    const OTHERS: usize = 9_000;
    let tokens = Tokens::new(&cache(10_000, 64 * 1024 * 1024));
    for other in 1..=OTHERS {
        tokens.keep(other, other, 1536);
    }
    let told = |after: usize| {
        let others = (1..=OTHERS).filter(|other| tokens.holds(*other, *other)).count();
        println!(
            "{after:>9} tokens of one user offered: {others} of {OTHERS} others' held, {} in all, RSS {:.1} MiB",
            tokens.memory.tokens(),
            rss() as f64 / 1_048_576.0
        );
    };
    told(0);
    for number in 0..1_000_000 {
        tokens.keep(0, number, 1536);
        if [100_000, 1_000_000].contains(&(number + 1)) {
            told(number + 1);
        }
    }
    assert!((1..=OTHERS).all(|other| tokens.holds(other, other)));
}
