//! The newest certificate that works: its files are looked at anew each time, and what was made of them is kept until
//! they change.

use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use crate::config::Certificate;
use crate::config::Egress;
use crate::domain::clock::UnixTime;
use crate::domain::digest::Digest;
use crate::net::client::Client;
use crate::net::tls;
use crate::pipeline::exchange::credential::assertion::Signer;
use crate::pipeline::exchange::credential::certificate::Chain;
use crate::pipeline::exchange::credential::certificate::Pem;
use crate::pipeline::exchange::credential::error::Error;
use crate::pipeline::exchange::credential::error::What;
use crate::pipeline::exchange::credential::file::Reader;
use crate::telemetry::logs;

/// Keeps what is made of one certificate.
#[derive(Debug)]
pub struct Keeper<T: Made> {
    settings: Certificate,
    with: T::With,
    kept: Mutex<Option<Arc<Kept<T>>>>,
    /// What was wrong with the files when that was last told.
    told: Mutex<Option<String>>,
}

/// What was made of the files' content.
#[derive(Debug)]
pub struct Kept<T> {
    /// That.
    pub made: T,
    /// Tells this content from another.
    pub content: Digest,
    /// When the first certificate in it ends.
    pub not_after: UnixTime,
}

/// What can be made of a certificate and its key.
pub trait Made: Sized + Send + Sync + fmt::Debug + 'static {
    /// What else it is made with.
    type With: Clone + Send + Sync + fmt::Debug + 'static;

    /// Makes it.
    ///
    /// # Errors
    /// If key and certificate do not go together, or are not of the kind that is needed.
    fn make(settings: &Certificate, with: Self::With, chain: Chain, pem: &Pem) -> Result<Self, Error>;
}

impl Made for Signer {
    type With = ();

    fn make(settings: &Certificate, (): (), chain: Chain, pem: &Pem) -> Result<Self, Error> {
        Self::new(settings, &chain, &*pem.private_key(settings)?)
    }
}

impl Made for Client {
    /// The way it goes.
    type With = Egress;

    fn make(settings: &Certificate, egress: Egress, chain: Chain, pem: &Pem) -> Result<Self, Error> {
        let key = pem.private_key(settings)?;
        let config = tls::client_config_as(None, chain.certificates, &key).map_err(|source| Error::Tls {
            certificate: settings.file.clone(),
            key: settings.key.clone(),
            source,
        })?;
        Ok(Self::through(config, egress))
    }
}

impl<T: Made> Keeper<T> {
    /// Nothing is read yet.
    pub fn new(settings: Certificate, with: T::With) -> Self {
        Self { settings, with, kept: Mutex::new(None), told: Mutex::new(None) }
    }

    /// What was made of the certificate.
    pub fn settings(&self) -> &Certificate {
        &self.settings
    }

    /// What is made of the files as they are now. If they cannot be used, whatever was made of them last serves on.
    ///
    /// # Errors
    /// If the files cannot be used and never could be.
    pub async fn newest(&self, files: &Reader, limit: Duration) -> Result<Arc<Kept<T>>, Error> {
        match (self.read(files, limit).await, self.kept()) {
            (Ok(newest), _) => {
                *self.told.lock().unwrap_or_else(PoisonError::into_inner) = None;
                Ok(newest)
            }
            (Err(error), Some(kept)) => {
                self.tell(&error);
                Ok(kept)
            }
            (Err(error), None) => Err(error),
        }
    }

    /// What was made of the files last.
    pub fn kept(&self) -> Option<Arc<Kept<T>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn read(&self, files: &Reader, limit: Duration) -> Result<Arc<Kept<T>>, Error> {
        let certificate = files.bytes(What::Certificate, &self.settings.file, limit).await?;
        let key = files.bytes(What::Key, &self.settings.key, limit).await?;
        let pem = Pem { certificate, key };
        let content = pem.digest();
        if let Some(kept) = self.kept().filter(|kept| kept.content == content) {
            return Ok(kept);
        }
        let (settings, with) = (self.settings.clone(), self.with.clone());
        // checking a key takes a while
        let making = tokio::task::spawn_blocking(move || {
            let chain = pem.chain(&settings)?;
            let not_after = chain.not_after;
            Ok(Kept { made: T::make(&settings, with, chain, &pem)?, content, not_after })
        });
        let made = Arc::new(making.await.unwrap_or(Err(Error::Unsigned))?);
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(made.clone());
        Ok(made)
    }

    /// Says what is wrong with the files, once.
    fn tell(&self, error: &Error) {
        let text = error.to_string();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.as_ref() != Some(&text) {
            let cause = logs::report(error);
            tracing::warn!(cause, "a new certificate cannot be used; the one before serves on");
            *told = Some(text);
        }
    }
}
