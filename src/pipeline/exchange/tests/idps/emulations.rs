//! What the documentation of each identity provider says.

use serde_json::Value;
use serde_json::json;

pub const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
const SAML2: &str = "urn:ietf:params:oauth:token-type:saml2";
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ODD_JWT: &str = "urn:params:oauth:token-type:jwt";

/// How an identity provider is spoken with, and what it answers.
pub struct Emulation {
    /// The example's file, its provider and its route.
    pub example: [&'static str; 3],
    /// The path at which tokens are exchanged.
    pub path: &'static str,
    /// Everything that is sent, besides the proof of who we are.
    pub form: Vec<(&'static str, &'static str)>,
    /// What it answers.
    pub answer: Value,
    /// Whether the token is kept.
    pub is_kept: bool,
}

/// One for each example that exchanges.
pub fn emulations() -> Vec<Emulation> {
    vec![
        Emulation {
            example: ["keycloak", "keycloak", "inventory"],
            path: "/realms/orders/protocol/openid-connect/token",
            form: vec![
                ("grant_type", TOKEN_EXCHANGE),
                ("subject_token", "alice.1"),
                ("subject_token_type", ACCESS_TOKEN),
                ("audience", "inventory"),
                ("audience", "pricing"),
                ("scope", "inventory-read"),
            ],
            answer: json!({
                "access_token": "b", "expires_in": 300, "refresh_expires_in": 0, "token_type": "Bearer",
                "not-before-policy": 0, "session_state": "s", "scope": "inventory-read",
                "issued_token_type": ACCESS_TOKEN,
            }),
            is_kept: true,
        },
        Emulation {
            example: ["zitadel", "zitadel", "inventory"],
            path: "/oauth/v2/token",
            form: vec![
                ("grant_type", TOKEN_EXCHANGE),
                ("subject_token", "alice.1"),
                ("subject_token_type", ACCESS_TOKEN),
                ("requested_token_type", JWT),
                ("audience", "259254317079330818"),
                ("scope", "openid"),
            ],
            answer: json!({
                "access_token": "b", "issued_token_type": JWT, "token_type": "Bearer", "expires_in": 43100,
                "scope": "openid", "id_token": "i", "refresh_token": "r",
            }),
            is_kept: true,
        },
        Emulation {
            example: ["okta", "okta", "inventory"],
            path: "/oauth2/aus1orders/v1/token",
            form: vec![
                ("grant_type", TOKEN_EXCHANGE),
                ("subject_token", "alice.1"),
                ("subject_token_type", ACCESS_TOKEN),
                ("audience", "api://inventory"),
                ("scope", "inventory.read"),
            ],
            answer: json!({
                "token_type": "Bearer", "expires_in": 3600, "access_token": "b", "scope": "inventory.read",
                "issued_token_type": ACCESS_TOKEN,
            }),
            is_kept: true,
        },
        Emulation {
            example: ["auth0", "auth0", "inventory"],
            path: "/oauth/token",
            form: vec![
                ("grant_type", TOKEN_EXCHANGE),
                ("subject_token", "alice.1"),
                ("subject_token_type", ACCESS_TOKEN),
                ("requested_token_type", ACCESS_TOKEN),
                ("audience", "https://inventory.example/"),
                ("scope", "read:inventory"),
            ],
            answer: json!({
                "access_token": "b", "issued_token_type": ACCESS_TOKEN, "token_type": "Bearer",
                "expires_in": 86400, "scope": "read:inventory",
            }),
            is_kept: true,
        },
        Emulation {
            example: ["ping", "ping", "inventory"],
            path: "/as/token.oauth2",
            form: vec![
                ("grant_type", TOKEN_EXCHANGE),
                ("subject_token", "alice.1"),
                ("subject_token_type", ODD_JWT),
                ("requested_token_type", ODD_JWT),
                ("resource", "https://inventory.example"),
                ("actor_token", "ours"),
                ("actor_token_type", ACCESS_TOKEN),
            ],
            answer: json!({
                "access_token": "b", "issued_token_type": ODD_JWT, "token_type": "Bearer", "expires_in": 7199,
            }),
            is_kept: true,
        },
        Emulation {
            example: ["google-sts", "google", "storage"],
            path: "/v1/token",
            form: vec![
                ("grant_type", TOKEN_EXCHANGE),
                ("subject_token", "alice.1"),
                ("subject_token_type", JWT),
                ("requested_token_type", ACCESS_TOKEN),
                (
                    "audience",
                    "//iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/orders/providers/id",
                ),
                ("scope", "https://www.googleapis.com/auth/cloud-platform"),
            ],
            // it says nothing of the token's life where the subject token was Google's own
            answer: json!({"access_token": "b", "issued_token_type": ACCESS_TOKEN, "token_type": "Bearer"}),
            is_kept: false,
        },
        Emulation {
            example: ["tokenx", "tokenx", "inventory"],
            path: "/token",
            form: vec![
                ("grant_type", TOKEN_EXCHANGE),
                ("subject_token", "alice.1"),
                ("subject_token_type", JWT),
                ("audience", "prod-gcp:inventory:inventory-api"),
            ],
            answer: json!({
                "access_token": "b", "issued_token_type": ACCESS_TOKEN, "token_type": "Bearer", "expires_in": 299,
            }),
            is_kept: true,
        },
        Emulation {
            example: ["adfs", "adfs", "inventory"],
            path: "/adfs/oauth2/token",
            form: vec![
                ("grant_type", JWT_BEARER),
                ("assertion", "alice.1"),
                ("requested_token_use", "on_behalf_of"),
                ("resource", "https://inventory.example/"),
                ("scope", "openid"),
            ],
            answer: json!({
                "access_token": "b", "token_type": "bearer", "expires_in": 3600, "id_token": "i",
                "resource": "https://inventory.example/", "refresh_token": "r", "refresh_token_expires_in": 28800,
            }),
            is_kept: true,
        },
        Emulation {
            example: ["entra-v1", "contoso", "directory"],
            path: "/26039cce-489d-4002-8293-5b0c5134eacb/oauth2/token",
            form: vec![
                ("grant_type", JWT_BEARER),
                ("assertion", "alice.1"),
                ("requested_token_use", "on_behalf_of"),
                ("resource", "https://graph.windows.net"),
                ("scope", "openid"),
            ],
            answer: json!({
                "token_type": "Bearer", "scope": "User.Read", "expires_in": "43482", "ext_expires_in": "302683",
                "expires_on": "1700043482", "not_before": "1699999999", "resource": "https://graph.windows.net",
                "access_token": "b", "refresh_token": "r", "id_token": "eyJhbGciOiJub25lIn0.e30.",
            }),
            is_kept: true,
        },
        Emulation {
            example: ["entra-saml", "contoso", "payroll"],
            path: "/26039cce-489d-4002-8293-5b0c5134eacb/oauth2/v2.0/token",
            form: vec![
                ("grant_type", JWT_BEARER),
                ("assertion", "alice.1"),
                ("requested_token_use", "on_behalf_of"),
                ("scope", "https://payroll.contoso.com/.default"),
                ("requested_token_type", SAML2),
            ],
            answer: json!({
                "token_type": "Bearer", "expires_in": 3296, "ext_expires_in": 0, "expires_on": 1_700_003_296,
                "resource": "https://payroll.contoso.com", "access_token": "b", "refresh_token": "r",
                "issued_token_type": SAML2,
            }),
            is_kept: true,
        },
        Emulation {
            example: ["entra-saml", "contoso", "archive"],
            path: "/26039cce-489d-4002-8293-5b0c5134eacb/oauth2/token",
            form: vec![
                ("grant_type", JWT_BEARER),
                ("assertion", "alice.1"),
                ("requested_token_use", "on_behalf_of"),
                ("resource", "https://archive.contoso.com"),
                ("requested_token_type", "urn:ietf:params:oauth:token-type:saml1"),
            ],
            answer: json!({
                "token_type": "Bearer", "expires_in": "3296", "access_token": "b",
                "issued_token_type": "urn:ietf:params:oauth:token-type:saml1",
            }),
            is_kept: true,
        },
        Emulation {
            example: ["entra-multi-tenant", "partners", "orders"],
            path: "/26039cce-489d-4002-8293-5b0c5134eacb/oauth2/v2.0/token",
            form: vec![
                ("grant_type", JWT_BEARER),
                ("assertion", "alice.1"),
                ("requested_token_use", "on_behalf_of"),
                ("scope", "api://orders-backend/.default"),
            ],
            answer: json!({"token_type": "Bearer", "expires_in": 3599, "access_token": "b", "scope": "x"}),
            is_kept: true,
        },
        Emulation {
            example: ["applications", "contoso", "orders"],
            path: "/26039cce-489d-4002-8293-5b0c5134eacb/oauth2/v2.0/token",
            form: vec![
                ("grant_type", JWT_BEARER),
                ("assertion", "alice.1"),
                ("requested_token_use", "on_behalf_of"),
                ("scope", "api://orders-backend/.default"),
                ("claims", r#"{"access_token":{"xms_cc":{"values":["cp1"]}}}"#),
            ],
            answer: json!({"token_type": "Bearer", "expires_in": 86399, "refresh_in": 43199, "access_token": "b"}),
            is_kept: true,
        },
    ]
}
