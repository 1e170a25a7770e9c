//! A cached token B as bytes, to be sealed.
//!
//! **In:** a token and its times. **Out:** bytes, and the same again from them. **Never:** a token from bytes that are not
//! exactly what was written.

use std::time::Duration;

use zeroize::Zeroizing;

use crate::domain::clock::UnixTime;
use crate::domain::digest::Digest;
use crate::domain::token::DownstreamToken;
use crate::domain::token::MAX_DOWNSTREAM_TOKEN;
use crate::pipeline::exchange::lifetime::LONGEST;
use crate::pipeline::exchange::lifetime::Lifetime;

/// The form of what follows.
const VERSION: u8 = 1;
/// No claims had to be satisfied,
const NO_CLAIMS: u8 = 0;
/// or those of the digest that follows.
const CLAIMS: u8 = 1;

/// Bytes of the longest record.
pub const LONGEST_RECORD: usize = HEAD + MAX_DOWNSTREAM_TOKEN;
/// Bytes before the token at most: version, three moments, margin, claims.
const HEAD: usize = 1 + 4 * 8 + 1 + 32;

/// A token B as proxies share it.
#[derive(Clone, Debug)]
pub struct Record {
    /// The token.
    pub token: DownstreamToken,
    /// The digest of the claims that it was asked to satisfy.
    pub claims: Option<Digest>,
    /// When it is renewed, and ends.
    pub lifetime: Lifetime,
    /// When it was asked for.
    pub asked_at: UnixTime,
}

impl Record {
    /// The record as bytes: version, times, claims, token.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let Self { token, claims, lifetime: Lifetime { expires_on, renew_at, margin }, asked_at } = self;
        // all the room from the start: growing would leave copies behind
        let mut bytes = Zeroizing::new(Vec::with_capacity(HEAD + token.size()));
        bytes.push(VERSION);
        for moment in [asked_at, renew_at, expires_on] {
            bytes.extend_from_slice(&moment.as_seconds().to_be_bytes());
        }
        bytes.extend_from_slice(&margin.as_secs().to_be_bytes());
        match claims {
            None => bytes.push(NO_CLAIMS),
            Some(claims) => {
                bytes.push(CLAIMS);
                bytes.extend_from_slice(claims.as_bytes());
            }
        }
        bytes.extend_from_slice(token.expose().as_bytes());
        bytes
    }

    /// The record that `bytes` are; `None` if they are not exactly one, or it says what no proxy writes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (&VERSION, bytes) = bytes.split_first()? else { return None };
        let (asked_at, bytes) = moment(bytes)?;
        let (renew_at, bytes) = moment(bytes)?;
        let (expires_on, bytes) = moment(bytes)?;
        let (margin, bytes) = bytes.split_first_chunk::<8>()?;
        let margin = Duration::from_secs(u64::from_be_bytes(*margin));
        let (claims, bytes) = match bytes.split_first()? {
            (&NO_CLAIMS, bytes) => (None, bytes),
            (&CLAIMS, bytes) => {
                let (digest, bytes) = bytes.split_first_chunk::<32>()?;
                (Some(Digest::from(*digest)), bytes)
            }
            _ => return None,
        };
        let text = Zeroizing::new(std::str::from_utf8(bytes).ok()?.to_owned());
        let token = DownstreamToken::bearer(text).ok()?;
        let is_sane =
            asked_at < expires_on && expires_on.since(asked_at) <= LONGEST && renew_at <= expires_on;
        let lifetime = Lifetime { expires_on, renew_at, margin };
        is_sane.then_some(Self { token, claims, lifetime, asked_at })
    }
}

fn moment(bytes: &[u8]) -> Option<(UnixTime, &[u8])> {
    let (seconds, rest) = bytes.split_first_chunk::<8>()?;
    Some((UnixTime::from_seconds(i64::from_be_bytes(*seconds)), rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(asked_at: i64, lives: u64, renews: u64, claims: Option<[u8; 32]>, token: &str) -> Record {
        let asked_at = UnixTime::from_seconds(asked_at);
        let [expires_on, renew_at] =
            [lives, renews.min(lives)].map(|seconds| asked_at.after(Duration::from_secs(seconds)));
        let lifetime = Lifetime { expires_on, renew_at, margin: Duration::from_secs(lives / 4) };
        let token = DownstreamToken::bearer(Zeroizing::new(token.into())).unwrap();
        Record { token, claims: claims.map(Digest::from), lifetime, asked_at }
    }

    fn parts(record: &Record) -> (String, Option<Digest>, Lifetime, UnixTime) {
        (record.token.expose().to_owned(), record.claims, record.lifetime, record.asked_at)
    }

    proptest! {
        #[test]
        fn a_record_comes_back_as_it_was(
            asked_at in 0_i64..4_000_000_000,
            lives in 1_u64..=366 * 24 * 3600,
            renews in any::<u32>(),
            claims in proptest::option::of(any::<[u8; 32]>()),
            token in "[!-~]{1,200}",
        ) {
            let record = record(asked_at, lives, renews.into(), claims, &token);
            let bytes = record.to_bytes();
            let again = Record::from_bytes(&bytes).unwrap();
            prop_assert_eq!(parts(&record), parts(&again));
        }

        #[test]
        fn bytes_are_a_record_or_nothing(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            // whatever comes of it, what it says is what is written
            if let Some(record) = Record::from_bytes(&bytes) {
                prop_assert_eq!(&**record.to_bytes(), &bytes[..]);
            }
        }
    }

    #[test]
    fn no_record_is_longer_than_the_longest() {
        let token = "t".repeat(MAX_DOWNSTREAM_TOKEN);
        assert_eq!(record(1_000, 3600, 3300, Some([7; 32]), &token).to_bytes().len(), LONGEST_RECORD);
    }

    #[test]
    fn a_record_that_no_proxy_writes_is_none() {
        let good = record(1_000, 3600, 3300, None, "token").to_bytes().to_vec();
        assert!(Record::from_bytes(&good).is_some());
        let with = |at: usize, bytes: &[u8]| {
            let mut changed = good.clone();
            changed[at..at + bytes.len()].copy_from_slice(bytes);
            Record::from_bytes(&changed).is_some()
        };
        assert!(!with(0, &[2]), "another version");
        assert!(!with(1, &i64::MAX.to_be_bytes()), "asked for after its end");
        assert!(!with(1, &i64::MIN.to_be_bytes()), "asked for ages ago");
        assert!(!with(9, &5_000_i64.to_be_bytes()), "renewed after its end");
        assert!(!with(17, &40_000_000_i64.to_be_bytes()), "lives too long");
        assert!(!with(33, &[2]), "no such claims");
        assert!(!with(33, &[1]), "the digest is cut");
        assert!(!with(34, b" "), "no token");
        assert!(!with(34, b"\xff"), "no text");
        for length in 0..=34 {
            assert!(Record::from_bytes(&good[..length]).is_none(), "{length}");
        }
    }
}
