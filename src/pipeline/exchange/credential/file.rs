//! The files our credentials are in, read anew each time: whoever rotates one only has to replace the file. While that is being
//! done it may be away, or empty: what it held before serves on.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::config::file;
use crate::domain::clock::Clock;
use crate::domain::secret;
use crate::domain::secret::Secret;
use crate::pipeline::exchange::credential::error::Error;
use crate::pipeline::exchange::credential::error::What;
use crate::telemetry::logs;

/// How long what a file held serves on from when that is first seen to be needed: whoever replaces a file takes less, and whoever
/// removes it means that it is not to be used.
const LAST_GOOD: Duration = Duration::from_secs(5 * 60);

/// The most threads that read one file at the same time.
const MOST_READS: usize = 2;

/// Reads credentials. A read that hangs holds a thread for as long, of which name resolution wants some too: so only a
/// few may read one file at a time, and the others wait their turn.
#[derive(Debug, Default)]
pub struct Reader {
    /// Every file that was read: no more than are configured.
    turns: Mutex<HashMap<PathBuf, Arc<Semaphore>>>,
    /// What those held last of which that may be wanted.
    lines: Mutex<HashMap<PathBuf, Line>>,
}

/// What a file held last.
#[derive(Debug)]
struct Line {
    secret: Secret,
    /// What is wrong with the file now, as it was last told, and since when something is.
    trouble: Option<(String, Instant)>,
}

impl Reader {
    /// The one line that the file at `path` holds, within `limit`.
    ///
    /// # Errors
    /// If the file cannot be read, or does not hold one line of text.
    pub async fn line(&self, what: What, path: &Path, limit: Duration) -> Result<Secret, Error> {
        let bytes = self.bytes(what, path, limit).await?;
        let unusable = |problem: secret::Error| {
            let problem = problem.as_str();
            Error::Unusable { what, path: path.into(), problem }
        };
        Secret::from_line(&bytes).map_err(unusable)
    }

    /// The same, or what it held last if that cannot be had just now.
    ///
    /// # Errors
    /// If it never could, or not for five minutes.
    pub async fn last_line(
        &self,
        what: What,
        path: &Path,
        limit: Duration,
        clock: &Clock,
    ) -> Result<Secret, Error> {
        let newest = self.line(what, path, limit).await;
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let error = match newest {
            Ok(secret) => {
                lines.insert(path.into(), Line { secret: secret.clone(), trouble: None });
                return Ok(secret);
            }
            Err(error) => error,
        };
        let Some(last) = lines.get_mut(path) else { return Err(error) };
        if last.serves_on(&error, clock.monotonic()) {
            return Ok(last.secret.clone());
        }
        lines.remove(path);
        Err(error)
    }

