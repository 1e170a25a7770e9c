//! WebSockets, as far as the version an upstream is spoken to in matters.

use crate::config::UpstreamTls;
use crate::pipeline::forward::tests::failures::kind;
use crate::pipeline::forward::tests::versions::acceptor;
use crate::pipeline::forward::tests::versions::header;
use crate::pipeline::forward::tests::versions::https_route;

use super::*;

/// What becomes of a request for a WebSocket.
async fn asked(case: &Case, websocket: WebSocket) -> Result<Response<net::Body>, Error> {
    let request = Request::get("/").header("host", "orders.example").header("sec-websocket-key", "x");
    let request = request.body(Full::new(Bytes::new())).unwrap();
    let id = HeaderValue::from_static("id-1");
    let terms = Terms { idle: LONG, expiry: None };
    let onward = Onward {
        route: &case.route,
        path: "/",
        authorization: Authorization::Remove,
        caller: None,
        peer: &peer(),
        scheme: Scheme::Http,
        request_id: &id,
        trace: None,
        websocket: Some((websocket, &terms)),
    };
    tokio::time::timeout(LONG * 2, case.forwarder.send(request, onward)).await.expect("an end in time")
}

#[tokio::test]
async fn over_tls_http_1_1_is_negotiated_for_it_though_requests_speak_http_2() {
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.pem");
    let acceptor = acceptor("localhost", &ca, &["h2", "http/1.1"]);
    let address = raw(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let mut stream = acceptor.accept(stream).await.unwrap();
            if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                return echo(stream, true).await;
            }
            until(&mut stream, "\r\n\r\n").await;
            let answer = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
                          sec-websocket-accept: x\r\n\r\nfirst";
            stream.write_all(answer.as_bytes()).await.unwrap();
            let (mut read, mut write) = tokio::io::split(stream);
            tokio::io::copy(&mut read, &mut write).await.unwrap();
            write.shutdown().await.unwrap();
        }
    })
    .await;
    let port = address.rsplit(':').next().unwrap();
    let route = https_route(&format!("localhost:{port}"), &ca, Http2::Auto, HostRewrite::Upstream);
    let case = Case::new(route);
    for _ in 0..2 {
        assert_eq!(header(&case.fetch().await.unwrap(), "x-version"), "HTTP/2.0");
        let response = asked(&case, WebSocket::Upgrade).await.unwrap();
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        let (mut caller, near) = tokio::io::duplex(1024);
        let tunnel = response.extensions().get::<Tunnel>().unwrap();
        let joined = tunnel.join(Box::new(near), Box::pin(std::future::pending())).unwrap();
        let joined = tokio::spawn(joined);
        caller.write_all(b" and second").await.unwrap();
        caller.shutdown().await.unwrap();
        assert_eq!(rest(&mut caller).await, "first and second");
        joined.await.unwrap();
        // it cannot be joined twice
        let (_, near) = tokio::io::duplex(1);
        assert!(tunnel.join(Box::new(near), Box::pin(std::future::pending())).is_none());
    }
}

#[tokio::test]
async fn an_upstream_that_is_spoken_to_in_http_2_only_gets_the_request_alone() {
    let address = raw(|stream| echo(stream, true)).await;
    let upstream = Upstream { http2: Http2::Always, tls: UpstreamTls::default(), ..upstream(&address) };
    let case = Case::new(Route { upstream: Arc::new(upstream), ..route(&address) });
    let response = asked(&case, WebSocket::Upgrade).await.unwrap();
    assert_eq!((response.status(), header(&response, "x-version")), (StatusCode::OK, "HTTP/2.0"));
    assert!(response.extensions().get::<Tunnel>().is_none());
    // of whom there is no request without it
    assert!(kind(asked(&case, WebSocket::ExtendedConnect).await).contains("NoWebSocket"));
}

#[tokio::test]
async fn an_upstream_that_is_late_or_not_there_is_told_apart_as_always() {
    let silent = raw(|mut stream| async move { drop(rest(&mut stream).await) }).await;
    let late = Route { timeouts: Timeouts { response: SHORT, idle: LONG }, ..route(&silent) };
    for (route, expected) in [(late, "Timeout"), (route("127.0.0.1:1"), "Connect")] {
        let failed = kind(asked(&Case::new(route), WebSocket::Upgrade).await);
        assert!(failed.contains(expected), "{failed}");
    }
}
