//! What is shown.

use http::Method;
use http::Request;
use obo_proxy::app::demo::entra::keys::OldKey;
use obo_proxy::app::demo::entra::script::KeysEndpoint;
use obo_proxy::app::demo::entra::settings::Settings;
use serde_json::Value;
use serde_json::json;

use crate::admin::PLACES;
use crate::admin::world;
use crate::support::World;

/// Some of everything.
async fn traffic(world: &World) {
    for user in ["alice", "alice", "bob", "mfa", "noconsent", "blocked"] {
        world.get("/orders", &world.token(user)).await;
    }
    world.get("/reports", &world.token("alice")).await;
    world.get_anonymously("/orders").await;
    world.get_anonymously("/nowhere?q=qu3ry").await;
}

#[tokio::test]
async fn the_api_says_how_everything_stands() {
    let world = world().await;
    traffic(&world).await;
    let status = world.json("status").await;
    assert_eq!((&status["state"], &status["version"]), (&json!("ready"), &json!(env!("CARGO_PKG_VERSION"))));
    assert_eq!((&status["listeners"][0]["name"], &status["log"]), (&json!("default"), &Value::Null));

    let routes = world.json("routes").await;
    let orders = routes["routes"].as_array().unwrap().iter().find(|route| route["name"] == "orders").unwrap();
    assert_eq!((&orders["token"], &orders["matches"]["path"]), (&json!("exchange"), &json!("/orders")));
    assert_eq!(orders["wants"], json!(["api://orders-backend/orders.read"]));
    let traffic = &orders["traffic"];
    assert_eq!((&traffic["requests"], &traffic["refusals"]), (&json!(7), &json!(4)));
    assert_eq!(traffic["statuses"], json!({ "200": 3, "401": 3, "403": 1 }));
    assert_eq!(routes["unrouted"]["refusals_by_reason"], json!({ "no_route": 1 }));

    let providers = world.json("identity_providers").await;
    let demo = &providers["identity_providers"][0];
    assert_eq!((&demo["kind"], &demo["credentials"]), (&json!("entra"), &json!(["secret"])));
    let keys = demo["keys"].as_array().unwrap();
    assert!(
        keys.len() == 2 && keys.iter().all(|keys| keys["count"] == 1 && keys["age_seconds"] == 0),
        "{demo}"
    );
    assert_eq!(demo["token_endpoints"][0]["state"], "answers");
    assert_eq!(demo["exchanges"]["ok"], 2);

    let cache = world.json("cache").await;
    assert_eq!((&cache["memory"]["entries"], &cache["redis"]), (&json!(2), &Value::Null));
    assert_eq!(
        cache["memory"]["lookups"],
        json!({ "by_result": { "hit": 1, "miss": 5 }, "hit_ratio": 0.1667 })
    );

    let config = world.json("config").await;
    assert_eq!(
        config["configuration"]["identity_providers"]["demo"]["credential"]["secret"]["env"],
        "SECRET"
    );
}

#[tokio::test]
async fn keys_that_cannot_be_fetched_are_told_of_since_when_how_often_and_why() {
    let world = world().await;
    let keys = async || world.json("identity_providers").await["identity_providers"][0]["keys"].clone();
    assert!(keys().await.as_array().unwrap().iter().all(|keys| keys["failing"].is_null()));
    world.entra().script(|script| script.keys(KeysEndpoint::Failing));
    world.entra().rotate_keys(OldKey::Dropped).unwrap();
    assert_eq!(world.get("/orders", &world.token("alice")).await.reason(), "keys_unavailable");
    let told = keys().await;
    let failing = told.as_array().unwrap().iter().find(|keys| keys["tokens"] == "v2").unwrap();
    assert_eq!(failing["count"], 1, "those at hand are told of as well");
    let failing = &failing["failing"];
    assert!(failing["failures"].as_u64().unwrap() >= 1 && failing["since"].is_string(), "{failing}");
    assert_eq!(failing["cause"], "the answer's status is 503 Service Unavailable");
    let page = world.look("/").await;
    let page = std::str::from_utf8(&page.body).unwrap();
    assert!(page.contains("not refreshed") && page.contains("503 Service Unavailable"), "{page}");
}

