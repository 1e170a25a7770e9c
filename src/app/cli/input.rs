//! How tokens get in: by standard input or a file, never as an argument, which every process of the machine can read.

use std::fs::File;
use std::io::IsTerminal;
use std::io::Read;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Context;
use anyhow::anyhow;
use http::HeaderValue;

use crate::app::cli::Failure;
use crate::app::cli::say;
use crate::domain::peer::ClientCertificate;
use crate::domain::secret::Secret;
use crate::domain::token::UserToken;
use crate::net::tls;
use crate::pipeline::accept::certificate;

/// More is no token, nor a certificate.
const LONGEST: u64 = 256 * 1024;

/// The scheme before a token (RFC 6750 section 2.1).
const BEARER: &str = "Bearer ";

/// Reads a token from the file at `path`; `-` = standard input.
pub fn token(path: &Path) -> Result<Secret, Failure> {
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        if std::io::stdin().is_terminal() {
            say("Paste the token, then Enter and Ctrl-D:\n");
        }
        std::io::stdin().take(LONGEST).read_to_end(&mut bytes).context("cannot read standard input")?;
    } else {
        bytes = read(path)?;
    }
    let text = zeroize::Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned());
    zeroize::Zeroize::zeroize(&mut bytes);
    let token = bare(&text);
    match token.is_empty() {
        true => Err(Failure::Usage(anyhow!("there is no token: give one by standard input or --token-file"))),
        false => Ok(Secret::new(token.to_owned())),
    }
}

/// Where a token is read from that has to be there.
pub fn given(path: Option<&PathBuf>) -> Result<Secret, Failure> {
    token(path.map_or_else(|| Path::new("-"), PathBuf::as_path))
}

/// The token as a request would bring it.
pub fn user_token(token: &Secret) -> Result<UserToken, Failure> {
    let value = zeroize::Zeroizing::new(format!("{BEARER}{}", token.expose()));
    let value = HeaderValue::from_str(&value).ok();
    let token = value.and_then(|value| UserToken::from_authorization(value, BEARER.len()));
    token.ok_or_else(|| Failure::No(anyhow!("this is no token: it holds what no header may")))
}

/// The certificate that a caller would show: the first one in a PEM file.
pub fn certificate(path: Option<&PathBuf>) -> Result<Option<ClientCertificate>, Failure> {
    let Some(path) = path else { return Ok(None) };
    let pem = read(path)?;
    let all = tls::certificates_in(path, &pem).map_err(|error| Failure::Usage(error.into()))?;
    Ok(all.first().map(|der| certificate::read(der)))
}

/// What a file holds, which may be a pipe: somebody has named it just now.
fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LONGEST).read_to_end(&mut bytes));
    read.with_context(|| match may_be_secret(&path.to_string_lossy()) {
        true => "cannot read the file of that name: a token is given in a file, or by standard input".into(),
        false => format!("cannot read {}", path.display()),
    })?;
    Ok(bytes)
}

/// Whether somebody may have written a token or a secret where the name of a file belongs. Those have a `/` when they are long, and
/// seldom what base64 and generated secrets have.
pub fn may_be_secret(name: &str) -> bool {
    name.contains("eyJ") || name.contains(['+', '=', '~']) || (name.len() >= 32 && !name.contains('/'))
}

/// Whether it may be repeated that this is no argument of ours: a few letters without digits and capitals, as flags and commands
/// are, so no more than a misspelt one.
pub fn is_plain(argument: &str) -> bool {
    let is_letter = |own: u8| own.is_ascii_lowercase() || b"-_./".contains(&own);
    argument.len() < 24 && argument.bytes().all(is_letter)
}

/// The token in `text`, which may be a whole header field, as it is pasted from a browser.
fn bare(text: &str) -> &str {
    let mut rest = text.trim();
    for prefix in ["authorization:", "bearer "] {
        if let Some(start) = rest.get(..prefix.len())
            && start.eq_ignore_ascii_case(prefix)
        {
            rest = rest.get(prefix.len()..).unwrap_or_default().trim_start();
        }
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_a_secret_is_told_from_names_of_files_and_misspelt_words() {
        for secret in [
            "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.x",
            "dEm0~8Q+not/a.secret_Wk3z+Yb7==",
            "AbCdEfGhIjKlMnOpQrStUvWxYz0123456789/abcd=",
        ] {
            assert!(may_be_secret(secret) && !is_plain(secret), "{secret}");
        }
        assert!(!is_plain("hunter2") && !is_plain("--hunter2hunter2"));
        for name in ["token.txt", "/run/secrets/Token-2026", "./Mine/token"] {
            assert!(!may_be_secret(name), "{name}");
        }
        for word in ["chekc", "--confg", "x.yaml", "--identity-provder"] {
            assert!(is_plain(word), "{word}");
        }
    }

    #[test]
    fn a_token_may_be_pasted_with_all_that_stands_around_it() {
        for text in [
            "a.b.c",
            " a.b.c\n",
            "Bearer a.b.c\r\n",
            "authorization: bearer  a.b.c",
            "Authorization:Bearer a.b.c",
        ] {
            assert_eq!(bare(text), "a.b.c", "{text:?}");
        }
        assert_eq!((bare(""), bare("Bearer "), bare("é")), ("", "Bearer", "é"));
    }
}
