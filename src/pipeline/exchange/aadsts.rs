//! What Entra's numbers mean, in plain words, and what to do about each. For people: decisions are the classifier's.
//! <https://learn.microsoft.com/entra/identity-platform/reference-error-codes>

/// What a number is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// How we prove who we are.
    Credential,
    /// The tenant, the application, or the cloud they are in.
    Registration,
    /// The API that a token is wanted for.
    Target,
    /// Token A.
    UserToken,
    /// What the user, or an administrator for them, has to do.
    User,
    /// The user is denied.
    Denied,
    /// It passes.
    Transient,
}

/// One number, or several that mean the same.
#[derive(Clone, Copy, Debug)]
pub struct Meaning {
    /// The numbers.
    pub codes: &'static [u64],
    /// What they are about.
    pub topic: Topic,
    /// What they say.
    pub says: &'static str,
    /// What to do.
    pub cure: &'static str,
}

/// What `code` means, if it is one of those that are known here.
pub fn meaning(code: u64) -> Option<&'static Meaning> {
    MEANINGS.iter().find(|meaning| meaning.codes.contains(&code))
}

/// What the first of `codes` means that is known here.
pub fn first_meaning(codes: &[u64]) -> Option<&'static Meaning> {
    codes.iter().find_map(|code| meaning(*code))
}

const fn means(codes: &'static [u64], topic: Topic, says: &'static str, cure: &'static str) -> Meaning {
    Meaning { codes, topic, says, cure }
}