#[tokio::test]
async fn events_are_challenges_and_failures_with_what_the_log_says_of_them() {
    let world = world().await;
    traffic(&world).await;
    let events = world.json("events").await;
    let events = events["events"].as_array().unwrap();
    let reasons: Vec<&str> = events.iter().map(|event| event["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons.len(), 6, "{reasons:?}");
    let of = |reason: &str| events.iter().find(|event| event["reason"] == reason).unwrap();
    let challenge = of("interaction_required");
    assert_eq!((&challenge["status"], &challenge["route"]), (&json!(401), &json!("orders")));
    assert_eq!(
        (&challenge["identity_provider"], &challenge["error_codes"]),
        (&json!("demo"), &json!([50076]))
    );
    assert_eq!(challenge["user"].as_str().unwrap().len(), 16);
    assert!(challenge["correlation_id"].is_string() && challenge["request_id"].is_string());
    assert_eq!(of("consent_required")["error_codes"], json!([65001]));
    assert_eq!((&of("no_route")["route"], &of("no_route")["user"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn rates_are_those_of_the_last_minutes() {
    let world = world().await;
    let orders = |routes: Value| routes["routes"][0]["traffic"].clone();
    let idle = orders(world.json("routes").await);
    assert_eq!((&idle["requests"], &idle["last_minute"]), (&json!(0), &Value::Null));
    traffic(&world).await;
    world.clock.advance(std::time::Duration::from_secs(20));
    // the counters were looked at when the interface began to serve, and not since
    let busy = orders(world.json("routes").await)["last_minute"].clone();
    assert_eq!((&busy["seconds"], &busy["requests_per_second"]), (&json!(20), &json!(0.35)), "{busy}");
    assert_eq!(busy["refusals_per_second"], 0.2);
    assert!(busy["p95_ms"].as_f64().unwrap() > 0.0, "{busy}");
}

#[tokio::test]
async fn the_page_shows_what_the_api_says() {
    let world = world().await;
    traffic(&world).await;
    let page = String::from_utf8(world.look("/").await.body.to_vec()).unwrap();
    let (mut compared, mut missing) = (0, Vec::new());
    for of in ["status", "routes", "identity_providers", "cache", "events"] {
        each_text(&world.json(of).await, of, &mut |place, text| {
            compared += 1;
            let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
            let shown = [escaped.clone(), escaped.replace('_', " ")];
            if !shown.iter().any(|shown| page.contains(shown)) {
                missing.push(format!("{place}: {text}"));
            }
        });
    }
    assert!(compared > 80 && missing.is_empty(), "{compared} {missing:#?}");
    for link in PLACES {
        assert!(page.contains(&format!("href=\"{link}\"")) || link == "/", "{link}");
    }
}

/// Every text in `value`, and every name that is not ours.
fn each_text(value: &Value, place: &str, on: &mut impl FnMut(&str, &str)) {
    match value {
        Value::String(text) => on(place, text),
        Value::Array(items) => items.iter().for_each(|item| each_text(item, place, on)),
        Value::Object(map) => {
            for (key, below) in map {
                let place = format!("{place}.{key}");
                if below.is_u64()
                    && place.contains("by_") | place.contains("statuses") | place.contains("exchanges.")
                {
                    on(&place, &format!("{key} {below}"));
                }
                each_text(below, &place, on);
            }
        }
        _ => {}
    }
}

#[tokio::test]
async fn what_callers_write_is_text_on_the_page() {
    let world = world().await;
    let nasty = "<script>alert('&\"')</script><img/src=x/onerror=alert(1)>";
    world.send(world.request(Method::GET, "/orders").header("x-request-id", nasty)).await;
    assert_eq!(world.json("events").await["events"][0]["request_id"], nasty);
    let page = String::from_utf8(world.look("/").await.body.to_vec()).unwrap();
    assert!(page.contains("&lt;script&gt;alert(&#39;&amp;&quot;&#39;)&lt;/script&gt;&lt;img/src"), "{page}");
    for tag in ["<script", "<img", "<form", "<iframe", "onerror=a\""] {
        assert!(!page.contains(tag), "{tag}");
    }
    // nor does what is asked of the page come back
    for (query, is_refreshed) in
        [("refresh=10", true), ("a=b&refresh=2", true), ("refresh=1", false), ("refresh=%22%3E", false)]
    {
        let page = String::from_utf8(world.look(&format!("/?{query}")).await.body.to_vec()).unwrap();
        assert_eq!(page.contains("http-equiv=\"refresh\""), is_refreshed, "{query}");
    }
}

#[tokio::test]
async fn nothing_shows_a_token_a_secret_a_claim_or_a_query() {
    let world = world().await;
    traffic(&world).await;
    let token = world.token("alice");
    let seen = world.get("/orders", &token).await.json();
    let token_b = seen["headers"]["authorization"].as_str().unwrap().to_owned();
    let secret = Settings::default().client_secret;
    for place in PLACES {
        let shown = String::from_utf8(world.look(place).await.body.to_vec()).unwrap();
        for (what, canary) in [
            ("token A", token.rsplit('.').next().unwrap()),
            ("token B", token_b.rsplit('.').next().unwrap()),
            ("a JWT", "eyJ"),
            ("the client secret", secret.expose()),
            ("the query", "qu3ry"),
            ("the user", "alice@"),
            ("the name", "Alice"),
            ("claims", "capolids"),
            ("the path", "/nowhere"),
        ] {
            assert!(!shown.contains(canary), "{what} is at {place}");
        }
    }
}

#[tokio::test]
async fn no_answer_is_kept_framed_or_handed_to_other_origins() {
    let world = world().await;
    for place in PLACES.into_iter().chain(["/nowhere", "/api/v1/cache/purge"]) {
        let answer = world.look(place).await;
        assert_eq!(answer.header("cache-control"), "no-store", "{place}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
        assert_eq!(answer.header("x-frame-options"), "DENY");
        assert_eq!(answer.header("cross-origin-resource-policy"), "same-origin");
        assert!(answer.headers.get("access-control-allow-origin").is_none());
        let policy = answer.header("content-security-policy");
        for rule in
            ["default-src 'none'", "style-src 'sha256-", "form-action 'none'", "frame-ancestors 'none'"]
        {
            assert!(policy.contains(rule), "{policy}");
        }
        let media_type = match place {
            "/" => "text/html; charset=utf-8",
            "/nowhere" | "/api/v1/cache/purge" => "application/problem+json",
            _ => "application/json",
        };
        assert_eq!(answer.header("content-type"), media_type, "{place}");
    }
    let head = world.send(Request::head(world.admin_url("/"))).await;
    assert!(head.status == 200 && head.body.is_empty());
}
