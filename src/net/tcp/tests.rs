//! Real sockets on loopback, which has many addresses.

use std::sync::Arc;
use std::sync::Mutex;

use tokio::net::TcpListener;
use tokio::net::TcpSocket;
use tokio::time::Instant;

use crate::config::Http2;
use crate::net::budget::Budget;
use crate::net::causes;
use crate::net::dialer::Dialer;
use crate::net::names::Lookup;
use crate::net::sockets::testing::asks_and_expects;
use crate::net::tls;

use super::*;

const NOBODY: &str = "127.0.0.3";
const DEAF: &str = "127.0.0.2";
const HERE: &str = "127.0.0.1";

/// A port at which somebody accepts here, nobody at [`NOBODY`], and at [`DEAF`] connections are neither accepted nor refused.
async fn port() -> (u16, Vec<Box<dyn std::any::Any>>) {
    loop {
        let here = TcpListener::bind((HERE, 0)).await.unwrap();
        let port = here.local_addr().unwrap().port();
        let deaf = TcpSocket::new_v4().unwrap();
        if deaf.bind(SocketAddr::new(DEAF.parse().unwrap(), port)).is_err() {
            continue;
        }
        let deaf = deaf.listen(0).unwrap();
        let mut kept: Vec<Box<dyn std::any::Any>> = vec![Box::new(here)];
        // until its queue is full
        let patience = Duration::from_millis(100);
        while let Ok(queued) = tokio::time::timeout(patience, TcpStream::connect((DEAF, port))).await {
            kept.push(Box::new(queued.unwrap()));
        }
        kept.push(Box::new(deaf));
        return (port, kept);
    }
}

async fn reached(addresses: &[&str], port: u16) -> (Result<String, io::ErrorKind>, Duration) {
    let began = Instant::now();
    let addresses: Vec<IpAddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
    let reached = tokio::time::timeout(Duration::from_secs(20), first(&addresses, port, &Share::default()))
        .await
        .unwrap();
    let reached = reached.map(|stream| stream.peer_addr().unwrap().ip().to_string());
    (reached.map_err(|error| error.kind()), began.elapsed())
}

#[tokio::test]
async fn the_next_address_is_tried_when_one_refuses_or_takes_its_time() {
    let (port, _kept) = port().await;
    for (addresses, outcome, head_starts) in [
        (&[HERE][..], Ok(HERE.to_owned()), 0),
        (&[NOBODY][..], Err(io::ErrorKind::ConnectionRefused), 0),
        (&[NOBODY, HERE], Ok(HERE.to_owned()), 0),
        (&[DEAF, HERE], Ok(HERE.to_owned()), 1),
        (&[DEAF, NOBODY, HERE], Ok(HERE.to_owned()), 1),
        (&[DEAF, DEAF, NOBODY, HERE], Ok(HERE.to_owned()), 2),
        (&[NOBODY, NOBODY], Err(io::ErrorKind::ConnectionRefused), 0),
        (&[], Err(io::ErrorKind::AddrNotAvailable), 0),
    ] {
        let (reached, took) = reached(addresses, port).await;
        assert_eq!(reached, outcome, "{addresses:?}");
        assert!(took >= HEAD_START * head_starts, "{addresses:?}: {took:?}");
        assert!(took < HEAD_START * head_starts + Duration::from_secs(5), "{addresses:?}: {took:?}");
    }
}

#[tokio::test]
async fn addresses_are_tried_one_by_one_where_no_more_connections_may_be_open() {
    let (port, _kept) = port().await;
    let budget = Budget::default();
    let share = budget.share();
    budget.allow(1);
    let _dialled = share.take().unwrap();
    let addresses = [NOBODY, HERE].map(|address| address.parse().unwrap());
    assert!(
        first(&addresses, port, &share).await.is_ok(),
        "the first one has failed when the second is tried"
    );
    let addresses = [DEAF, HERE].map(|address| address.parse().unwrap());
    let reached = tokio::time::timeout(HEAD_START * 4, first(&addresses, port, &share)).await;
    assert!(reached.is_err(), "the first one is still tried");
}

/// Knows one name, for as long as it is told to.
#[derive(Clone)]
struct Zone(Arc<Mutex<Option<IpAddr>>>);

impl Lookup for Zone {
    fn look_up(&self, host: &str) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>> {
        let known = self.0.lock().unwrap().filter(|_| host == "orders.internal");
        Box::pin(
            async move { known.map(|address| vec![address]).ok_or_else(|| io::ErrorKind::NotFound.into()) },
        )
    }
}

fn dialer(server: &str, names: &Names) -> Dialer {
    let tls = tls::client_config_without_roots().unwrap();
    let timeout = Duration::from_secs(10);
    Dialer::new(server.parse().unwrap(), tls, Http2::Never, timeout, None, names.clone(), Share::default())
}

#[tokio::test]
async fn a_server_is_dialled_by_its_name_and_on_while_nobody_knows_it() {
    let listener = TcpListener::bind((HERE, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let zone = Zone(Arc::new(Mutex::new(Some(HERE.parse().unwrap()))));
    let names = Names::known_to(zone.clone());
    let known = dialer(&format!("http://orders.internal:{port}"), &names);
    known.dial().await.unwrap();
    *zone.0.lock().unwrap() = None;
    known.dial().await.unwrap();
    let other = dialer(&format!("http://reports.internal:{port}"), &names).dial().await;
    assert!(matches!(other, Err(crate::net::dialer::Error::Connect(_))), "{other:?}");
}

#[tokio::test]
async fn a_name_that_leads_to_metadata_is_not_dialled_and_why_is_told() {
    for address in ["169.254.169.254", "::ffff:169.254.169.254", "fe80::1", "fd00:ec2::254"] {
        let zone = Zone(Arc::new(Mutex::new(Some(address.parse().unwrap()))));
        let refused = dialer("http://orders.internal:80", &Names::known_to(zone)).dial().await.unwrap_err();
        let told = causes(&refused).map(ToString::to_string).collect::<Vec<_>>().join(": ");
        assert!(told.contains(&format!("the name leads to {address}")), "{told}");
    }
}

#[tokio::test]
async fn this_machine_is_reached_by_its_name_and_by_either_kind_of_address() {
    // "localhost" may be both: nobody listens at the other
    for (bound, hosts) in [("127.0.0.1", &["localhost", "127.0.0.1"][..]), ("[::1]", &["[::1]"])] {
        // there are machines without IPv6
        let Ok(listener) = TcpListener::bind(format!("{bound}:0")).await else { continue };
        let port = listener.local_addr().unwrap().port();
        for host in hosts {
            dialer(&format!("http://{host}:{port}/"), &Names::default()).dial().await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_connection_asks_whether_its_peer_is_there() {
    let listener = TcpListener::bind((HERE, 0)).await.unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let stream = connected(&Names::default(), &server, &Share::default()).await.unwrap();
    assert_eq!(asks_and_expects(&stream), (true, false));
    assert!(stream.nodelay().unwrap());
    sockets::expect_acknowledgements(&stream).unwrap();
    assert_eq!(asks_and_expects(&stream), (true, true));
}
