//! Whether Redis would serve us: each thing that is asked of it, done once with something that is nobody's. For an operator
//! who asks.

use std::sync::Arc;
use std::time::Duration;

use redis::ErrorKind;
use redis::RedisError;

use crate::config;
use crate::domain::clock::Clock;
use crate::domain::digest::Digest;
use crate::pipeline::exchange::credential::file::Reader;
use crate::pipeline::exchange::redis::commands::Found;
use crate::pipeline::exchange::redis::connect;
use crate::pipeline::exchange::redis::connect::Connection;
use crate::pipeline::exchange::redis::link::Session;
use crate::pipeline::exchange::redis::seal::Purpose;
use crate::pipeline::exchange::redis::seal::Ring;
use crate::pipeline::exchange::request::random_guid;

/// What is written: no token.
const TEXT: &[u8] = b"written to see whether that works";
/// How long it lasts if it cannot be deleted.
const LAST: Duration = Duration::from_secs(10);

/// Why Redis would not serve us.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no connection, or a file cannot be used.
    #[error(transparent)]
    Connect(#[from] connect::Error),
    /// A command was refused, or not answered.
    #[error("{0}")]
    Command(RedisError),
    /// What was read is not what was written.
    #[error("what was written cannot be read back")]
    Lost,
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    NoRandomness,
}

impl Error {
    /// The first word of the server's own refusal, as `NOPERM`.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Connect(connect::Error::Redis(error)) | Self::Command(error) => match error.kind() {
                // the library keeps this one's word to itself
                ErrorKind::AuthenticationFailed => Some("WRONGPASS"),
                _ => error.code(),
            },
            _ => None,
        }
    }

    /// Whether it is about a file or a secret of ours, and not about the server.
    pub fn is_ours(&self) -> bool {
        matches!(self, Self::NoRandomness | Self::Connect(connect::Error::File(_) | connect::Error::Seal(_)))
    }
}

/// The encryption keys, as they were read.
pub struct Keys(Arc<Ring>);

impl Keys {
    /// Reads those of `settings`.
    ///
    /// # Errors
    /// If one cannot be read, or is too short.
    pub async fn read(settings: &config::Redis) -> Result<Self, Error> {
        Ok(Self(Arc::new(connect::ring(settings, &Reader::default()).await?)))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.keys().count()
    }
}

/// An entry of nobody's.
pub struct Entry {
    session: Session,
    subject: Digest,
}

impl Entry {
    /// Connects as the proxy does. Nothing is written yet.
    ///
    /// # Errors
    /// If no server lets us in.
    pub async fn open(settings: &config::Redis, keys: &Keys, clock: &Clock) -> Result<Self, Error> {
        let mut connection = Connection::open(settings, &Reader::default()).await?;
        connection.greet().await?;
        let subject = random_guid().map_err(|_| Error::NoRandomness)?;
        let session = Session::over(connection, keys.0.clone(), clock.monotonic());
        Ok(Self { session, subject: Digest::of(subject.as_bytes()) })
    }

    /// Writes it.
    ///
    /// # Errors
    /// If Redis refuses, or does not answer.
    pub async fn write(&self) -> Result<(), Error> {
        let session = self.session.clone();
        session.write(Purpose::Token, self.subject, TEXT, LAST).await.map_err(Error::Command)
    }

    /// Reads what was written.
    ///
    /// # Errors
    /// If Redis refuses, does not answer, or has something else.
    pub async fn read(&self) -> Result<(), Error> {
        let found = self.session.clone().find(Purpose::Token, self.subject).await.map_err(Error::Command)?;
        match found {
            Found::Text(text) if *text == TEXT => Ok(()),
            Found::Text(_) | Found::Foreign | Found::Nothing => Err(Error::Lost),
        }
    }

    /// Deletes it.
    ///
    /// # Errors
    /// If Redis refuses, or does not answer.
    pub async fn delete(&self) -> Result<(), Error> {
        self.session.clone().delete(Purpose::Token, self.subject).await.map_err(Error::Command)
    }
}
