//! What a configuration has in common with the one before it, and which files it leaves to others to read.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use crate::config::Access;
use crate::config::Config;
use crate::config::Exchange;
use crate::config::Route;
use crate::config::UpstreamTls;
use crate::config::ValidatedToken;

impl Config {
    /// The same, sharing with `older` what both say: whatever was made of that, or derived from it, goes on to hold.
    pub fn sharing(mut self, older: &Self) -> Self {
        for provider in &mut self.identity_providers {
            share(provider, &older.identity_providers);
        }
        if let (Some(redis), Some(known)) = (&mut self.cache.redis, &older.cache.redis) {
            share(redis, std::slice::from_ref(known));
        }
        let known: Vec<Arc<Exchange>> =
            older.routes.iter().filter_map(|route| exchange(route)).cloned().collect();
        for route in &mut self.routes {
            // nobody else has the new routes yet
            let access = Arc::get_mut(route).map(|route| &mut route.access);
            if let Some(Access::Validated { token: ValidatedToken::Exchange(exchange), .. }) = access {
                share(exchange, &known);
            }
        }
        self
    }

    /// The files that are read when something is made of the configuration, and not again: those of upstreams.
    pub fn files_read_once(&self) -> BTreeSet<&Path> {
        self.routes.iter().flat_map(|route| route.upstream.tls.files()).collect()
    }
}

impl UpstreamTls {
    /// The files it names.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let pair = self.client_certificate.iter().flat_map(|(certificate, key)| [certificate, key]);
        self.ca.iter().chain(pair).map(|path| path.as_path())
    }
}

fn share<T: PartialEq>(own: &mut Arc<T>, known: &[Arc<T>]) {
    if let Some(same) = known.iter().find(|known| **known == *own) {
        *own = Arc::clone(same);
    }
}

fn exchange(route: &Route) -> Option<&Arc<Exchange>> {
    match &route.access {
        Access::Validated { token: ValidatedToken::Exchange(exchange), .. } => Some(exchange),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::config::load_text;

    use super::*;

    const TEXT: &str = "
identity_providers:
  contoso:
    entra: { tenant: 8eaef023-2b34-4da1-9baa-8bc8c9d6a490 }
    client_id: 6731de76-14a6-49ae-97bc-6eba6914391e
    credential: { secret: { value: hunter2 } }
upstreams:
  sales: { url: https://sales.example, tls: { ca: /ca.pem, client_certificate: { file: /a.crt, key: /a.key } } }
routes:
  orders: { match: /, upstream: sales, exchange: { scopes: [a] } }
  reports: { match: /reports, upstream: http://127.0.0.1:8000, exchange: { scopes: [b] } }
";

    fn config(text: &str) -> Config {
        load_text("config.yaml", text, &[]).unwrap_or_else(|report| panic!("{report}")).config
    }

    fn exchange_of<'a>(config: &'a Config, name: &str) -> &'a Arc<Exchange> {
        let route = config.routes.iter().find(|route| route.name.as_str() == name);
        route.and_then(|route| exchange(route)).unwrap()
    }

    #[test]
    fn what_both_say_is_shared_and_nothing_else() {
        let older = config(TEXT);
        let same = config(TEXT).sharing(&older);
        assert!(Arc::ptr_eq(&same.identity_providers[0], &older.identity_providers[0]));
        let newer = config(&TEXT.replace("[b]", "[c]").replace("hunter2", "hunter3")).sharing(&older);
        assert!(!Arc::ptr_eq(&newer.identity_providers[0], &older.identity_providers[0]));
        assert!(Arc::ptr_eq(exchange_of(&newer, "orders"), exchange_of(&older, "orders")));
        assert!(!Arc::ptr_eq(exchange_of(&newer, "reports"), exchange_of(&older, "reports")));
        assert_eq!(exchange_of(&newer, "reports").scopes, ["c"]);
    }

    #[test]
    fn the_files_of_upstreams_are_read_once() {
        let config = config(TEXT);
        let files: Vec<&str> = config.files_read_once().into_iter().filter_map(Path::to_str).collect();
        assert_eq!(files, ["/a.crt", "/a.key", "/ca.pem"]);
    }
}
