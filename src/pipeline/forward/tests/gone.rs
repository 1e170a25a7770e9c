//! Upstreams that are gone without a word. Time is moved by hand: what is done on loopback takes none.

use tokio::time::Instant;

use super::*;
use crate::pipeline::forward::tests::failures::kind;

/// An upstream in HTTP/2 that is gone, on each of its first connections, once it has answered so often.
async fn vanishing(connections: usize, answers: usize) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&accepted);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let vanishes = count.fetch_add(1, Ordering::SeqCst) < connections;
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                let mut answered = 0;
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    if vanishes && answered == answers {
                        // its socket is open, and nobody looks at it
                        std::future::pending::<()>().await;
                    }
                    respond.send_response(Response::new(()), true).unwrap();
                    answered += 1;
                }
            });
        }
    });
    (address, accepted)
}

#[tokio::test(start_paused = true)]
async fn a_connection_whose_upstream_answers_no_ping_is_given_up_for_another() {
    let (address, accepted) = vanishing(1, 2).await;
    let timeouts = Timeouts { response: LONG * 10, idle: LONG * 10 };
    let upstream = Arc::new(Upstream { http2: Http2::Always, ..upstream(&address) });
    let case = Case::new(Route { upstream, timeouts, ..route(&address) });
    for _ in 0..2 {
        assert_eq!(kind(case.fetch().await), "200 OK");
    }
    let began = Instant::now();
    assert_eq!(kind(case.fetch().await), "200 OK", "it may be sent again, and is");
    assert!((40..=60).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    let began = Instant::now();
    assert_eq!(kind(case.fetch().await), "200 OK");
    assert_eq!((began.elapsed().as_secs(), accepted.load(Ordering::SeqCst)), (0, 2));
}
