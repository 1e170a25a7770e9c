//! The PEM files of TLS: whose certificates are believed, and which one of ours is shown.

use std::path::Path;
use std::path::PathBuf;

use crate::config::check::At;
use crate::config::check::pem;
use crate::config::check::pem::Complaint;
use crate::config::check::upstream;
use crate::config::problem::Severity;
use crate::config::wire::upstream::ClientCertificate;
use crate::domain::printable;

/// The file of roots; `None` = the system's.
pub fn ca(written: Option<&str>, at: &At<'_>) -> Option<PathBuf> {
    written.filter(|ca| *ca != "system").and_then(|ca| upstream::path(ca, &at.key("ca")))
}

/// The files of our certificate and key.
pub fn client_certificate(written: Option<&ClientCertificate>, at: &At<'_>) -> Option<(PathBuf, PathBuf)> {
    let written = written?;
    let at = at.key("client_certificate");
    if written.file.is_none() {
        at.missing("file", "write the path of a PEM file with the certificate");
    }
    if written.key.is_none() {
        at.missing("key", "write the path of a PEM file with the private key");
    }
    let path = |text: &Option<String>, key| upstream::path(text.as_deref()?, &at.key(key));
    let (file, key) = (path(&written.file, "file"), path(&written.key, "key"));
    file.zip(key)
}

/// What follows from a file of TLS that does not serve.
#[derive(Clone, Copy)]
pub enum Use {
    /// Nothing goes on without it.
    Needed,
    /// It is read when it is needed, and may have been replaced by then; what happens until then.
    Later(&'static str),
}

impl Use {
    fn severity(self) -> Severity {
        match self {
            Self::Needed => Severity::Error,
            Self::Later(_) => Severity::Warning,
        }
    }

    fn unreadable(self) -> &'static str {
        match self {
            Self::Needed => "`run` does not start without it",
            Self::Later(help) => help,
        }
    }
}

/// Complains of those files that cannot be read now, or do not serve.
pub fn look_at(ca: Option<&PathBuf>, client: Option<&(PathBuf, PathBuf)>, used: Use, at: &At<'_>) {
    if let Some(ca) = ca {
        look_at_authorities(ca, used, &at.key("ca"));
    }
    if let Some((file, key)) = client {
        let at = at.key("client_certificate");
        look_at_pair((file, &at.key("file")), (key, &at.key("key")), used);
    }
}

/// The same of a file of authorities.
pub fn look_at_authorities(path: &Path, used: Use, at: &At<'_>) {
    let content = at.look_at(path, used.unreadable());
    if let Some(Complaint(message, help)) = content.and_then(|content| pem::authorities(&content)) {
        complain(message, help, path, used, at);
    }
}

/// The same of a certificate's file and its key's, which may be one.
pub fn look_at_pair(certificate: (&Path, &At<'_>), key: (&Path, &At<'_>), used: Use) {
    let ((path, at), (key_path, key_at)) = (certificate, key);
    let content = at.look_at(path, used.unreadable());
    let key = match key_path == path {
        true => content.clone(),
        false => key_at.look_at(key_path, used.unreadable()),
    };
    let chain = match content.map(|content| pem::certificates(&content)) {
        Some(Ok(chain)) => chain,
        Some(Err(Complaint(message, help))) => return complain(message, help, path, used, at),
        None => return,
    };
    if let Some(Complaint(message, help)) = at.time().and_then(|now| pem::untimely(&chain, now)) {
        at.warning(message, help);
    }
    if let Some(Complaint(message, help)) = key.and_then(|key| pem::key_of(&key, chain)) {
        complain(message, help, key_path, used, key_at);
    }
}

/// The file is named: it was read, so it is the path of one, even where a path could have been taken for a secret.
fn complain(message: &str, help: &str, path: &Path, used: Use, at: &At<'_>) {
    let path = printable::line(&path.display().to_string());
    at.found(used.severity(), format!("{message}: {path}"), help);
}
