//! What a request costs whose token A was seen before and whose token B is cached: `cargo bench --bench hit`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a benchmark may fail loudly
#![allow(missing_docs)]

use std::collections::HashMap;
use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;

use criterion::Criterion;
use criterion::criterion_group;
use criterion::criterion_main;
use http::HeaderMap;
use obo_proxy::app::demo::entra::Entra;
use obo_proxy::app::demo::entra::settings::Settings;
use obo_proxy::app::demo::entra::wish::TokenWish;
use obo_proxy::config;
use obo_proxy::config::Access;
use obo_proxy::config::Exchange;
use obo_proxy::config::Policy;
use obo_proxy::config::Route;
use obo_proxy::config::ValidatedToken;
use obo_proxy::domain::caller::Caller;
use obo_proxy::domain::clock::Clock;
use obo_proxy::domain::digest::Digest;
use obo_proxy::net::clients::Clients;
use obo_proxy::pipeline::authenticate::Authenticator;
use obo_proxy::pipeline::authenticate::Kind;
use obo_proxy::pipeline::authenticate::Outside;
use obo_proxy::pipeline::exchange::Exchanger;
use obo_proxy::telemetry::metrics::Metrics;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// The two stages with one caller known to both, and the emulated Entra that made them so.
struct Warm {
    authenticator: Authenticator,
    exchanger: Exchanger,
    route: Arc<Route>,
    headers: HeaderMap,
    caller: Caller,
    _entra: Entra,
}

impl Warm {
    async fn up() -> Self {
        let clock = Clock::system();
        let (settings, listener) = (Settings::default(), TcpListener::bind("127.0.0.1:0").await.unwrap());
        let text = format!(
            r#"
identity_providers:
  demo:
    entra: {{ tenant: {}, authority: "http://{}" }}
    client_id: {}
    credential: {{ secret: {{ env: SECRET }} }}
routes:
  orders:
    match: /orders
    upstream: "http://127.0.0.1:1"
    require: {{ scopes: [orders.read] }}
    exchange: {{ scopes: [api://orders-backend/orders.read] }}
"#,
            settings.tenant,
            listener.local_addr().unwrap(),
            settings.client_id,
        );
        let secret = ("SECRET".to_owned(), settings.client_secret.expose().to_owned());
        let config = config::load_text("bench.yaml", &text, &[secret]).unwrap().config;
        let entra = Entra::start(settings, listener, clock.clone()).await.unwrap();
        let (clients, metrics) = (Clients::system().unwrap(), Arc::new(Metrics::new()));
        let providers = &config.identity_providers;
        let exchanger = Exchanger::new(
            providers,
            &HashMap::new(),
            &config.cache,
            clients.clone(),
            clock.clone(),
            metrics.clone(),
        );
        let outside = Outside {
            clients,
            authentication: exchanger.client_authentication(),
            metadata: HashMap::new(),
            clock,
            metrics,
        };
        let authenticator = Authenticator::new(providers, &config.cache, &outside);
        authenticator.start();
        let (user, wish) = TokenWish::parse("user=alice").unwrap();
        let mut headers = HeaderMap::new();
        let bearer = format!("Bearer {}", entra.token(&user, &wish).unwrap());
        headers.insert(http::header::AUTHORIZATION, bearer.parse().unwrap());
        let route = config.routes[0].clone();
        let (policy, exchange) = access(&route);
        // ready means that the keys of one token version are there, and these are of the other, perhaps
        let caller = loop {
            match authenticator.caller(&headers, policy, None).await {
                Err(error) if error.kind == Kind::KeysUnavailable => tokio::task::yield_now().await,
                settled => break settled.unwrap(),
            }
        };
        exchanger.token(&caller, exchange).await.unwrap();
        Self { authenticator, exchanger, headers, caller, route, _entra: entra }
    }
}

fn access(route: &Route) -> (&Policy, &Arc<Exchange>) {
    match &route.access {
        Access::Validated { policy, token: ValidatedToken::Exchange(exchange) } => (policy, exchange),
        _ => panic!("the route exchanges nothing"),
    }
}

/// The value of a future that waits for nothing.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("a hit waits for nothing"),
    }
}

fn hit(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let _inside = runtime.enter();
    let Warm { authenticator, exchanger, route, headers, caller, _entra } = runtime.block_on(Warm::up());
    let (policy, exchange) = access(&route);
    let token = caller.token.expose();
    let mut group = criterion.benchmark_group(format!("hit, token A of {} bytes", token.len()));
    group.bench_function("hash of token A", |bencher| {
        bencher.iter(|| Digest::of(black_box(token.as_bytes())));
    });
    group.bench_function("authenticate", |bencher| {
        bencher.iter(|| at_once(authenticator.caller(black_box(&headers), policy, None)).unwrap());
    });
    group.bench_function("exchange", |bencher| {
        bencher.iter(|| at_once(exchanger.token(black_box(&caller), exchange)).unwrap());
    });
    group.bench_function("authenticate and exchange", |bencher| {
        bencher.iter(|| {
            let caller = at_once(authenticator.caller(black_box(&headers), policy, None)).unwrap();
            at_once(exchanger.token(&caller, exchange)).unwrap()
        });
    });
    group.finish();
}

criterion_group!(benches, hit);
criterion_main!(benches);
