//! Files with secrets in them: who else may read them. Whether we can is seen where they are used.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use crate::app::doctor::check::Check;
use crate::app::doctor::check::Round;
use crate::app::doctor::check::Verdict;
use crate::config::Config;
use crate::config::Credential;
use crate::config::Login;
use crate::config::SecretSource;
use crate::config::Topology;

/// What they are called.
pub const KIND: &str = "files";

/// How long a look may take.
const LIMIT: Duration = Duration::from_secs(2);

/// What more than owner and group may do, and the group more than read: rw-r----- is fine.
const TOO_MUCH: u32 = 0o037;

/// Looks at the permissions of every file with a secret in it.
pub async fn look(round: &Round, config: &Config) -> Vec<Check> {
    let mut checks = Vec::new();
    for path in secrets(config) {
        let owned = path.to_owned();
        // a file system can hang
        let asked = tokio::task::spawn_blocking(move || fs::metadata(owned));
        let looking = round.check_for(path.display().to_string(), LIMIT, async {
            match asked.await {
                Ok(Ok(file)) => Ok((verdict(file.permissions().mode()), true)),
                _ => Ok((Verdict::well("not there"), false)),
            }
        });
        let (check, is_there) = looking.await;
        if is_there != Some(false) {
            checks.push(check);
        }
    }
    checks
}

fn verdict(mode: u32) -> Verdict {
    let seen = format!("mode {:04o}", mode & 0o7777);
    match mode & TOO_MUCH {
        0 => Verdict::well(seen),
        _ => Verdict::doubtful(
            format!("{seen}: more may read or write it than need to"),
            "chmod 0640, or `defaultMode: 0440` with an fsGroup in Kubernetes",
        ),
    }
}

fn secrets(config: &Config) -> BTreeSet<&Path> {
    let mut found = BTreeSet::new();
    for provider in &config.identity_providers {
        for credential in &provider.credentials {
            match credential {
                Credential::SecretFile(path) | Credential::FederatedToken(path) => found.insert(&**path),
                Credential::Certificate(certificate) => found.insert(&*certificate.key),
                Credential::Secret(_) | Credential::ManagedIdentity(_) => false,
            };
        }
    }
    for route in &config.routes {
        found.extend(route.upstream.tls.client_certificate.iter().map(|(_, key)| &**key));
    }
    for listener in &config.listeners {
        found.extend(listener.tls.iter().flat_map(|tls| &tls.certificates).map(|pair| &*pair.key));
    }
    found.extend(config.admin.iter().filter_map(|admin| file(admin.token.as_ref()?)));
    if let Some(redis) = &config.cache.redis {
        let theirs = match &redis.topology {
            Topology::Sentinel { login, .. } => Some(login),
            Topology::Standalone { .. } | Topology::Cluster(_) => None,
        };
        let of_logins = std::iter::once(&redis.login).chain(theirs).flat_map(of_login);
        found.extend(redis.encryption_keys.iter().filter_map(file).chain(of_logins));
    }
    found
}

fn of_login(login: &Login) -> impl Iterator<Item = &Path> {
    let key = login.client_certificate.iter().map(|(_, key)| &**key);
    login.password.iter().filter_map(file).chain(key)
}

fn file(source: &SecretSource) -> Option<&Path> {
    match source {
        SecretSource::File(path) => Some(path),
        SecretSource::Here(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::doctor::check::Finding;

    #[test]
    fn what_others_may_read_is_a_warning() {
        for (mode, finding) in [
            (0o100_600, Finding::Well),
            (0o100_640, Finding::Well),
            (0o100_400, Finding::Well),
            (0o100_644, Finding::Doubtful),
            (0o100_660, Finding::Doubtful),
            (0o100_777, Finding::Doubtful),
        ] {
            assert_eq!(verdict(mode).finding, finding, "{mode:o}");
        }
    }
}
