//! Whether a token is good, and if not, what is wrong with it: for who holds one.

use serde::Serialize;
use serde_json::Value;

use crate::app::explain::Outcome;
use crate::app::explain::demands;
use crate::app::explain::demands::Demand;
use crate::app::explain::demands::Mark;
use crate::app::explain::text;
use crate::app::explain::token;
use crate::app::explain::token::Caller;
use crate::config::Config;
use crate::config::IdentityProvider;
use crate::config::Policy;
use crate::domain::clock::UnixTime;
use crate::domain::paint::Paint;
use crate::domain::peer::ClientCertificate;
use crate::domain::token::UserToken;
use crate::pipeline::authenticate;
use crate::pipeline::authenticate::appraisal;
use crate::pipeline::respond::refusal::Refusal;

/// What was found of a token by whoever has the issuer's keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Whether it lets its caller in.
    pub valid: bool,
    /// The status that its caller would get.
    pub status: Option<u16>,
    /// The reason.
    pub reason: Option<String>,
    /// What to do about it.
    pub detail: Option<String>,
    /// What was found.
    pub cause: Option<String>,
    /// What it says of its caller.
    pub caller: Caller,
    /// What was demanded of it.
    pub demands: Vec<Demand>,
}

impl Verdict {
    /// The verdict that `result` is about a token.
    pub fn of(
        config: &Config,
        policy: &Policy,
        token: &UserToken,
        certificate: Option<&ClientCertificate>,
        result: &Result<(), authenticate::Error>,
        now: UnixTime,
    ) -> Self {
        let certificate = certificate.map(|certificate| &certificate.digest);
        let mut found =
            appraisal::appraise(token.expose(), policy, &config.identity_providers, certificate, now);
        token::settle(&mut found, result);
        let providers = token::candidates(config, policy);
        let known: Vec<&IdentityProvider> = providers.iter().map(AsRef::as_ref).collect();
        let refused = result.clone().err().map(|error| Outcome::from(Refusal::from(error)));
        let (status, reason, detail, cause) = match refused {
            Some(Outcome::Refused { status, reason, detail, cause }) => {
                (Some(status), Some(reason), Some(detail), Some(cause))
            }
            _ => (None, None, None, None),
        };
        Self {
            valid: result.is_ok(),
            status,
            reason,
            detail,
            cause,
            caller: token::caller(&found),
            demands: demands::of_token(policy, &known, &found, now),
        }
    }

    /// For a machine.
    pub fn to_json(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    /// For a person who asked about `asked`.
    pub fn to_text(&self, asked: &str, paint: Paint) -> String {
        let mut out = match (&self.status, &self.reason) {
            (Some(status), Some(reason)) => {
                let is_known = *status < 500;
                let word = if is_known { "not good" } else { "nobody can tell" };
                let verdict = paint.bad(&format!("{word}: {status} {reason}"));
                let detail = self.detail.as_deref().unwrap_or_default();
                let cause = self.cause.as_deref().unwrap_or_default();
                format!("{verdict} ({asked})\n{detail}\n({cause})\n")
            }
            _ => format!("{} ({asked})\n", paint.good("good")),
        };
        for demand in &self.demands {
            // what follows a fault was not looked at by anyone who counts, but is worth knowing
            out.push_str(&format!("  {}\n", text::demand(demand, paint)));
        }
        let unmet = self.demands.iter().filter(|demand| demand.mark == Mark::Unmet).count();
        if unmet > 1 {
            out.push_str(&format!("{unmet} demands are not met; the first one is answered.\n"));
        }
        out
    }
}
