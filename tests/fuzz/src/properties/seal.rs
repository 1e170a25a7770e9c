//! What Redis gives back: a record, or a sealed text; the first byte says what somebody changes of one.

use std::sync::LazyLock;

use obo_proxy::domain::digest::Digest;
use obo_proxy::domain::secret::Secret;
use obo_proxy::pipeline::exchange::lifetime::LONGEST;
use obo_proxy::pipeline::exchange::redis::record::Record;
use obo_proxy::pipeline::exchange::redis::seal::Purpose;
use obo_proxy::pipeline::exchange::redis::seal::Ring;
use obo_proxy::pipeline::exchange::redis::seal::SEAL;

static RING: LazyLock<Ring> = LazyLock::new(|| {
    let secrets = ["a", "b"].map(|letter| Secret::new(letter.repeat(32)));
    Ring::new(&secrets).unwrap()
});

/// A record is one spelling of what it says; what is sealed opens under its own name and key, unchanged, or not at all.
pub fn check(bytes: &[u8]) {
    if let Some(record) = Record::from_bytes(bytes) {
        assert_eq!(record.to_bytes().as_slice(), bytes);
        let life = record.lifetime;
        assert!(record.asked_at < life.expires_on && life.renew_at <= life.expires_on);
        assert!(life.expires_on.since(record.asked_at) <= LONGEST);
        assert!(record.token.authorization().to_str().is_ok());
    }
    let [key, other] = RING.keys().collect::<Vec<_>>()[..] else { panic!("two keys") };
    let (subject, another) = (Digest::of(b"one"), Digest::of(b"another"));
    assert!(key.open(Purpose::Token, subject, bytes.to_vec()).is_none());
    let Some((at, text)) = bytes.split_first() else { return };
    let sealed = key.seal(Purpose::Token, subject, text).unwrap();
    assert_eq!(sealed.len(), text.len() + SEAL);
    let open = |sealed: &[u8]| key.open(Purpose::Token, subject, sealed.to_vec());
    assert_eq!(open(&sealed).unwrap().as_slice(), text);
    assert!(key.open(Purpose::Lease, subject, sealed.clone()).is_none());
    assert!(key.open(Purpose::Token, another, sealed.clone()).is_none());
    assert!(other.open(Purpose::Token, subject, sealed.clone()).is_none());
    let mut changed = sealed.clone();
    let place = usize::from(*at) % changed.len();
    changed[place] ^= 1 << (at % 8);
    assert!(open(&changed).is_none());
    assert!(open(&sealed[..sealed.len() - 1]).is_none());
}
