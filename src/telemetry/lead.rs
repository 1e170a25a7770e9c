//! The request because of which something is done that may outlive it.

use http::HeaderValue;

use crate::telemetry::access_log::UserHash;
use crate::telemetry::trace::recording::Point;

/// The request at hand, for whoever may begin something because of it.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// Its id.
    pub request_id: &'a HeaderValue,
    /// What users are called.
    pub user_hash: &'a UserHash,
    /// Where in its trace that would be, if it is recorded.
    pub point: Option<&'a Point>,
}

/// The request that led to something, for whoever goes on without it.
#[derive(Clone, Debug)]
pub struct Lead {
    /// Its id.
    pub request_id: HeaderValue,
    /// What users are called.
    pub user_hash: UserHash,
    /// Where in its trace this is, if it is recorded.
    pub point: Option<Point>,
}

impl From<Asker<'_>> for Lead {
    fn from(asker: Asker<'_>) -> Self {
        Self {
            request_id: asker.request_id.clone(),
            user_hash: asker.user_hash.clone(),
            point: asker.point.cloned(),
        }
    }
}

impl Lead {
    /// Who asks for whatever else this takes.
    pub fn asker(&self) -> Asker<'_> {
        Asker { request_id: &self.request_id, user_hash: &self.user_hash, point: self.point.as_ref() }
    }
}
