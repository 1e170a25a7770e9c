//! Our credentials: whether they can be read, how long they last, and whether the identity provider takes them.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::app::doctor::certificate;
use crate::app::doctor::certificate::Summary;
use crate::app::doctor::check::Check;
use crate::app::doctor::check::Finding;
use crate::app::doctor::check::Round;
use crate::app::doctor::check::Verdict;
use crate::app::doctor::provider::LIMIT;
use crate::app::doctor::provider::visible;
use crate::app::doctor::remedies;
use crate::config::Access;
use crate::config::Actor;
use crate::config::AppTokens;
use crate::config::Config;
use crate::config::Credential;
use crate::config::Exchange;
use crate::config::IdentityProvider;
use crate::config::Introspection;
use crate::config::ValidatedToken;
use crate::domain::clock::UnixTime;
use crate::domain::secret::Secret;
use crate::domain::tenant::TenantId;
use crate::net::clients::Clients;
use crate::net::metadata::Metadata;
use crate::pipeline::exchange::credential;
use crate::pipeline::exchange::credential::error::What;
use crate::pipeline::exchange::credential::file::Reader;
use crate::pipeline::exchange::trial;
use crate::pipeline::exchange::trial::Aim;
use crate::pipeline::exchange::trial::Trial;
use crate::telemetry::logs;

/// How long reading may take.
const READING: Duration = Duration::from_secs(2);

/// What was seen of our own papers.
pub struct Papers {
    /// The looks.
    pub checks: Vec<Check>,
    /// For each of them whether it can be shown.
    usable: Vec<bool>,
}

/// Looks at the credentials for `provider` without showing them to it.
pub async fn read(round: &Round, provider: &Arc<IdentityProvider>, clients: &Clients) -> Papers {
    let trial = Trial::new(provider, None, clients, &round.clock);
    let mut papers = Papers { checks: Vec::new(), usable: Vec::new() };
    for at in 0..trial.means() {
        let Some(credential) = provider.credentials.get(at) else {
            papers.usable.push(true); // there is nothing to prove
            continue;
        };
        let name = format!("{}{}", number(at, trial.means()), kind(credential));
        let check = round
            .check(name, LIMIT, async {
                match trial.prove(at).await {
                    Ok(()) => described(credential, round.clock.now()).await,
                    Err(error) => unusable(&error),
                }
            })
            .await;
        papers.usable.push(check.finding != Finding::Wrong && check.finding != Finding::Unreachable);
        papers.checks.push(check);
    }
    papers
}

/// Shows those that can be shown to the token endpoint, at Entra to that of each of `tenants`.
pub async fn show(
    round: &Round,
    config: &Config,
    provider: &Arc<IdentityProvider>,
    papers: Papers,
    metadata: Option<Metadata>,
    clients: &Clients,
    tenants: &[Option<TenantId>],
) -> Vec<Check> {
    let exchanges = exchanges(config, provider);
    if exchanges.is_empty() && provider.introspection == Introspection::Off {
        return Vec::new();
    }
    let trial = Trial::new(provider, metadata, clients, &round.clock);
    let mut checks = Vec::new();
    for tenant in tenants {
        let place = match tenant {
            Some(tenant) if tenants.len() > 1 => format!(" of {tenant}"),
            _ => String::new(),
        };
        let (mut shown, mut taken) = (Vec::new(), None);
        for (at, _) in papers.usable.iter().enumerate().filter(|(_, usable)| **usable) {
            let name = format!("{}token endpoint{place}", number(at, papers.usable.len()));
            let aim = Aim::Recognition(exchanges.first().map(|(_, exchange)| exchange.as_ref()));
            let check = asked(round, &trial, name, at, tenant.as_ref(), aim).await;
            taken = taken.or_else(|| (check.finding == Finding::Well).then_some(at));
            shown.push(check);
        }
        if taken.is_some() {
            shown.iter_mut().for_each(soften);
        }
        checks.append(&mut shown);
        let Some(at) = taken else { continue };
        for (route, exchange) in &exchanges {
            if exchange.app_tokens == AppTokens::ClientCredentials {
                let name = format!("own token for {route}{place}");
                checks.push(asked(round, &trial, name, at, tenant.as_ref(), Aim::OwnToken(exchange)).await);
            }
        }
        if exchanges.iter().any(|(_, exchange)| exchange.actor == Actor::Ourselves) {
            let name = format!("actor token{place}");
            checks.push(asked(round, &trial, name, at, tenant.as_ref(), Aim::ActorToken).await);
        }
    }
    checks
}