/// All that are known here.
pub const MEANINGS: &[Meaning] = &[
    means(
        &[7_000_215],
        Topic::Credential,
        "the client secret is wrong",
        "use the secret's Value, not its Secret ID, of this very application; the portal shows it only once, so make a new one under Certificates & secrets",
    ),
    means(
        &[7_000_222],
        Topic::Credential,
        "the client secret has expired",
        "make a new one under Certificates & secrets of the application, and put it where the old one was",
    ),
    means(
        &[7_000_218],
        Topic::Credential,
        "no credential was sent, and this application needs one",
        "give the identity provider a `credential`",
    ),
    means(
        &[70_002, 50_012],
        Topic::Credential,
        "the credential is not valid",
        "compare it with what is under Certificates & secrets of the application",
    ),
    means(
        &[700_025],
        Topic::Credential,
        "the application is a public client, which has no credentials",
        "turn off Allow public client flows under Authentication of the application, or use another application",
    ),
    means(
        &[700_027],
        Topic::Credential,
        "the signature of the client assertion does not verify: the certificate is not registered, or is another one",
        "upload the certificate under Certificates & secrets of the application; its thumbprint must be the one shown here",
    ),
    means(
        &[700_024],
        Topic::Credential,
        "the client assertion is outside its times",
        "set this machine's clock (NTP)",
    ),
    means(
        &[50_048, 700_021],
        Topic::Credential,
        "the client assertion is not of this application",
        "compare `client_id` with the Application (client) ID in the portal",
    ),
    means(
        &[700_023],
        Topic::Credential,
        "the client assertion is addressed to somebody else",
        "take `assertion_audience` out of the certificate, or the audience api://AzureADTokenExchange for a federated token",
    ),
    means(
        &[7_000_214, 7_000_274, 7_000_277],
        Topic::Credential,
        "the certificate is revoked, or its signature is bad",
        "make a new certificate, upload it to the application, and replace both files",
    ),
    means(
        &[1_000_502],
        Topic::Credential,
        "the certificate is outside its validity",
        "make a new certificate, upload it to the application, and replace both files",
    ),
    means(
        &[700_030],
        Topic::Credential,
        "the certificate's subject or issuer is not one that the application trusts",
        "compare `trustedCertificateSubjects` of the application with the certificate, and set `send_x5c: true`",
    ),
    means(
        &[70_021, 700_211, 700_213, 7_002_137, 7_002_138],
        Topic::Credential,
        "no federated credential of the application matches issuer, subject and audience of the token",
        "compare the three with Federated credentials under Certificates & secrets, letter by letter; a new one takes some minutes",
    ),
    means(
        &[700_229],
        Topic::Credential,
        "only a token of an application can be a federated credential, not one of a user",
        "use the token of a managed identity or of the cluster",
    ),
    means(
        &[700_016, 700_011],
        Topic::Registration,
        "the application is not in this tenant",
        "compare `client_id` and `tenant` with the application's overview; if it is of another tenant, an administrator must consent to it in this one",
    ),
    means(
        &[70_001, 7_000_112],
        Topic::Registration,
        "the application is disabled",
        "enable it: Enterprise applications, Properties, Enabled for users to sign in",
    ),
    means(
        &[90_002, 90_019, 50_059],
        Topic::Registration,
        "there is no such tenant",
        "compare `tenant` with the tenant's overview, and `cloud` with the cloud it is in",
    ),
    means(
        &[50_194],
        Topic::Registration,
        "the application is of one tenant only, and was asked for at a shared endpoint",
        "set `tenant` to the tenant's id, or make the application multi-tenant",
    ),
    means(
        &[90_010, 9_001_023, 90_124, 90_130],
        Topic::Registration,
        "the request is not supported at a shared endpoint",
        "set `tenant` to the tenant's id",
    ),
    means(
        &[90_038, 900_382, 900_432, 900_439, 1_000_104, 90_051],
        Topic::Registration,
        "the tenant is in another national cloud",
        "set `cloud` to us_government or china, or back to public",
    ),
    means(
        &[100_007],
        Topic::Registration,
        "the application may not use a regional endpoint",
        "take the region out of `authority`",
    ),
    means(
        &[51_000],
        Topic::Registration,
        "the feature is not enabled for the tenant or the application",
        "use another kind of credential",
    ),
    means(
        &[501_051],
        Topic::Registration,
        "the application requires an assignment that it does not have itself",
        "nothing, if only users call: the credential was taken; else assign it a role, or turn off Assignment required",
    ),
    means(
        &[500_011, 50_001],
        Topic::Target,
        "the API that a token is wanted for is not in this tenant",
        "compare `scopes` or `resource` with the API's Application ID URI; an administrator must consent to an API of another tenant",
    ),
    means(
        &[650_057, 65_005, 650_056],
        Topic::Target,
        "the API is not among the application's permissions",
        "add it under API permissions of the application, and have an administrator consent",
    ),
    means(
        &[650_052, 650_054],
        Topic::Target,
        "the tenant has no such service any more",
        "subscribe to the service, or take its permission out of the application",
    ),
    means(
        &[65_002],
        Topic::Target,
        "the API is Microsoft's own, and admits only clients that it knows",
        "use an API that takes other clients, such as Microsoft Graph",
    ),
    means(
        &[70_011, 28_002],
        Topic::Target,
        "a scope is wrong",
        "write scopes as the API's Expose an API page shows them, or RESOURCE/.default alone",
    ),
    means(
        &[28_000, 28_003, 700_022],
        Topic::Target,
        "the scopes are of no API, or of several",
        "name one API in each exchange; give each its own route",
    ),
    means(
        &[1_002_012],
        Topic::Target,
        "for itself an application gets tokens for .default only",
        "write RESOURCE/.default in `scopes` of routes with `app_tokens: client_credentials`",
    ),
    means(
        &[901_002],
        Topic::Target,
        "version 2.0 takes no resource",
        "write `scopes: [RESOURCE/.default]` in place of `resource`",
    ),
    means(
        &[90_009],
        Topic::Target,
        "the application wants a token for itself, and names itself by its URI",
        "write its client id in place of the URI in `scopes`",
    ),
    means(
        &[50_013],
        Topic::UserToken,
        "the caller's token is not one that Entra exchanges: of another issuer, expired, or signed with a key of an application's own",
        "callers must send an access token for this application; take custom signing keys and claims mapping off it",
    ),
    means(
        &[500_131],
        Topic::UserToken,
        "the caller's token is for another application than the one that exchanges it",
        "`client_id` must be the application that the callers' tokens are for: compare it with their `aud`",
    ),
    means(
        &[500_133],
        Topic::UserToken,
        "the caller's token has expired",
        "nothing here: the client must get a new one; if it happens often, set this machine's clock (NTP)",
    ),
    means(
        &[50_027, 900_384],
        Topic::UserToken,
        "the caller's token is no valid JWT",
        "the client must send the access token as it got it",
    ),
    means(
        &[240_002],
        Topic::UserToken,
        "the caller's token is an id_token",
        "the client must send an access token for this application",
    ),
    means(
        &[90_016],
        Topic::UserToken,
        "the caller's token lacks a claim",
        "the client must send an access token for this application, not one that was made elsewhere",
    ),
    means(
        &[7_000_114, 90_083],
        Topic::UserToken,
        "the caller's token is of an application, and there is no user to act on behalf of",
        "set `app_tokens: client_credentials` on the route, or have the client sign a user in",
    ),
    means(
        &[65_001],
        Topic::User,
        "neither the user nor an administrator has consented to the API's permissions",
        "have an administrator consent (API permissions, Grant admin consent), or list the client in knownClientApplications of the application",
    ),
    means(
        &[90_094, 90_095],
        Topic::User,
        "an administrator must consent",
        "API permissions of the application, Grant admin consent",
    ),
    means(
        &[50_076, 50_079, 50_072, 50_074, 50_078],
        Topic::User,
        "the user must show a second factor (MFA)",
        "nothing here: the client signs the user in again with the `claims` of the 401",
    ),
    means(
        &[50_158],
        Topic::User,
        "a condition outside Entra is not met: other MFA, terms of use",
        "nothing here: the client signs the user in again with the `claims` of the 401",
    ),
    means(
        &[50_131, 530_003, 53_000, 53_001, 50_097, 50_129],
        Topic::User,
        "Conditional Access wants a known or compliant device",
        "nothing here: the user must use such a device; the sign-in log shows the policy",
    ),
    means(
        &[53_003],
        Topic::User,
        "Conditional Access blocks it",
        "the sign-in log shows the policy; for an application itself, the policies for workload identities",
    ),
    means(
        &[50_173, 50_132, 50_133, 50_089, 70_008, 700_082, 700_084, 70_043],
        Topic::User,
        "the user's session is over: a new password, a revocation, its age",
        "nothing here: the client signs the user in again",
    ),
    means(
        &[50_055, 50_144],
        Topic::User,
        "the user's password has expired",
        "nothing here: the user changes it at the next sign-in",
    ),
    means(
        &[50_105],
        Topic::Denied,
        "the user is not assigned to the application",
        "assign the user or a group under Enterprise applications, Users and groups, or turn off Assignment required",
    ),
    means(
        &[50_020, 50_034, 51_004, 50_014, 90_072],
        Topic::Denied,
        "the user is not in this tenant",
        "invite the user as a guest, or compare `tenant` with the tenant the user is of",
    ),
    means(
        &[50_057],
        Topic::Denied,
        "the user's account is disabled",
        "nothing here: an administrator enables it",
    ),
    means(
        &[50_053],
        Topic::Denied,
        "the account is locked, or the address is known for attacks",
        "wait, or let an administrator unlock it",
    ),
    means(
        &[53_002, 530_032, 530_034, 530_035, 53_010, 53_011, 54_000],
        Topic::Denied,
        "a policy of the organisation denies it",
        "the sign-in log shows the policy",
    ),
    means(
        &[50_002, 500_021, 500_022, 500_212, 500_213],
        Topic::Denied,
        "tenant restrictions or cross-tenant settings deny it",
        "let an administrator look at the cross-tenant access settings of both tenants",
    ),
    means(
        &[50_005, 50_127],
        Topic::Denied,
        "the policy wants a supported platform, or a broker app on the device",
        "nothing here: the user takes a platform that the policy allows, or installs Microsoft Authenticator or Company Portal",
    ),
    means(
        &[50_177, 50_178],
        Topic::Denied,
        "the policy wants an external challenge or a session control, which users of another tenant cannot meet",
        "leave such users out of that Conditional Access policy, or invite them as guests",
    ),
    means(&[65_004], Topic::Denied, "the user declined to consent", "the user signs in again and consents"),
    means(
        &[50_196],
        Topic::Transient,
        "the same was asked too often within minutes",
        "wait some minutes; find the client that repeats what was refused",
    ),
    means(&[90_055], Topic::Transient, "the tenant is throttled", "wait; find out who asks so often"),
    means(
        &[50_033, 50_087, 50_166, 70_012, 90_006, 90_012, 90_024, 90_033, 90_090, 501_621],
        Topic::Transient,
        "Entra has a trouble of its own that passes",
        "try again; if it lasts, look at https://status.cloud.microsoft",
    ),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_number_is_explained_once_in_a_phrase_and_a_cure() {
        assert!(MEANINGS.len() >= 40);
        let mut seen = BTreeSet::new();
        for Meaning { codes, says, cure, .. } in MEANINGS {
            assert!(!codes.is_empty());
            for code in *codes {
                assert!(seen.insert(*code), "{code} is there twice");
            }
            for text in [says, cure] {
                assert!(text.len() > 10 && !text.ends_with('.') && !text.contains('\n'), "{text}");
            }
        }
    }

    #[test]
    fn the_first_number_that_is_known_counts() {
        assert_eq!(
            first_meaning(&[1, 700_027, 700_016]).map(|meaning| meaning.topic),
            Some(Topic::Credential)
        );
        assert!(first_meaning(&[1]).is_none() && first_meaning(&[]).is_none());
    }
}
