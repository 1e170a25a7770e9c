//! What is said to Redis: `GETRANGE`, `SET` and `DEL`, nothing else.

use std::time::Duration;

use redis::RedisError;
use redis::cmd;
use zeroize::Zeroizing;

use crate::domain::digest::Digest;
use crate::pipeline::exchange::redis::link::Session;
use crate::pipeline::exchange::redis::record::LONGEST_RECORD;
use crate::pipeline::exchange::redis::seal::Key;
use crate::pipeline::exchange::redis::seal::Purpose;
use crate::pipeline::exchange::redis::seal::SEAL;

/// What stands under a name.
#[derive(Debug)]
pub enum Found {
    /// This, and one who has our encryption key wrote it.
    Text(Zeroizing<Vec<u8>>),
    /// Something else.
    Foreign,
    /// Nothing.
    Nothing,
}

/// What became of an attempt to be the only one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is ours.
    Now,
    /// It is another's.
    Before,
}

impl Session {
    /// What is kept of `subject`, under the name that each of the keys gives it.
    ///
    /// # Errors
    /// If Redis refuses, or does not answer.
    pub async fn each(&mut self, purpose: Purpose, subject: Digest) -> Result<Vec<Found>, RedisError> {
        let ring = self.ring.clone();
        let mut all = Vec::new();
        for key in ring.keys() {
            all.push(self.read(key, purpose, subject).await?);
        }
        Ok(all)
    }

    /// The first of those that is ours, if there is one.
    ///
    /// # Errors
    /// If Redis refuses, or does not answer.
    pub async fn find(&mut self, purpose: Purpose, subject: Digest) -> Result<Found, RedisError> {
        let ring = self.ring.clone();
        let mut found = Found::Nothing;
        for key in ring.keys() {
            match self.read(key, purpose, subject).await? {
                Found::Text(text) => return Ok(Found::Text(text)),
                Found::Foreign => found = Found::Foreign,
                Found::Nothing => {}
            }
        }
        Ok(found)
    }

    /// Keeps `text` of `subject` for so long. A purge is kept under each of the keys: it must be seen also by who has one
    /// of them alone.
    ///
    /// # Errors
    /// If Redis refuses, or does not answer.
    pub async fn write(
        mut self,
        purpose: Purpose,
        subject: Digest,
        text: &[u8],
        left: Duration,
    ) -> Result<(), RedisError> {
        let ring = self.ring.clone();
        let count = if purpose == Purpose::Purge { usize::MAX } else { 1 };
        for key in ring.keys().take(count) {
            // without random bytes nothing can be sealed, and so nothing kept
            let Ok(sealed) = key.seal(purpose, subject, text) else { return Ok(()) };
            let mut command = cmd("SET");
            command.arg(key.name(purpose, subject)).arg(sealed).arg("EX").arg(left.as_secs());
            self.connection.send::<()>(&command).await?;
        }
        Ok(())
    }

    /// Keeps nothing of `subject` any more.
    ///
    /// # Errors
    /// If Redis refuses, or does not answer.
    pub async fn delete(mut self, purpose: Purpose, subject: Digest) -> Result<(), RedisError> {
        let ring = self.ring.clone();
        for key in ring.keys() {
            self.connection.send::<()>(cmd("DEL").arg(key.name(purpose, subject))).await?;
        }
        Ok(())
    }

    /// Takes what only one may have, for so long.
    ///
    /// # Errors
    /// If Redis refuses, or does not answer.
    pub async fn take(
        &mut self,
        purpose: Purpose,
        subject: Digest,
        span: Duration,
    ) -> Result<Taken, RedisError> {
        let ring = self.ring.clone();
        let Some(key) = ring.keys().next() else { return Ok(Taken::Before) };
        let milliseconds = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let mut command = cmd("SET");
        command.arg(key.name(purpose, subject)).arg("1").arg("NX").arg("PX").arg(milliseconds);
        let taken = self.connection.send::<Option<String>>(&command).await?;
        Ok(if taken.is_some() { Taken::Now } else { Taken::Before })
    }

    /// What is kept of `subject`, under the name that this key gives it.
    async fn read(&mut self, key: &Key, purpose: Purpose, subject: Digest) -> Result<Found, RedisError> {
        // one byte more than any value of ours has: whoever writes there cannot make us read what fills our memory
        let mut command = cmd("GETRANGE");
        command.arg(key.name(purpose, subject)).arg(0).arg(LONGEST_RECORD + SEAL);
        match self.connection.send::<Vec<u8>>(&command).await {
            Ok(sealed) if sealed.is_empty() => Ok(Found::Nothing),
            Ok(sealed) => Ok(key.open(purpose, subject, sealed).map_or(Found::Foreign, Found::Text)),
            Err(error) if error.code() == Some("WRONGTYPE") => Ok(Found::Foreign),
            Err(error) => Err(error),
        }
    }
}