/// What the routes want of `provider`, each once, with the name of the first that does.
fn exchanges<'a>(config: &'a Config, provider: &IdentityProvider) -> Vec<(&'a str, &'a Arc<Exchange>)> {
    let mut found: Vec<(&str, &Arc<Exchange>)> = Vec::new();
    for route in &config.routes {
        let Access::Validated { policy, token: ValidatedToken::Exchange(exchange) } = &route.access else {
            continue;
        };
        let is_new = !found.iter().any(|(_, known)| *known == exchange);
        if is_new && policy.identity_providers.contains(&provider.name) {
            found.push((route.name.as_str(), exchange));
        }
    }
    found
}

async fn asked(
    round: &Round,
    trial: &Trial,
    name: String,
    at: usize,
    tenant: Option<&TenantId>,
    aim: Aim<'_>,
) -> Check {
    let asking = async {
        match trial.url(tenant, aim).await {
            Ok(url) => judged(&trial.verdict(at, &url, tenant, aim).await),
            Err(error) => Verdict::wrong(logs::report(&error), "set `oidc.token_endpoint` by hand"),
        }
    };
    round.check(name, LIMIT, asking).await
}

fn judged(verdict: &trial::Verdict) -> Verdict {
    match verdict {
        trial::Verdict::Granted => Verdict::well("it gave a token"),
        trial::Verdict::Recognised(_) => Verdict::well("it knows us"),
        trial::Verdict::Unbelieved(answer) => Verdict::wrong(
            remedies::said(answer),
            remedies::cure(
                answer,
                "compare `client_id`, `auth_method` and the credential with the registration of the client",
            ),
        ),
        trial::Verdict::Unregistered(answer) => Verdict::wrong(
            remedies::said(answer),
            remedies::cure(
                answer,
                "enable the grant for this client at the identity provider, or set `grant` to the one it has",
            ),
        ),
        trial::Verdict::Denied(answer) => Verdict::wrong(
            remedies::said(answer),
            remedies::cure(
                answer,
                "compare scopes, resources and audiences of the route with what the client may have",
            ),
        ),
        trial::Verdict::Unavailable(error) => Verdict::unreachable(
            logs::report(error),
            "look at the identity provider's status page, or ask whoever runs it",
        ),
        trial::Verdict::Senseless(error) => Verdict::wrong(
            logs::report(error),
            "something else answers in the token endpoint's place: compare its URL, look for a proxy between",
        ),
        trial::Verdict::Unusable(error) => {
            Verdict::wrong(logs::report(error), "look at the credential's file")
        }
    }
}

/// Two credentials are configured while one replaces the other: that one of them is refused stops nobody.
fn soften(check: &mut Check) {
    if check.finding == Finding::Wrong {
        check.finding = Finding::Doubtful;
    }
}

fn number(at: usize, of: usize) -> String {
    if of > 1 { format!("credential {}: ", at + 1) } else { String::new() }
}

fn kind(credential: &Credential) -> &'static str {
    match credential {
        Credential::Secret(_) | Credential::SecretFile(_) => "client secret",
        Credential::Certificate(_) => "certificate",
        Credential::FederatedToken(_) => "federated token",
        Credential::ManagedIdentity(_) => "managed identity",
    }
}

/// What there is to say of a credential that can be used.
async fn described(credential: &Credential, now: UnixTime) -> Verdict {
    let files = Reader::default();
    match credential {
        Credential::Secret(secret) => secret_verdict(secret),
        Credential::SecretFile(path) => match files.line(What::Secret, path, READING).await {
            Ok(secret) => secret_verdict(&secret),
            Err(error) => unusable(&error),
        },
        Credential::Certificate(settings) => {
            match files.bytes(What::Certificate, &settings.file, READING).await {
                Ok(pem) => Summary::of_pem(&pem).map_or_else(
                    || Verdict::well("it can be used"),
                    |summary| certificate_verdict(&summary, now),
                ),
                Err(error) => unusable(&error),
            }
        }
        Credential::FederatedToken(path) => match files.line(What::FederatedToken, path, READING).await {
            Ok(token) => Verdict::well(federated(token.expose(), now)),
            Err(error) => unusable(&error),
        },
        Credential::ManagedIdentity(_) => Verdict::well("its endpoint gave a token"),
    }
}

fn secret_verdict(secret: &Secret) -> Verdict {
    match TenantId::parse(secret.expose()) {
        Some(_) => Verdict::doubtful(
            "it has the form of an id",
            "use the secret's Value, not its Secret ID: the portal shows both",
        ),
        None => Verdict::well("there"),
    }
}

