//! Why there is no token B.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::pipeline::exchange::aadsts;
use crate::pipeline::exchange::demand::Claims;
use crate::pipeline::exchange::row::Kind;
use crate::pipeline::exchange::row::Row;
use crate::pipeline::exchange::weather::Reply;

/// Why there is no token B. Cheap to clone: every waiter of a flight gets it.
#[derive(Clone, Debug, thiserror::Error)]
pub struct Error {
    /// What it means for the caller.
    pub kind: Kind,
    /// What the IdP said, if it answered with an OAuth error.
    pub answer: Option<Arc<OAuthError>>,
    /// The request's id in the IdP's logs, if one was sent.
    pub correlation_id: Option<Arc<str>>,
    /// How long was waited for it; `None` if it was known.
    pub waited: Option<Duration>,
    /// The row of the classifier; `None` if the fault is our own.
    pub(super) row: Option<Row>,
    /// What came back from the IdP.
    pub(super) reply: Reply,
    #[source]
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

/// What it means. Where the IdP refuses us, it takes us to mend that: what Entra's number says, and what to do.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kind == Kind::Misconfigured && self.row.is_none() {
            // it was never asked
            return f.write_str("the proxy cannot make its own request to the identity provider");
        }
        write!(f, "{}", self.kind)?;
        let Some(answer) = self.answer.as_deref().filter(|_| self.kind == Kind::Misconfigured) else {
            return Ok(());
        };
        match aadsts::first_meaning(&answer.error_codes) {
            Some(meaning) => write!(f, ": {}; {}", meaning.says, meaning.cure),
            None if answer.error.is_empty() => Ok(()),
            None => write!(f, ": it says {}", answer.error),
        }
    }
}

impl Error {
    /// The error of a row.
    pub(super) fn of(row: Row, answer: Option<OAuthError>) -> Self {
        Self {
            kind: row.kind(),
            answer: answer.map(Arc::new),
            correlation_id: None,
            waited: None,
            row: Some(row),
            reply: Reply::Nothing,
            source: None,
        }
    }

    /// A fault of our own.
    pub fn ours(kind: Kind) -> Self {
        Self {
            kind,
            answer: None,
            correlation_id: None,
            waited: None,
            row: None,
            reply: Reply::Nothing,
            source: None,
        }
    }

    /// What an upstream demands of the user, as an error of ours.
    pub(super) fn of_upstream(kind: Kind, answer: OAuthError) -> Self {
        Self { answer: Some(Arc::new(answer)), ..Self::ours(kind) }
    }

    /// The same, with `claims` for the user to satisfy if the IdP demands an interaction and says no more.
    pub(super) fn demanding(mut self, claims: &Claims) -> Self {
        let answer = self.answer.get_or_insert_default();
        if answer.claims.is_none() {
            Arc::make_mut(answer).claims = Some(claims.text().to_owned());
        }
        self
    }

    /// Whether a sign-in of the user may mend it.
    pub(super) fn is_interaction(&self) -> bool {
        matches!(
            self.kind,
            Kind::ClaimsChallenge
                | Kind::InteractionRequired
                | Kind::ConsentRequired
                | Kind::UpstreamChallenge
        )
    }

    /// The same, caused by `source`.
    pub(super) fn caused_by(self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self { source: Some(Arc::new(source)), ..self }
    }

    /// The same, where what the IdP refused was asked for in our own name: nothing of it is the caller's to mend.
    pub(super) fn of_ourselves(self) -> Self {
        let row = self.row.map(|row| if row == Row::BadClient { row } else { Row::Refused });
        Self { kind: Kind::Misconfigured, row, ..self }
    }

    /// The same, upon that reply of the IdP.
    pub(super) fn upon(self, reply: Reply) -> Self {
        Self { reply, ..self }
    }

    /// The same, as the end of the request with that id.
    pub(super) fn correlated(self, correlation_id: Arc<str>) -> Self {
        Self { correlation_id: Some(correlation_id), ..self }
    }

    /// The same, told after so long.
    pub(super) fn after(self, waited: Option<Duration>) -> Self {
        Self { waited, ..self }
    }

    /// Whether our credential is at fault, so that another one may fare better.
    pub(super) fn blames_credential(&self) -> bool {
        match self.row {
            Some(row) => row == Row::BadClient,
            None => self.kind == Kind::Misconfigured,
        }
    }
}

/// An OAuth error (RFC 6749 section 5.2) with Entra's members, each checked: words are short visible ASCII.
/// The description is not kept: it is text for people, and not ours.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct OAuthError {
    /// `error`.
    pub error: String,
    /// `suberror`.
    pub suberror: Option<String>,
    /// `claims`: the JSON object as text, byte for byte as the IdP wrote it.
    pub claims: Option<String>,
    /// `error_codes`: AADSTS numbers.
    pub error_codes: Vec<u64>,
    /// `trace_id`.
    pub trace_id: Option<String>,
    /// `correlation_id`.
    pub correlation_id: Option<String>,
    /// `acr_values` (RFC 9470): how the user must sign in.
    pub acr_values: Option<String>,
    /// `max_age` (RFC 9470): how many seconds ago at most.
    pub max_age: Option<u64>,
}

/// Leaves the claims out: they tell of the organisation's policies.
impl fmt::Debug for OAuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OAuthError")
            .field("error", &self.error)
            .field("suberror", &self.suberror)
            .field("error_codes", &self.error_codes)
            .field("trace_id", &self.trace_id)
            .field("correlation_id", &self.correlation_id)
            .finish_non_exhaustive()
    }
}

impl OAuthError {
    /// Bytes of text it holds.
    pub(super) fn size(&self) -> usize {
        let optional = [&self.suberror, &self.claims, &self.trace_id, &self.correlation_id, &self.acr_values];
        self.error.len() + optional.into_iter().flatten().map(String::len).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_we_are_refused_it_is_told_why_and_what_to_do() {
        let refused = |row, error_codes: &[u64]| {
            let (error, error_codes) = ("invalid_client".to_owned(), error_codes.to_vec());
            Error::of(row, Some(OAuthError { error, error_codes, ..OAuthError::default() })).to_string()
        };
        let said = refused(Row::BadClient, &[7_000_222]);
        assert!(said.contains(": the client secret has expired; make a new one under"), "{said}");
        assert!(refused(Row::BadClient, &[1]).ends_with("request: it says invalid_client"));
        // whom the user's own matters are not ours to mend
        assert_eq!(refused(Row::Denied, &[7_000_222]), Row::Denied.kind().to_string());
    }
}
