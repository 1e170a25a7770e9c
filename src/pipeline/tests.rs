//! What one stage writes and another reads.

use http::header::WWW_AUTHENTICATE;
use proptest::prelude::*;

use super::*;
use crate::pipeline::exchange::demand;
use crate::pipeline::respond::challenge::Demand;
use crate::pipeline::respond::challenge::Realm;
use crate::pipeline::respond::challenge::challenge;

/// What the proxy behind another one reads in its challenge.
fn read(demand: Demand<'_>) -> demand::Demand {
    let realm = Realm {
        realm: "r".into(),
        authorization_uri: "https://login.example/a".into(),
        client_id: "c".into(),
        resource_metadata: None,
    };
    demand::Demand::of(&HeaderMap::from_iter([(WWW_AUTHENTICATE, challenge(demand, &realm).unwrap())]))
}

#[test]
fn what_we_demand_can_be_read_as_an_upstream_s_demand() {
    let (acr_values, max_age) = (Some("gold silver"), Some(300));
    let step_up = read(Demand::StepUp { acr_values, max_age }).step_up.unwrap();
    assert_eq!((step_up.acr_values.as_deref(), step_up.max_age), (acr_values, max_age));
    for demand in [Demand::Interaction, Demand::Token, Demand::ValidToken] {
        assert_eq!(read(demand), demand::Demand::default());
    }
}

proptest! {
    #[test]
    fn claims_survive_a_chain_of_challenges(
        members in proptest::collection::btree_map(".{0,9}", ".{0,20}", 0..5),
    ) {
        let claims = serde_json::to_string(&members).unwrap();
        let read = read(Demand::Claims(&claims)).claims.unwrap();
        prop_assert_eq!(read.text(), claims);
    }
}
