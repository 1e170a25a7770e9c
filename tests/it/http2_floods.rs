//! HTTP/2 peers that send what costs them nothing are cut off, and nobody else notices.

use std::net::SocketAddr;
use std::time::Duration;

use http::StatusCode;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::support::Plan;
use crate::support::World;
use crate::support::http2::CONTINUATION;
use crate::support::http2::DATA;
use crate::support::http2::END_HEADERS;
use crate::support::http2::END_STREAM;
use crate::support::http2::HEADERS;
use crate::support::http2::PING;
use crate::support::http2::PREFACE;
use crate::support::http2::PRIORITY;
use crate::support::http2::Peer;
use crate::support::http2::RST_STREAM;
use crate::support::http2::SETTINGS;
use crate::support::http2::WINDOW_UPDATE;
use crate::support::http2::connect;
use crate::support::http2::frame;
use crate::support::http2::string;
use crate::support::listen;
use crate::support::until;

/// How long a flood may go on, on a machine that is busy. It takes a fraction of a second on one that is not.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of frames written at a time.
const PIECE: usize = 32 * 1024;

/// `GET http://a/public`, by HPACK's static table.
const REQUEST: &[u8] = b"\x82\x86\x01\x01a\x04\x07/public";
/// The same with a body to come.
const OPEN: &[u8] = b"\x83\x86\x01\x01a\x04\x07/public";

/// What a flood is made of: the frames of its `number`th wave.
struct Flood {
    name: &'static str,
    /// Sent first.
    opening: Vec<u8>,
    wave: fn(u32) -> Vec<u8>,
}

fn stream(number: u32) -> u32 {
    2 * number + 1
}

fn floods() -> Vec<Flood> {
    let plain = |name, wave| Flood { name, opening: Vec::new(), wave };
    // a request whose body never ends
    let open = frame(HEADERS, END_HEADERS, 1, OPEN);
    // one field of 4 KB in the table, and then 3000 times that field
    let large = [&b"\x40\x01x"[..], &string(&[b'y'; 4000])].concat();
    let bomb = [REQUEST, &large].concat();
    vec![
        plain("SETTINGS", |_| frame(SETTINGS, 0, 0, &[])),
        plain("PING", |_| frame(PING, 0, 0, &[0; 8])),
        plain("PRIORITY", |number| frame(PRIORITY, 0, stream(number % 1000), &[0, 0, 0, 0, 1])),
        plain("WINDOW_UPDATE", |_| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
        plain("an unknown kind", |_| frame(0xbe, 0, 0, b"nothing")),
        Flood { name: "empty DATA", opening: open, wave: |_| frame(DATA, 0, 1, &[]) },
        Flood {
            name: "CONTINUATION",
            opening: frame(HEADERS, 0, 1, REQUEST),
            wave: |_| frame(CONTINUATION, 0, 1, &[0x40, 1, b'a', 1, b'b']),
        },
        Flood {
            name: "empty CONTINUATION",
            opening: frame(HEADERS, 0, 1, REQUEST),
            wave: |_| frame(CONTINUATION, 0, 1, &[]),
        },
        plain("requests that are taken back", |number| {
            let request = frame(HEADERS, END_HEADERS | END_STREAM, stream(number), REQUEST);
            [request, frame(RST_STREAM, 0, stream(number), &[0, 0, 0, 8])].concat()
        }),
        Flood {
            name: "a request that is taken back again and again",
            opening: frame(HEADERS, END_HEADERS | END_STREAM, 1, REQUEST),
            wave: |_| frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]),
        },
        plain("requests that the server is made to reset", |number| {
            let request = frame(HEADERS, END_HEADERS | END_STREAM, stream(number), REQUEST);
            [request, frame(WINDOW_UPDATE, 0, stream(number), &[0, 0, 0, 0])].concat()
        }),
        plain("requests that the server is made to reset by too large a window", |number| {
            let request = frame(HEADERS, END_HEADERS, stream(number), OPEN);
            let more = frame(WINDOW_UPDATE, 0, stream(number), &[0x7f, 0xff, 0xff, 0xff]);
            [request, more.clone(), more].concat()
        }),
        plain("requests that the server is made to reset by too much content", |number| {
            let length = [OPEN, b"\x0f\x0d\x011"].concat();
            let request = frame(HEADERS, END_HEADERS, stream(number), &length);
            [request, frame(DATA, END_STREAM, stream(number), b"xy")].concat()
        }),
        plain("requests that the server is made to reset by content after their end", |number| {
            let request = frame(HEADERS, END_HEADERS | END_STREAM, stream(number), REQUEST);
            [request, frame(DATA, END_STREAM, stream(number), b"x")].concat()
        }),
        plain("malformed requests", |number| {
            frame(HEADERS, END_HEADERS | END_STREAM, stream(number), b"\x82")
        }),
        plain("requests above the limit", |number| frame(HEADERS, END_HEADERS, stream(number), OPEN)),
        plain("trailers that do not end", |number| {
            let request = frame(HEADERS, END_HEADERS, stream(number), OPEN);
            [request, frame(HEADERS, END_HEADERS, stream(number), b"\x0f\x01\x01x")].concat()
        }),
        Flood {
            name: "a field section that grows as it is decoded",
            opening: frame(HEADERS, END_HEADERS | END_STREAM, 1, &bomb),
            wave: |number| {
                let repeated = [REQUEST, &[0xbe; 3000]].concat();
                frame(HEADERS, END_HEADERS | END_STREAM, stream(number + 1), &repeated)
            },
        },
    ]
}

