//! Identity providers that come, go and change; what was got from those that stay.

use obo_proxy::app::demo::echo::Echo;
use obo_proxy::app::demo::entra::Entra;
use obo_proxy::app::demo::entra::settings::Settings;
use obo_proxy::app::demo::entra::wish::TokenWish;
use obo_proxy::domain::clock::Clock;
use serde_json::Value;
use serde_json::json;

use crate::reload::IN_USE;
use crate::reload::REFUSED;
use crate::reload::address;
use crate::reload::check;
use crate::reload::echo;
use crate::reload::metric;
use crate::support::idp::Answer;
use crate::support::idp::Idp;
use crate::support::listen;
use crate::support::load::Kept;
use crate::support::process::Proxy;
use crate::support::process::shell;
use crate::support::until;

/// A proxy before the emulated Entra and, if it is told so, another issuer.
struct Scene {
    entra: Entra,
    partner: Idp,
    echo: Echo,
}

impl Scene {
    async fn new() -> Self {
        let entra = Entra::start(Settings::default(), listen().await, Clock::system()).await.unwrap();
        let partner = Idp::start(|_| Answer::exchanged("token-b-of-the-partner")).await;
        Self { entra, partner, echo: echo().await }
    }

    /// Routes for tokens of Entra, with further keys of that provider, and further routes and sections.
    fn config(&self, provider: &str, routes: &str, sections: &str) -> String {
        let Settings { tenant, client_id, .. } = self.entra.settings();
        format!(
            r#"
listeners: {{ default: {{ address: "127.0.0.1:0" }} }}
identity_providers:
  contoso:
    entra: {{ tenant: {tenant}, authority: "{}" }}
    client_id: {client_id}
    credential: {{ secret: {{ env: SECRET }} }}{provider}
upstreams: {{ echo: {{ url: "http://{}" }} }}
defaults: {{ upstream: echo, identity_provider: contoso }}
routes:
  orders: {{ match: /orders, exchange: {{ scopes: [api://orders-backend/orders.read] }} }}
{routes}
telemetry: {{ address: "127.0.0.1:0", logs: {{ format: json }} }}
shutdown: {{ delay: 0s, drain: 2s }}
{sections}
"#,
            self.entra.authority(),
            self.echo.address()
        )
    }

    /// The provider that the partner is, as a key of `identity_providers`.
    fn partner(&self) -> String {
        format!(
            r#"
  partner:
    oidc: {{ issuer: "{}" }}
    client_id: orders-proxy
    audiences: [orders]
    credential: {{ secret: {{ env: SECRET }} }}
    grant: token_exchange"#,
            self.partner.authority()
        )
    }

    async fn start(&self, config: &str) -> Proxy {
        let (config, secret) = (config.to_owned(), self.entra.settings().client_secret.expose().to_owned());
        let starting = tokio::task::spawn_blocking(move || Proxy::start(&config, &[("SECRET", &secret)]));
        let proxy = starting.await.unwrap();
        until("it is ready", async || {
            let url = format!("http://{}/readyz", proxy.telemetry);
            tokio::task::block_in_place(|| shell(&format!("curl -s {url}"))).starts_with("ok")
        })
        .await;
        proxy
    }

    fn token(&self, user: &str) -> String {
        self.entra.token(user, &TokenWish::default()).unwrap()
    }
}

const PARTNERS: &str =
    "  sales: { match: /sales, identity_provider: partner, exchange: { audience: sales } }";

/// The status of a call, and the token B that the echo API saw.
fn call(proxy: &Proxy, path: &str, token: &str) -> (String, String) {
    tokio::task::block_in_place(|| {
        let answer = shell(&format!(
            "curl -s -m 20 -w '\n%{{http_code}}' 'http://{}{path}' -H 'Authorization: Bearer {token}'",
            proxy.address
        ));
        let (body, status) = answer.rsplit_once('\n').unwrap();
        let seen: Value = serde_json::from_str(body).unwrap_or_default();
        let token_b = seen["headers"]["authorization"].as_str().unwrap_or_default();
        (status.to_owned(), token_b.trim_start_matches("Bearer ").to_owned())
    })
}

fn reload(proxy: &Proxy, config: &str) -> Value {
    let verdict = tokio::task::block_in_place(|| proxy.reload(config));
    check(&verdict, IN_USE, proxy);
    verdict
}

fn users(proxy: &Proxy) -> Vec<Value> {
    proxy.lines(|message| message == "request").into_iter().map(|line| line["user"].clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_tokens_counts_and_the_names_of_users_outlive_a_reload() {
    let scene = Scene::new().await;
    let route = "  reports: { match: /reports, exchange: { scopes: [api://orders-backend/orders.read] } }";
    let (before, after) = (scene.config("", "", ""), scene.config("", route, "cache: { expiry_margin: 4m }"));
    let proxy = scene.start(&before).await;
    let token = scene.token("alice");
    let (status, token_b) = call(&proxy, "/orders", &token);
    assert_eq!((status.as_str(), scene.entra.token_requests()), ("200", 1));
    let keys = scene.entra.key_requests();
    for config in [&after, &before, &after] {
        reload(&proxy, config);
        assert_eq!(call(&proxy, "/orders", &token), ("200".into(), token_b.clone()));
        // another token A of the same session
        assert_eq!(call(&proxy, "/orders", &scene.token("alice")).0, "200");
    }
    // another route that wants the same has it already
    assert_eq!(call(&proxy, "/reports", &token), ("200".into(), token_b));
    assert_eq!((scene.entra.token_requests(), scene.entra.key_requests()), (1, keys));
    let users = users(&proxy);
    assert!(users.len() == 8 && users.iter().all(|user| user.is_string() && *user == users[0]), "{users:?}");
    let counted = tokio::task::block_in_place(|| {
        let ok = "identity_provider=\"contoso\",result=\"ok\"} ";
        metric(&proxy, &format!("obo_authentications_total{{{ok}"))
    });
    assert_eq!(counted, Some(8.0));
    let hits = tokio::task::block_in_place(|| {
        metric(&proxy, "obo_cache_requests_total{tier=\"memory\",result=\"hit\"} ")
    });
    assert_eq!(hits, Some(7.0));
    // a cache of another size is another cache
    reload(&proxy, &scene.config("", "", "cache: { max_entries: 77 }"));
    assert_eq!(call(&proxy, "/orders", &token).0, "200");
    assert_eq!(scene.entra.token_requests(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_comes_has_its_keys_before_its_callers_come_and_one_that_goes_is_left_alone() {
    let scene = Scene::new().await;
    let alone = scene.config("", "", "");
    let proxy = scene.start(&alone).await;
    let token = scene.partner.token("carol", json!({}));
    // each time anew, as what was there is gone
    for _ in 0..2 {
        // a caller who cannot wait
        let mut eager = Kept::to(address(&proxy)).await.unwrap();
        let fields = format!("Authorization: Bearer {token}\r\n");
        let eager = tokio::spawn(async move {
            loop {
                let reply = eager.ask("/sales", &fields).await.unwrap();
                if reply.status != 404 {
                    return reply.status;
                }
            }
        });
        let verdict = reload(&proxy, &scene.config(&scene.partner(), PARTNERS, ""));
        assert_eq!(verdict["added"], "identity_providers.partner, routes.sales");
        assert_eq!(eager.await.unwrap(), 200);
        assert_eq!(call(&proxy, "/sales", &token), ("200".into(), "token-b-of-the-partner".into()));
        assert_eq!(call(&proxy, "/orders", &scene.token("alice")).0, "200");
        let fetched = "obo_jwks_last_success_timestamp_seconds{identity_provider=\"partner\"} ";
        assert!(tokio::task::block_in_place(|| metric(&proxy, fetched)).is_some());
        let verdict = reload(&proxy, &alone);
        assert_eq!(verdict["removed"], "identity_providers.partner, routes.sales");
        assert_eq!(call(&proxy, "/sales", &token).0, "404");
        assert!(tokio::task::block_in_place(|| metric(&proxy, fetched)).is_none());
    }
    assert_eq!(scene.entra.token_requests(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keys_of_a_provider_that_is_gone_are_fetched_no_more() {
    let scene = Scene::new().await;
    let restless = format!("{}\n    jwks: {{ refresh: 100ms }}", "");
    let proxy = scene.start(&scene.config(&restless, "", "")).await;
    let begun = scene.entra.key_requests();
    until("keys are fetched again", async || scene.entra.key_requests() > begun + 4).await;
    let gone = format!(
        "listeners: {{ default: {{ address: \"127.0.0.1:0\" }} }}\nroutes: {{ all: {{ match: /, auth: anonymous, upstream: \"http://{}\" }} }}\ntelemetry: {{ address: \"127.0.0.1:0\", logs: {{ format: json }} }}",
        scene.echo.address()
    );
    reload(&proxy, &gone);
    // one may have been under way
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    let last = scene.entra.key_requests();
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert_eq!(scene.entra.key_requests(), last);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_whose_settings_change_goes_on_with_its_keys_though_it_cannot_be_reached() {
    let scene = Scene::new().await;
    let proxy = scene.start(&scene.config(&scene.partner(), PARTNERS, "")).await;
    let token = scene.partner.token("carol", json!({}));
    until("its keys are there", async || call(&proxy, "/sales", &token).0 == "200").await;
    scene.partner.close();
    let verdict = reload(&proxy, &scene.config(&(scene.partner() + "\n    clock_skew: 30s"), PARTNERS, ""));
    assert_eq!(verdict["added"], "identity_providers.partner.clock_skew");
    assert_eq!(call(&proxy, "/sales", &token).0, "200");
    // the token from before is still the right one
    assert_eq!(scene.partner.requests(), 1);
    // its tokens are judged by the new settings at once
    reload(&proxy, &scene.config(&scene.partner().replace("[orders]", "[others]"), PARTNERS, ""));
    assert_eq!(call(&proxy, "/sales", &token).0, "401");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_that_was_wrong_is_forgotten_with_what_it_was_refused_for() {
    let scene = Scene::new().await;
    let good = scene.config("", "", "");
    let wrong = good.replace("{ env: SECRET }", "{ value: hunter2 }");
    let proxy = scene.start(&wrong).await;
    let token = scene.token("alice");
    assert_eq!(call(&proxy, "/orders", &token).0, "502");
    reload(&proxy, &good);
    assert_eq!(call(&proxy, "/orders", &token).0, "200");
    let log = proxy.log();
    assert!(
        !log.contains("hunter2") && !log.contains(scene.entra.settings().client_secret.expose()),
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_provider_that_does_not_answer_keeps_no_configuration_from_being_used() {
    let scene = Scene::new().await;
    let proxy = scene.start(&scene.config("", "", "")).await;
    scene.partner.close();
    reload(&proxy, &scene.config(&scene.partner(), PARTNERS, ""));
    assert_eq!(call(&proxy, "/sales", &scene.partner.token("carol", json!({}))).0, "503");
    assert_eq!(call(&proxy, "/orders", &scene.token("alice")).0, "200");
    assert!(!proxy.log().contains(REFUSED));
}
