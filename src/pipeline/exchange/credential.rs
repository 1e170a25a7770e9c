//! Our own credential, read anew for each exchange: whoever rotates it only has to replace the file.

use std::fs::File;
use std::io;
use std::io::Read;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::config::Credential;
use crate::domain::secret::Secret;

/// No client secret comes near this length.
const LONGEST: u64 = 16 * 1024;

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
    /// Reading took too long.
    #[error("reading the client secret {path} took longer than {limit:?}")]
    TooSlow {
        /// The file.
        path: PathBuf,
        /// How long it might have taken.
        limit: Duration,
    },
}

/// The secret that `credential` stands for, within `limit`.
///
/// # Errors
/// If its file cannot be read, or holds no secret.
pub async fn secret(credential: &Credential, limit: Duration) -> Result<Secret, Error> {
    let path = match credential {
        Credential::Secret(secret) => return Ok(secret.clone()),
        Credential::SecretFile(path) => path.clone(),
    };
    let reading = path.clone();
    // a file system can hang for longer than any caller waits
    let read = tokio::time::timeout(limit, tokio::task::spawn_blocking(move || read(&reading)));
    match read.await {
        Err(_) => Err(Error::TooSlow { path, limit }),
        Ok(Err(crash)) => Err(Error::Unreadable { path, source: crash.into() }),
        Ok(Ok(secret)) => secret,
    }
}

fn read(path: &Path) -> Result<Secret, Error> {
    let unreadable = |source| Error::Unreadable { path: path.into(), source };
    let unusable = |problem| Error::Unusable { path: path.into(), problem };
    // room for everything from the start: growing would leave copies behind
    let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST as usize + 2));
    File::open(path).and_then(|file| file.take(LONGEST + 1).read_to_end(&mut bytes)).map_err(unreadable)?;
    if bytes.len() as u64 > LONGEST {
        return Err(unusable("is longer than 16 KiB"));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| unusable("is not UTF-8"))?;
    let line = text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
    if line.is_empty() {
        return Err(unusable("is empty"));
    }
    Ok(Secret::new(line.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    async fn content(bytes: &[u8]) -> Result<Secret, Error> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        std::fs::write(&path, bytes).unwrap();
        secret(&Credential::SecretFile(path), Duration::from_secs(5)).await
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
        let error = secret(&missing, Duration::from_secs(5)).await.unwrap_err();
        assert_eq!(error.to_string(), "cannot read the client secret /nonexistent/secret");
        assert!(error.source().is_some());
    }
}
