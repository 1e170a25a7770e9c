//! What connections outlive a change of the routes.

use super::*;

/// Answers each request with the number of its connection.
async fn counting() -> String {
    let count = Arc::new(AtomicUsize::new(0));
    raw(move |mut stream| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        async move {
            while !until(&mut stream, "\r\n\r\n").await.is_empty() {
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{number}");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    })
    .await
}

/// Which connection a request by that route goes over.
async fn connection(forwarder: &Forwarder, route: &Arc<Route>) -> String {
    let id = HeaderValue::from_static("id-1");
    let onward = Onward {
        route,
        path: "/",
        authorization: Authorization::Remove,
        caller: None,
        peer: &peer(),
        scheme: Scheme::Http,
        request_id: &id,
        trace: None,
        websocket: None,
    };
    let response = forwarder.send(Request::new(Full::new(Bytes::new())), onward).await.unwrap();
    let number = text(response).await;
    // the connection rests once the end of the answer was seen
    tokio::task::yield_now().await;
    number
}

#[tokio::test]
async fn connections_to_an_upstream_that_did_not_change_go_on() {
    let address = counting().await;
    let before = Arc::new(route(&address));
    let first = Forwarder::new(&[Arc::clone(&before)]).unwrap();
    let second = first.beside(None);
    // each worker has its own
    assert_eq!(connection(&first, &before).await, "0");
    assert_eq!(connection(&second, &before).await, "1");

    // the same upstream, said anew, by two routes with a name each
    let after = Arc::new(Route { name: Name::parse("anew").unwrap(), ..route(&address) });
    let upstream = Arc::new(upstream(&address));
    let twin = Arc::new(Route { name: Name::parse("twin").unwrap(), upstream, ..route(&address) });
    let routes = [Arc::clone(&after), Arc::clone(&twin)];
    let next_first = first.succeeding(&routes, |_| true).unwrap();
    let next_second = next_first.beside(Some(&second));
    for route in &routes {
        assert_eq!(connection(&next_first, route).await, "0");
        assert_eq!(connection(&next_second, route).await, "1");
    }
    // who still goes by the old routes is not in the way
    assert_eq!(connection(&first, &before).await, "0");

    // one that is made of a file that changed, or in another way, is another one
    let renewed = first.succeeding(&routes, |_| false).unwrap();
    assert_eq!(connection(&renewed, &after).await, "2");
    assert_eq!(connection(&renewed.beside(Some(&second)), &after).await, "3");
    let hasty = Upstream { connect_timeout: LONG * 2, ..super::upstream(&address) };
    let hasty = Arc::new(Route { upstream: Arc::new(hasty), ..route(&address) });
    let other = first.succeeding(&[Arc::clone(&hasty)], |_| true).unwrap();
    assert_eq!(connection(&other, &hasty).await, "4");
    assert!(other.pools.of(&before).is_none(), "it leads nowhere any more");
}