    /// Lets go of what the files held that are none of `paths` any more.
    pub fn forget_all_but(&self, paths: &[&Path]) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.retain(|path, _| paths.contains(&path.as_path()));
    }

    /// All that the file at `path` holds, within `limit`.
    ///
    /// # Errors
    /// If the file cannot be read, or is longer than any such file is.
    pub async fn bytes(&self, what: What, path: &Path, limit: Duration) -> Result<Zeroizing<Vec<u8>>, Error> {
        // a file system can hang for longer than any caller waits
        let read = tokio::time::timeout(limit, self.read_in_turn(what, path)).await;
        read.unwrap_or_else(|_| Err(Error::TooSlow { what, path: path.into(), limit }))
    }

    async fn read_in_turn(&self, what: What, path: &Path) -> Result<Zeroizing<Vec<u8>>, Error> {
        let unreadable = |source| Error::Unreadable { what, path: path.into(), source };
        let turn =
            self.turns(path).acquire_owned().await.map_err(|error| unreadable(io::Error::other(error)))?;
        let reading = path.to_owned();
        let read = tokio::task::spawn_blocking(move || {
            let bytes = read(what, &reading);
            drop(turn); // not before: whoever waited may be gone, the thread is not
            bytes
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

impl Line {
    /// Whether what the file held serves on though there is that error. Each error is told once.
    fn serves_on(&mut self, error: &Error, now: Instant) -> bool {
        let text = error.to_string();
        let since = self.trouble.as_ref().map_or(now, |(_, since)| *since);
        if now.saturating_duration_since(since) > LAST_GOOD {
            return false;
        }
        if self.trouble.as_ref().is_none_or(|(told, _)| *told != text) {
            let cause = logs::report(error);
            tracing::warn!(cause, "a file cannot be used; what it held before serves on for five minutes");
            self.trouble = Some((text, since));
        }
        true
    }
}

fn read(what: What, path: &Path) -> Result<Zeroizing<Vec<u8>>, Error> {
    let unreadable = |source| Error::Unreadable { what, path: path.into(), source };
    let unusable = |problem| Error::Unusable { what, path: path.into(), problem };
    file::read(path, what.longest()).map_err(|error| match error {
        file::Error::Unreadable(source) => unreadable(source),
        file::Error::TooLong => unusable("is far too long"),
        file::Error::NotRegular | file::Error::Deserted => unusable("is no regular file"),
    })
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;
    use crate::domain::clock::UnixTime;

    const PATIENCE: Duration = Duration::from_secs(5);

    async fn line(path: &Path, limit: Duration) -> Result<String, Error> {
        let secret = Reader::default().line(What::Secret, path, limit).await;
        secret.map(|secret| secret.expose().to_owned())
    }

    async fn content(bytes: &[u8]) -> Result<String, Error> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        std::fs::write(&path, bytes).unwrap();
        line(&path, PATIENCE).await
    }

    #[tokio::test]
    async fn what_a_file_held_last_serves_on_while_it_cannot_be_used() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        let files = Reader::default();
        let clock = Clock::manual(UnixTime::from_seconds(0));
        let line = async || {
            let line = files.last_line(What::Secret, &path, PATIENCE, &clock).await;
            line.map(|secret| secret.expose().to_owned())
        };
        assert!(line().await.is_err());
        std::fs::write(&path, "old").unwrap();
        assert_eq!(line().await.unwrap(), "old");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(line().await.unwrap(), "old");
        for bytes in [&b""[..], b"\n", b"\xff\xfe"] {
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(line().await.unwrap(), "old", "{bytes:?}");
        }
        std::fs::write(&path, "new").unwrap();
        assert_eq!(line().await.unwrap(), "new");
        // whoever takes it away for good means that
        std::fs::remove_file(&path).unwrap();
        clock.advance(LAST_GOOD * 2);
        assert_eq!(line().await.unwrap(), "new", "it is only seen now");
        clock.advance(LAST_GOOD);
        assert_eq!(line().await.unwrap(), "new");
        clock.advance(Duration::from_secs(1));
        assert!(line().await.is_err());
    }

    #[tokio::test]
    async fn what_a_file_held_that_is_configured_no_more_is_let_go_of() {
        let directory = tempfile::tempdir().unwrap();
        let files = Reader::default();
        let clock = Clock::manual(UnixTime::from_seconds(0));
        let [one, other] = ["one", "other"].map(|name| directory.path().join(name));
        for path in [&one, &other] {
            std::fs::write(path, "secret").unwrap();
            files.last_line(What::Secret, path, PATIENCE, &clock).await.unwrap();
            std::fs::remove_file(path).unwrap();
        }
        files.forget_all_but(&[&one]);
        assert!(files.last_line(What::Secret, &one, PATIENCE, &clock).await.is_ok());
        assert!(files.last_line(What::Secret, &other, PATIENCE, &clock).await.is_err());
    }

    #[tokio::test]
    async fn one_trailing_newline_is_not_part_of_the_secret() {
        for (bytes, expected) in [
            (&b"hunter2"[..], "hunter2"),
            (b"hunter2\n", "hunter2"),
            (b"hunter2\r\n", "hunter2"),
            (b" a+b/c= ", " a+b/c= "),
        ] {
            assert_eq!(content(bytes).await.unwrap(), expected);
        }
    }

    #[tokio::test]
    async fn a_file_without_a_secret_is_refused_and_not_shown() {
        for (bytes, problem) in [
            (&b""[..], "is empty"),
            (b"\n", "is empty"),
            (b"\xff\xfehunter2", "is not UTF-8"),
            (b"hunter2\nhunter3\n", "has a second line: a secret is one line"),
            (b"hunter2\t", "holds a control character, such as a tab: a secret is one line of text"),
            (&[b'a'; 16385], "is far too long"),
        ] {
            let error = content(bytes).await.unwrap_err();
            assert!(error.to_string().ends_with(problem), "{error}");
            assert!(!format!("{error:?}").contains("hunter2"));
        }
        assert_eq!(content(&[b'a'; 16384]).await.unwrap().len(), 16384);
    }

    #[tokio::test]
    async fn a_missing_file_is_named_with_its_cause() {
        let error = line(Path::new("/nonexistent/secret"), PATIENCE).await.unwrap_err();
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
            let error = line(&path, Duration::from_secs(60)).await.unwrap_err().to_string();
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
        let read = async |path: &Path, limit| {
            let secret = reader.line(What::Secret, path, limit).await;
            secret.map(|secret| secret.expose().to_owned())
        };
        let error = read(&hanging, Duration::from_millis(20)).await.unwrap_err();
        assert!(matches!(error, Error::TooSlow { .. }), "{error}");
        assert_eq!(read(&other, PATIENCE).await.unwrap(), "other");
        drop(hang);
        assert_eq!(read(&hanging, PATIENCE).await.unwrap(), "hanging");
        assert_eq!(reader.turns(&hanging).available_permits(), MOST_READS);
    }
}
