//! What the pure parts of a request's way cost: `cargo bench --bench pure`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a benchmark may fail loudly
#![allow(missing_docs)]

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use criterion::BatchSize;
use criterion::Criterion;
use criterion::criterion_group;
use criterion::criterion_main;
use http::Request;
use http::Response;
use http::request::Parts;
use obo_proxy::config;
use obo_proxy::config::Access;
use obo_proxy::config::CacheKeyMode;
use obo_proxy::config::Config;
use obo_proxy::config::Exchange;
use obo_proxy::config::UnderscoreHeaders;
use obo_proxy::config::ValidatedToken;
use obo_proxy::domain::clock::UnixTime;
use obo_proxy::pipeline::accept::head;
use obo_proxy::pipeline::authenticate::bearer;
use obo_proxy::pipeline::exchange::classify::AskedBy;
use obo_proxy::pipeline::exchange::classify::Expected;
use obo_proxy::pipeline::exchange::classify::classify;
use obo_proxy::pipeline::exchange::key::canonical_scopes;
use obo_proxy::pipeline::route::RouteTable;

/// A configuration with `count` routes, the one that is asked for last in precedence.
fn config(count: usize) -> Config {
    let mut text = String::from(
        "identity_providers:\n  idp:\n    entra: { tenant: 8eaef023-2b34-4da1-9baa-8bc8c9d6a490 }\n    \
         client_id: 6731de76-14a6-49ae-97bc-6eba6914391e\n    credential: { secret: { env: SECRET } }\nroutes:\n",
    );
    for number in 0..count {
        let path = if number == 0 { "/".to_owned() } else { format!("/services/number{number}") };
        text.push_str(&format!(
            "  route{number}:\n    match: \"{path}\"\n    upstream: \"http://127.0.0.1:1\"\n    \
             exchange: {{ scopes: [api://orders-backend/.default] }}\n"
        ));
    }
    config::load_text("bench.yaml", &text, &[("SECRET".into(), "secret".into())]).unwrap().config
}

fn parts(target: &str) -> Parts {
    let bearer = format!("Bearer {}", "a".repeat(2000));
    let request = Request::get(target)
        .header("host", "api.example")
        .header("user-agent", "bench/1.0")
        .header("accept", "application/json")
        .header("accept-encoding", "identity")
        .header("accept-language", "en")
        .header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
        .header("x-correlation-id", "0d9f3c7a-5b1e-4a77-9a40-7d2b9e3c1f55")
        .header("authorization", bearer);
    request.body(()).unwrap().into_parts().0
}

fn request(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("a request");
    let plain = parts("/orders/1?x=y");
    group.bench_function("is its head well-formed", |bencher| {
        let check = |mut head: Parts| head::check(&mut head, UnderscoreHeaders::Drop);
        bencher.iter_batched(|| plain.clone(), check, BatchSize::SmallInput);
    });
    group.bench_function("its bearer token", |bencher| {
        bencher.iter(|| bearer::presented(black_box(&plain.headers)).unwrap().as_bytes().len());
    });
    for (count, target) in [(1, "/orders/1"), (100, "/orders/1"), (100, "/orders/%C3%BC/1")] {
        let config = config(count);
        let (table, listener) = (RouteTable::new(&config.routes), &config.listeners[0].name);
        let head = parts(target);
        group.bench_function(format!("the route of {target} among {count}"), |bencher| {
            bencher.iter(|| table.find(listener, black_box(&head)).unwrap());
        });
    }
    group.finish();
}

fn exchange(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("an exchange");
    let config = config(1);
    let exchange: &Arc<Exchange> = match &config.routes[0].access {
        Access::Validated { token: ValidatedToken::Exchange(exchange), .. } => exchange,
        _ => panic!("the route exchanges nothing"),
    };
    assert_eq!(config.cache.key, CacheKeyMode::User);
    group.bench_function("canonical scopes", |bencher| {
        bencher.iter(|| canonical_scopes(black_box(&exchange.scopes)));
    });
    let now = UnixTime::from_seconds(1_500_000_000);
    let expected = || Expected { requested: None, asked_by: AskedBy::Grant };
    let answer = |status: u16, body: String| {
        Response::builder()
            .status(status)
            .header("content-type", "application/json")
            .body(Bytes::from(body))
            .unwrap()
    };
    let token = "b".repeat(2000);
    let success = answer(
        200,
        format!(
            r#"{{"token_type":"Bearer","scope":"a","expires_in":3599,"ext_expires_in":3599,"access_token":"{token}"}}"#
        ),
    );
    group.bench_function("an answer with a token", |bencher| {
        bencher.iter(|| classify(black_box(&success), expected(), now).unwrap());
    });
    let challenge = answer(
        400,
        r#"{"error":"interaction_required","error_description":"AADSTS50079","error_codes":[50079],"suberror":"basic_action","claims":"{\"access_token\":{\"polids\":{\"essential\":true,\"values\":[\"x\"]}}}"}"#.into(),
    );
    group.bench_function("an answer with a challenge", |bencher| {
        bencher.iter(|| classify(black_box(&challenge), expected(), now).unwrap_err());
    });
    group.finish();
}

criterion_group!(benches, request, exchange);
criterion_main!(benches);
