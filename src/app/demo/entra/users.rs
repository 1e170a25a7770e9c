//! The people of the emulated tenant, each with one thing that happens to them.

/// A user.
#[derive(Debug)]
pub struct User {
    /// What `/demo/token?user=` calls them, and the front of their user principal name.
    pub name: &'static str,
    /// Their display name.
    pub display_name: &'static str,
    /// Their object id.
    pub oid: &'static str,
    /// Their one session: tokens of a user differ in volatile claims only.
    pub sid: &'static str,
    /// What their exchanges come to.
    pub fate: Fate,
}

/// What a user's exchanges come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// A token B.
    Works,
    /// AADSTS50076 with claims, until they have signed in with a second factor.
    NeedsMfa,
    /// The AADSTS50079 answer of 2017: `interaction_required` with claims.
    NeedsEnrolment,
    /// AADSTS65001: nobody consented.
    NotConsented,
    /// AADSTS53002: denied for good.
    Blocked,
    /// A token B, after half a minute.
    Slow,
    /// 503.
    Down,
    /// 429.
    Throttled,
}

/// Everyone.
pub const USERS: [User; 9] = [
    User {
        name: "alice",
        display_name: "Alice Adams",
        oid: "a11ce000-5b1e-4c55-8d0a-0a4c3f1e7b01",
        sid: "00a11ce0-91d3-4a7e-b1f5-6c2e8f4d0a01",
        fate: Fate::Works,
    },
    User {
        name: "bob",
        display_name: "Bob Brown",
        oid: "b0b00000-5b1e-4c55-8d0a-0a4c3f1e7b02",
        sid: "000b0b00-91d3-4a7e-b1f5-6c2e8f4d0a02",
        fate: Fate::Works,
    },
    User {
        name: "mfa",
        display_name: "Mia Factor",
        oid: "0fa00000-5b1e-4c55-8d0a-0a4c3f1e7b03",
        sid: "000fa000-91d3-4a7e-b1f5-6c2e8f4d0a03",
        fate: Fate::NeedsMfa,
    },
    User {
        name: "legacy",
        display_name: "Leo Gacy",
        oid: "1e6ac000-5b1e-4c55-8d0a-0a4c3f1e7b04",
        sid: "001e6ac0-91d3-4a7e-b1f5-6c2e8f4d0a04",
        fate: Fate::NeedsEnrolment,
    },
    User {
        name: "noconsent",
        display_name: "Nora Consent",
        oid: "c0405e47-5b1e-4c55-8d0a-0a4c3f1e7b05",
        sid: "00c0405e-91d3-4a7e-b1f5-6c2e8f4d0a05",
        fate: Fate::NotConsented,
    },
    User {
        name: "blocked",
        display_name: "Bill Blocked",
        oid: "b10cced0-5b1e-4c55-8d0a-0a4c3f1e7b06",
        sid: "00b10cce-91d3-4a7e-b1f5-6c2e8f4d0a06",
        fate: Fate::Blocked,
    },
    User {
        name: "slow",
        display_name: "Sloan Slow",
        oid: "51000000-5b1e-4c55-8d0a-0a4c3f1e7b07",
        sid: "00510000-91d3-4a7e-b1f5-6c2e8f4d0a07",
        fate: Fate::Slow,
    },
    User {
        name: "down",
        display_name: "Dawn Down",
        oid: "d0000000-5b1e-4c55-8d0a-0a4c3f1e7b08",
        sid: "00d00000-91d3-4a7e-b1f5-6c2e8f4d0a08",
        fate: Fate::Down,
    },
    User {
        name: "throttled",
        display_name: "Theo Throttled",
        oid: "7407713d-5b1e-4c55-8d0a-0a4c3f1e7b09",
        sid: "00740771-91d3-4a7e-b1f5-6c2e8f4d0a09",
        fate: Fate::Throttled,
    },
];

impl User {
    /// The user of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        USERS.iter().find(|user| user.name == name)
    }

    /// The user of that object id.
    pub fn by_oid(oid: &str) -> Option<&'static Self> {
        USERS.iter().find(|user| user.oid == oid)
    }
}
