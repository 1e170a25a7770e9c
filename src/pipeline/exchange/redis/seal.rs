//! What Redis gets to see.
//!
//! **In:** secrets that the proxies share, and what is to be kept. **Out:** names that tell nothing, and values that only
//! those proxies can read, under the very name they were written for. **Never:** a value that was changed or moved.

use aws_lc_rs::aead;
use aws_lc_rs::aead::Aad;
use aws_lc_rs::aead::RandomizedNonceKey;
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hkdf;
use aws_lc_rs::hmac;
use zeroize::Zeroizing;

use crate::domain::digest::Digest;
use crate::domain::secret::Secret;

/// What all names begin with.
const PREFIX: &str = "obo:";
/// A secret that is shorter could be guessed.
const SHORTEST_SECRET: usize = 32;
/// The version of all that follows from a secret: names, keys, form of the values.
const VERSION: &[u8] = b"obo-proxy/redis/v1";
/// Bytes of an AES-256 key, and of a SHA-256.
const KEY: usize = 32;
/// Bytes of a nonce of AES-GCM.
const NONCE: usize = 12;

/// Bytes by which a sealed text is longer.
pub const SEAL: usize = NONCE + aead::MAX_TAG_LEN;

/// What something is kept for. What is kept for one purpose is nothing for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A token B, by its cache key.
    Token,
    /// The duty to fetch one, by the cache key of the exchange.
    Lease,
    /// That a user's tokens were purged, by the user.
    Purge,
}

/// The encryption keys: the first seals, all open.
#[derive(Debug)]
pub struct Ring(Vec<Key>);

/// What follows from one secret.
pub struct Key {
    names: hmac::Key,
    values: hkdf::Prk,
}

/// Why a secret cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// It could be guessed.
    #[error("an encryption key is shorter than 32 characters: make one with `openssl rand -base64 32`")]
    TooShort,
    /// There is none.
    #[error("there is no encryption key")]
    None,
    /// The cryptography library fails.
    #[error("no key can be derived from an encryption key")]
    Underivable,
}

impl Purpose {
    fn word(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Lease => "lease",
            Self::Purge => "purge",
        }
    }
}

impl Ring {
    /// The keys that follow from these secrets.
    ///
    /// # Errors
    /// If there is none, or one of them is too short.
    pub fn new(secrets: &[Secret]) -> Result<Self, Unusable> {
        match secrets.is_empty() {
            true => Err(Unusable::None),
            false => secrets.iter().map(Key::new).collect::<Result<_, _>>().map(Self),
        }
    }

    /// The keys, the one that seals first.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.0.iter()
    }
}

impl Key {
    /// The two keys that follow from `secret` (RFC 5869).
    fn new(secret: &Secret) -> Result<Self, Unusable> {
        if secret.expose().len() < SHORTEST_SECRET {
            return Err(Unusable::TooShort);
        }
        let root = hkdf::Salt::new(hkdf::HKDF_SHA256, VERSION).extract(secret.expose().as_bytes());
        let derive = |info: &[u8]| expand(&root, &[info]).map_err(|_| Unusable::Underivable);
        let names = hmac::Key::new(hmac::HMAC_SHA256, derive(b"names")?.as_slice());
        let values = hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, derive(b"values")?.as_slice());
        Ok(Self { names, values })
    }

    /// Under which name Redis knows what is kept of `subject`.
    pub fn name(&self, purpose: Purpose, subject: Digest) -> String {
        let mut context = hmac::Context::with_key(&self.names);
        context.update(purpose.word().as_bytes());
        context.update(b"\0");
        context.update(subject.as_bytes());
        let hidden: String = context.sign().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{PREFIX}{}:{hidden}", purpose.word())
    }

    /// `text`, to be kept of `subject`.
    ///
    /// # Errors
    /// If the cryptography library fails, or the system gives no random bytes.
    pub fn seal(&self, purpose: Purpose, subject: Digest, text: &[u8]) -> Result<Vec<u8>, Unspecified> {
        let mut buffer = Vec::with_capacity(text.len() + SEAL);
        buffer.extend_from_slice(text);
        let key = self.value_key(purpose, subject)?;
        let nonce = key.seal_in_place_append_tag(Aad::from(bound_to(purpose, subject)), &mut buffer)?;
        buffer.splice(..0, *nonce.as_ref());
        Ok(buffer)
    }

    /// What was sealed with this key of `subject`; `None` if `sealed` is anything else.
    pub fn open(&self, purpose: Purpose, subject: Digest, sealed: Vec<u8>) -> Option<Zeroizing<Vec<u8>>> {
        let mut buffer = Zeroizing::new(sealed);
        let (nonce, text) = buffer.split_at_mut_checked(NONCE)?;
        let nonce = aead::Nonce::try_assume_unique_for_key(nonce).ok()?;
        let key = self.value_key(purpose, subject).ok()?;
        let length = key.open_in_place(nonce, Aad::from(bound_to(purpose, subject)), text).ok()?.len();
        buffer.copy_within(NONCE..NONCE + length, 0);
        buffer.truncate(length);
        Some(buffer)
    }

    /// A key for these values alone. Random nonces are safe for some four billion values under one key, and a busy fleet
    /// seals as many (NIST SP 800-38D section 8.3).
    fn value_key(&self, purpose: Purpose, subject: Digest) -> Result<RandomizedNonceKey, Unspecified> {
        let key = expand(&self.values, &[purpose.word().as_bytes(), b"\0", subject.as_bytes()])?;
        RandomizedNonceKey::new(&aead::AES_256_GCM, key.as_slice())
    }
}

