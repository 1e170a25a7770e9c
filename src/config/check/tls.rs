//! The PEM files of TLS: whose certificates are believed, and which one of ours is shown.

use std::path::PathBuf;

use crate::config::check::At;
use crate::config::check::upstream;
use crate::config::wire::upstream::ClientCertificate;

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
    let file = upstream::path(written.file.as_deref()?, &at.key("file"))?;
    Some((file, upstream::path(written.key.as_deref()?, &at.key("key"))?))
}

/// Warns of those files that cannot be read now; `help` says what follows from that.
pub fn look_at(ca: Option<&PathBuf>, client: Option<&(PathBuf, PathBuf)>, help: &str, at: &At<'_>) {
    if let Some(ca) = ca {
        at.key("ca").look_at(ca, help);
    }
    if let Some((file, key)) = client {
        let at = at.key("client_certificate");
        at.key("file").look_at(file, help);
        at.key("key").look_at(key, help);
    }
}