/// For how long the proxy lets the flood go on.
async fn lasts(world: &World, flood: &Flood) -> Duration {
    let connection = TcpStream::connect(world.proxy).await.unwrap();
    let (mut reading, mut writing) = connection.into_split();
    let begun = Instant::now();
    let sending = async {
        let hello = [PREFACE.to_vec(), frame(SETTINGS, 0, 0, &[]), flood.opening.clone()];
        writing.write_all(&hello.concat()).await?;
        let mut number = 0;
        loop {
            let mut piece = Vec::with_capacity(PIECE);
            while piece.len() < PIECE {
                piece.extend((flood.wave)(number));
                number += 1;
            }
            writing.write_all(&piece).await?;
        }
        #[allow(unreachable_code)] // says what the type of the error is
        Ok::<(), std::io::Error>(())
    };
    let receiving = async {
        let mut nowhere = [0; 16 * 1024];
        while reading.read(&mut nowhere).await.is_ok_and(|count| count > 0) {}
    };
    tokio::select! {
        sent = sending => drop(sent),
        () = receiving => {}
        () = tokio::time::sleep(PATIENCE) => {}
    }
    begun.elapsed()
}

/// Somebody who is refused without the API's help, at once and again and again.
async fn bystander(world: &World, flood: &str) {
    loop {
        let asked = tokio::time::timeout(PATIENCE, world.get_anonymously("/orders"));
        let answer = asked.await.unwrap_or_else(|_| panic!("{flood}: nobody else is answered"));
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{flood}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_ends_with_its_connection_and_nobody_else_notices() {
    let world = World::new().await;
    for flood in floods() {
        let before = world.echo.requests();
        let lasted = tokio::select! {
            lasted = lasts(&world, &flood) => lasted,
            () = bystander(&world, flood.name) => unreachable!(),
        };
        let let_through = world.echo.requests() - before;
        assert!(lasted < PATIENCE, "{}: {lasted:?}", flood.name);
        assert!(let_through <= 200, "{}: {let_through} requests", flood.name);
        assert_eq!(world.get_anonymously("/public").await.status, StatusCode::OK, "{}", flood.name);
    }
}

/// An API whose every answer is 8 MiB.
async fn generous() -> SocketAddr {
    let listener = listen().await;
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, piece) = (Vec::new(), vec![b'x'; 64 * 1024]);
                while socket.read_buf(&mut read).await.is_ok_and(|count| count > 0) {
                    while let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
                        read.drain(..end + 4);
                        let head =
                            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 128 * piece.len());
                        socket.write_all(head.as_bytes()).await?;
                        for _ in 0..128 {
                            socket.write_all(&piece).await?;
                        }
                    }
                }
                std::io::Result::Ok(())
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_nobody_reads_are_given_up() {
    let world = World::with(Plan {
        // the longest stall is 30 seconds, or this
        sections: "limits: { idle_timeout: 1s }",
        routes: "\n  all: { match: /, auth: anonymous, upstream: generous }\n",
        upstreams: format!(", generous: {{ url: \"http://{}\" }}", generous().await).leak(),
        ..Plan::default()
    })
    .await;
    let mut peers = Vec::new();
    for _ in 0..20 {
        // windows as large as there are: only that the peer does not read holds the answers back
        let mut peer = Peer::greeted(connect(world.proxy.port(), None).await, &[(4, 0x7fff_ffff)]).await;
        peer.send(&frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0, 0])).await;
        let get = |number| frame(HEADERS, END_HEADERS | END_STREAM, stream(number), REQUEST);
        peer.send(&(0..25).flat_map(get).collect::<Vec<u8>>()).await;
        peers.push(peer);
    }
    let open = "obo_connections{listener=\"default\"} ";
    until("they are cut off", async || world.metric(open).await == Some(0.0)).await;
    for mut peer in peers {
        let seen = peer.until(|_| false).await;
        assert!(!seen.iter().any(|it| it.kind == DATA && it.ends_stream()), "an answer was read whole");
    }
    assert_eq!(world.get_anonymously("/").await.status, StatusCode::OK);
}
