//! SHA-256 digests: what stands for a token wherever a token must not be kept.

use std::fmt;
use std::hash::BuildHasherDefault;
use std::hash::Hash;

use aws_lc_rs::digest;

/// A SHA-256 digest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The SHA-256 of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        // in one go, which spares the allocation of a context
        Self::from_output(&digest::digest(&digest::SHA256, bytes))
    }

    fn from_output(output: &digest::Digest) -> Self {
        let mut bytes = [0; 32];
        for (to, from) in bytes.iter_mut().zip(output.as_ref()) {
            *to = *from;
        }
        Self(bytes)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for Digest {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

/// A part of it is as good a hash as any: nobody finds two texts whose digests begin alike at will.
impl Hash for Digest {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        let [first, ..] = self.0.as_chunks::<8>().0 else { return };
        state.write_u64(u64::from_ne_bytes(*first));
    }
}

/// For maps whose keys are made of digests: they need no hashing, only mixing.
pub type DigestHashing = BuildHasherDefault<Mixer>;

/// Mixes what is random already.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mixer(u64);

impl std::hash::Hasher for Mixer {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = self.0.rotate_left(23) ^ number;
    }

    fn write_isize(&mut self, number: isize) {
        self.write_u64(number.cast_unsigned() as u64);
    }
}

/// Lower-case hexadecimal. Digests of tokens are kept out of logs all the same: see `telemetry::access_log`.
impl fmt::LowerHex for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Shows that there is a digest, not which: a digest of a token identifies its user.
impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(..)")
    }
}

/// SHA-256 over bytes that arrive in pieces.
pub struct Hasher(digest::Context);

impl Hasher {
    /// A hasher of nothing yet.
    pub fn new() -> Self {
        Self(digest::Context::new(&digest::SHA256))
    }

    /// Appends `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all that was appended.
    pub fn finish(self) -> Digest {
        Digest::from_output(&self.0.finish())
    }
}

impl Default for Hasher {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_nothing_is_the_well_known_one() {
        let hex = format!("{:x}", Digest::of(b""));
        assert_eq!(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }

    #[test]
    fn pieces_hash_like_the_whole() {
        let mut hasher = Hasher::new();
        hasher.update(b"on behalf");
        hasher.update(b" of");
        assert_eq!(hasher.finish(), Digest::of(b"on behalf of"));
    }
}
