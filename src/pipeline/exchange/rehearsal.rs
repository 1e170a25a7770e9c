//! One exchange by hand: made as for a request, but whatever is remembered, and told in full.

use std::sync::Arc;

use crate::config;
use crate::domain::caller::Caller;
use crate::domain::token::DownstreamToken;
use crate::pipeline::exchange::Exchanger;
use crate::pipeline::exchange::endpoint::Answer;
use crate::pipeline::exchange::errand::Errand;
use crate::pipeline::exchange::errand::Wanted;
use crate::pipeline::exchange::error::Error;
use crate::pipeline::exchange::lifetime::Lifetime;
use crate::pipeline::exchange::lifetime::lifetime;
use crate::pipeline::exchange::witness::Witness;

pub use crate::pipeline::exchange::witness::Said;

/// An exchange that was made by hand.
#[derive(Debug)]
pub struct Rehearsal {
    /// What came of it.
    pub result: Result<Granted, Error>,
    /// What the IdP said, answer by answer.
    pub heard: Vec<Said>,
}

/// A token B that was got by hand.
#[derive(Debug)]
pub struct Granted {
    /// The token.
    pub token: DownstreamToken,
    /// How long a proxy would keep it; `None` = it would be used once.
    pub lifetime: Option<Lifetime>,
    /// The request's id in the IdP's logs.
    pub correlation_id: Arc<str>,
}

impl Exchanger {
    /// Exchanges the token of `caller` now. The cache is neither asked nor told.
    pub async fn rehearse(&self, caller: &Caller, exchange: &Arc<config::Exchange>) -> Rehearsal {
        let witness = Arc::new(Witness::default());
        let result = self.tried(caller, exchange, &witness).await;
        Rehearsal { result, heard: witness.heard() }
    }

    async fn tried(
        &self,
        caller: &Caller,
        exchange: &Arc<config::Exchange>,
        witness: &Arc<Witness>,
    ) -> Result<Granted, Error> {
        let key = self.shared.key(caller, exchange)?;
        let wanted = Wanted { key, errand: Errand::Caller(caller, exchange), instead: None, asker: None };
        let journey = self.shared.journey(wanted)?.witnessed(witness.clone());
        let answer = self.shared.ask(&journey).await.map_err(|error| journey.seen(error))?;
        let Answer { success, asked_at, correlation_id } = answer;
        let lifetime = lifetime(success.stated, asked_at.wall, self.shared.cache.expiry_margin);
        Ok(Granted { token: success.token, lifetime, correlation_id })
    }
}