/// Shows no key.
impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(..)")
    }
}

/// What a value is bound to, besides its key.
fn bound_to(purpose: Purpose, subject: Digest) -> Vec<u8> {
    [VERSION, purpose.word().as_bytes(), b"\0", subject.as_bytes()].concat()
}

fn expand(key: &hkdf::Prk, info: &[&[u8]]) -> Result<Zeroizing<[u8; KEY]>, Unspecified> {
    let mut out = Zeroizing::new([0; KEY]);
    key.expand(info, hkdf::HKDF_SHA256)?.fill(out.as_mut_slice())?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECRET: &str = "an encryption key of 32 letters.";

    fn key(secret: &str) -> Key {
        Key::new(&Secret::new(secret.into())).unwrap()
    }

    fn of(text: &str) -> Digest {
        Digest::of(text.as_bytes())
    }

    fn opened(key: &Key, purpose: Purpose, subject: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        key.open(purpose, of(subject), sealed.to_vec()).map(|text| text.to_vec())
    }

    #[test]
    fn names_stay_what_they_are_from_version_to_version() {
        let names = [Purpose::Token, Purpose::Lease, Purpose::Purge]
            .map(|purpose| key(SECRET).name(purpose, of("a")));
        assert_eq!(names, NAMES);
    }

    /// These and the sealed text were made by another implementation of the same RFCs: what was kept before an upgrade is
    /// found after it.
    const NAMES: [&str; 3] = [
        "obo:token:6562f201bbbcfac41a8cf9f317366521536583de097b4bae8749190ded67feb8",
        "obo:lease:488adf8ac5eec839a7604f7ed27f70497532c645103f5ef1a67e5dccbdc30745",
        "obo:purge:4c66496705a43cb7cb112bf160a52451c652e4a4d11af28b00afdbd3bfd46fae",
    ];
    const SEALED: u128 = 0x6c8715493e4e0fefb656c0798d6890a0;
    const SEALED_END: [u8; 7] = [0xf7, 0x8a, 0x02, 0x9b, 0xbc, 0x1e, 0xca];

    #[test]
    fn what_was_sealed_before_an_upgrade_opens_after_it() {
        let nonce = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];
        let sealed = [&nonce[..], &SEALED.to_be_bytes(), &SEALED_END].concat();
        assert_eq!(opened(&key(SECRET), Purpose::Token, "a", &sealed).as_deref(), Some(&b"a token"[..]));
    }

    #[test]
    fn a_value_opens_only_as_what_it_was_sealed_for() {
        let (key, other) = (key(SECRET), key("another key, just as long as that"));
        let sealed = key.seal(Purpose::Token, of("alice"), b"token").unwrap();
        assert_eq!(opened(&key, Purpose::Token, "alice", &sealed).as_deref(), Some(&b"token"[..]));
        for (key, purpose, subject) in [
            (&key, Purpose::Token, "bob"),
            (&key, Purpose::Purge, "alice"),
            (&key, Purpose::Lease, "alice"),
            (&other, Purpose::Token, "alice"),
        ] {
            assert_eq!(opened(key, purpose, subject, &sealed), None, "{purpose:?} {subject}");
        }
        for length in 0..sealed.len() {
            assert_eq!(opened(&key, Purpose::Token, "alice", &sealed[..length]), None, "{length}");
        }
        for bit in 0..sealed.len() * 8 {
            let mut flipped = sealed.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(opened(&key, Purpose::Token, "alice", &flipped), None, "{bit}");
        }
        let longer = [&sealed[..], b"\0"].concat();
        assert_eq!(opened(&key, Purpose::Token, "alice", &longer), None);
    }

    #[test]
    fn the_same_text_never_looks_the_same() {
        let key = key(SECRET);
        let [one, other] = [(), ()].map(|()| key.seal(Purpose::Token, of("a"), b"token").unwrap());
        assert_ne!(one, other);
        assert!(!one.windows(5).any(|window| window == b"token"));
    }

    #[test]
    fn a_secret_that_could_be_guessed_is_refused() {
        let ring = |secrets: &[&str]| {
            let secrets: Vec<_> = secrets.iter().map(|secret| Secret::new((*secret).into())).collect();
            Ring::new(&secrets).map(|ring| ring.keys().count())
        };
        assert_eq!(ring(&[]), Err(Unusable::None));
        assert_eq!(ring(&[&SECRET[1..]]), Err(Unusable::TooShort));
        assert_eq!(ring(&[SECRET, "short"]), Err(Unusable::TooShort));
        assert_eq!(ring(&[SECRET, "another key, just as long as that"]), Ok(2));
    }

    proptest! {
        #[test]
        fn whatever_is_found_there_does_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            prop_assert!(key(SECRET).open(Purpose::Token, of("a"), bytes).is_none());
        }

        #[test]
        fn no_two_things_have_one_name(one in "[ab]{0,3}", other in "[ab]{0,3}") {
            let key = key(SECRET);
            let names = [Purpose::Token, Purpose::Lease, Purpose::Purge].map(|purpose| key.name(purpose, of(&one)));
            prop_assert!(names[0] != names[1] && names[1] != names[2] && names[0] != names[2]);
            prop_assert_eq!(one == other, names[0] == key.name(Purpose::Token, of(&other)));
        }
    }
}