fn certificate_verdict(summary: &Summary, now: UnixTime) -> Verdict {
    let Summary { not_before, not_after, x5t, thumbprint } = summary;
    let names = format!("thumbprint {thumbprint}, x5t#S256 {x5t}");
    let days = certificate::days_until(*not_after, now);
    let remedy = "make a new certificate, upload it to the application, and replace both files";
    if *not_after <= now {
        let ago = certificate::in_days(certificate::days_until(now, *not_after));
        return Verdict::wrong(format!("it ended {ago} ago; {names}"), remedy);
    }
    if *not_before > now {
        return Verdict::wrong(
            format!("it is not valid yet; {names}"),
            "set this machine's clock (NTP), or use the certificate before it",
        );
    }
    let seen = format!("the key is its own; it ends in {}; {names}", certificate::in_days(days));
    if days < certificate::SOON { Verdict::doubtful(seen, remedy) } else { Verdict::well(seen) }
}

/// Issuer, subject and audience are what the application's federated credential must say too, and no secret.
fn federated(token: &str, now: UnixTime) -> String {
    let payload = token.split('.').nth(1).and_then(|payload| BASE64_URL_SAFE_NO_PAD.decode(payload).ok());
    let claims: Value = payload.and_then(|payload| serde_json::from_slice(&payload).ok()).unwrap_or_default();
    let audience = claims.get("aud").map(|audience| match audience {
        Value::Array(all) => all.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","),
        other => other.as_str().unwrap_or_default().to_owned(),
    });
    let text = |name: &str| visible(claims.get(name).and_then(Value::as_str).unwrap_or("none"));
    let end = claims.get("exp").and_then(Value::as_i64).map(UnixTime::from_seconds);
    let end = end.map_or_else(String::new, |end| format!(", ends in {} min", end.since(now).as_secs() / 60));
    format!(
        "iss {}, sub {}, aud {}{end}",
        text("iss"),
        text("sub"),
        visible(audience.as_deref().unwrap_or("none"))
    )
}

fn unusable(error: &credential::Error) -> Verdict {
    let seen = logs::report(error);
    match error {
        credential::Error::Unreadable { .. } => Verdict::wrong(
            seen,
            "is the secret mounted, is the path right, and may this user read it (`ls -l`, fsGroup in Kubernetes)?",
        ),
        credential::Error::TooSlow { .. } => Verdict::wrong(seen, "the file system hangs: look at its mount"),
        credential::Error::Unusable { what: What::FederatedToken, .. } => Verdict::wrong(
            seen,
            "the pod needs the label azure.workload.identity/use: \"true\" and its service account; then it is projected and kept fresh",
        ),
        credential::Error::Unusable { .. } => Verdict::wrong(seen, "write into the file what it should hold"),
        credential::Error::Mismatch { .. } | credential::Error::Tls { .. } => {
            Verdict::wrong(seen, "replace certificate and key together, with a pair that was made together")
        }
        credential::Error::ManagedIdentity(_) => Verdict::unreachable(
            seen,
            "assign the identity to this machine, app or node pool, and compare its client_id; NetworkPolicies must let 169.254.169.254 through",
        ),
        credential::Error::Unsendable | credential::Error::Unsigned => {
            Verdict::wrong(seen, "look at the characters of `client_id` and of the secret")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_federated_token_must_match_is_shown_and_nothing_else_of_it() {
        let claims = r#"{"iss":"https://oidc.example/","sub":"system:serviceaccount:a:b","aud":["api://AzureADTokenExchange"],"exp":1600,"private":"x"}"#;
        let token = format!("e30.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(claims));
        assert_eq!(
            federated(&token, UnixTime::from_seconds(1000)),
            "iss https://oidc.example/, sub system:serviceaccount:a:b, aud api://AzureADTokenExchange, ends in 10 min"
        );
    }

    #[test]
    fn an_id_in_the_place_of_a_secret_is_noticed() {
        let finding = |text: &str| secret_verdict(&Secret::new(text.into())).finding;
        assert_eq!(finding("8eaef023-2b34-4da1-9baa-8bc8c9d6a490"), Finding::Doubtful);
        assert_eq!(finding("dEm0~8Q+not/a.secret_Wk3z+Yb7=="), Finding::Well);
    }

    #[test]
    fn a_certificate_is_judged_by_its_days() {
        let day = |day: i64| UnixTime::from_seconds(day * 86_400);
        let summary =
            Summary { not_before: day(10), not_after: day(100), x5t: "x".into(), thumbprint: "T".into() };
        for (today, finding) in [
            (9, Finding::Wrong),
            (10, Finding::Well),
            (86, Finding::Well),
            (87, Finding::Doubtful),
            (99, Finding::Doubtful),
            (100, Finding::Wrong),
        ] {
            assert_eq!(certificate_verdict(&summary, day(today)).finding, finding, "{today}");
        }
    }
}
