//! Our own credential, read anew for each exchange: whoever rotates it only has to replace the file.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::io::Read;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::config::Credential;
use crate::domain::secret::Secret;

/// No client secret comes near this length.
const LONGEST: u64 = 16 * 1024;

/// The most threads that read one file at the same time.
const MOST_READS: usize = 4;

/// Why a credential cannot be used. It names the file, never what is in it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read the client secret {path}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The file holds nothing that could be a secret.
    #[error("the client secret {path} {problem}")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// It is another kind of credential.
    #[error("the credential is no client secret")]
    NoSecret,
    /// Reading took too long.
    #[error("reading the client secret {path} took longer than {limit:?}")]
    TooSlow {
        /// The file.
        path: PathBuf,
        /// How long it might have taken.
        limit: Duration,
    },
}

/// Reads credentials. A read that hangs holds a thread for as long, of which name resolution wants some too: so only a
/// few may read one file at a time, and the others wait their turn.
#[derive(Debug, Default)]
pub struct Reader {
    /// Every file that was read: no more than are configured.
    turns: Mutex<HashMap<PathBuf, Arc<Semaphore>>>,
}

impl Reader {
    /// The secret that `credential` stands for, within `limit`.
    ///
    /// # Errors
    /// If its file cannot be read, or holds no secret.
    pub async fn secret(&self, credential: &Credential, limit: Duration) -> Result<Secret, Error> {
        let path = match credential {
            Credential::Secret(secret) => return Ok(secret.clone()),
            Credential::SecretFile(path) => path,
            Credential::Certificate(_) | Credential::FederatedToken(_) | Credential::ManagedIdentity(_) => {
                return Err(Error::NoSecret);
            }
        };
        // a file system can hang for longer than any caller waits
        let secret = tokio::time::timeout(limit, self.read_in_turn(path)).await;
        secret.unwrap_or_else(|_| Err(Error::TooSlow { path: path.clone(), limit }))
    }

    async fn read_in_turn(&self, path: &Path) -> Result<Secret, Error> {
        let unreadable = |source| Error::Unreadable { path: path.into(), source };
        let turn =
            self.turns(path).acquire_owned().await.map_err(|error| unreadable(io::Error::other(error)))?;
        let reading = path.to_owned();
        let read = tokio::task::spawn_blocking(move || {
            let secret = read(&reading);
            drop(turn); // not before: whoever waited may be gone, the thread is not
            secret
        });
        read.await.unwrap_or_else(|crash| Err(unreadable(crash.into())))
    }

    fn turns(&self, path: &Path) -> Arc<Semaphore> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        match turns.get(path) {
            Some(turns) => turns.clone(),
            None => turns.entry(path.into()).or_insert_with(|| Arc::new(Semaphore::new(MOST_READS))).clone(),
        }
    }
}

fn read(path: &Path) -> Result<Secret, Error> {
    let unreadable = |source| Error::Unreadable { path: path.into(), source };
    let unusable = |problem| Error::Unusable { path: path.into(), problem };
    // a pipe would be waited for, maybe for ever
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(unusable("is no regular file"));
    }
    // room for everything from the start: growing would leave copies behind
    let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST as usize + 2));
    File::open(path).and_then(|file| file.take(LONGEST + 1).read_to_end(&mut bytes)).map_err(unreadable)?;
    if bytes.len() as u64 > LONGEST {
        return Err(unusable("is longer than 16 KiB"));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| unusable("is not UTF-8"))?;
    Secret::from_line(text).ok_or_else(|| unusable("is empty"))
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    async fn content(bytes: &[u8]) -> Result<Secret, Error> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        std::fs::write(&path, bytes).unwrap();
        Reader::default().secret(&Credential::SecretFile(path), Duration::from_secs(5)).await
    }

    #[tokio::test]
    async fn one_trailing_newline_is_not_part_of_the_secret() {
        for (bytes, expected) in [
            (&b"hunter2"[..], "hunter2"),
            (b"hunter2\n", "hunter2"),
            (b"hunter2\r\n", "hunter2"),
            (b"hunter2\n\n", "hunter2\n"),
            (b" a+b/c= ", " a+b/c= "),
        ] {
            assert_eq!(content(bytes).await.unwrap().expose(), expected);
        }
    }

    #[tokio::test]
    async fn a_file_without_a_secret_is_refused_and_not_shown() {
        for (bytes, problem) in [
            (&b""[..], "is empty"),
            (b"\n", "is empty"),
            (b"\xff\xfehunter2", "is not UTF-8"),
            (&[b'a'; 16385], "is longer"),
        ] {
            let error = content(bytes).await.unwrap_err();
            assert!(error.to_string().contains(problem), "{error}");
            assert!(!format!("{error:?}").contains("hunter2"));
        }
    }

    #[tokio::test]
    async fn a_missing_file_is_named_with_its_cause() {
        let missing = Credential::SecretFile("/nonexistent/secret".into());
        let error = Reader::default().secret(&missing, Duration::from_secs(5)).await.unwrap_err();
        assert_eq!(error.to_string(), "cannot read the client secret /nonexistent/secret");
        assert!(error.source().is_some());
    }

    #[tokio::test]
    async fn what_is_no_file_is_refused_and_not_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        // without a writer, opening it would wait for ever
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for path in [pipe, directory.path().into(), "/dev/zero".into()] {
            let credential = Credential::SecretFile(path);
            let secret = Reader::default().secret(&credential, Duration::from_secs(60)).await;
            let error = secret.unwrap_err().to_string();
            assert!(error.ends_with("is no regular file"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_file_that_hangs_holds_a_few_threads_and_no_other_file_up() {
        let directory = tempfile::tempdir().unwrap();
        let [hanging, other] = ["hanging", "other"].map(|name| {
            let path = directory.path().join(name);
            std::fs::write(&path, name).unwrap();
            path
        });
        let reader = Reader::default();
        let hang = reader.turns(&hanging).acquire_many_owned(MOST_READS as u32).await.unwrap();
        let read = async |path: &PathBuf, limit| {
            let secret = reader.secret(&Credential::SecretFile(path.clone()), limit).await;
            secret.map(|secret| secret.expose().to_owned())
        };
        let error = read(&hanging, Duration::from_millis(20)).await.unwrap_err();
        assert!(matches!(error, Error::TooSlow { .. }), "{error}");
        assert_eq!(read(&other, Duration::from_secs(5)).await.unwrap(), "other");
        drop(hang);
        assert_eq!(read(&hanging, Duration::from_secs(5)).await.unwrap(), "hanging");
        assert_eq!(reader.turns(&hanging).available_permits(), MOST_READS);
    }
}
