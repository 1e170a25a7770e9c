//! HTTP/2 peers that send what costs them nothing are cut off, and nobody else notices.

use std::time::Duration;

use http::StatusCode;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::support::World;

/// How long a flood may go on, on a machine that is busy. It takes a fraction of a second on one that is not.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of frames written at a time.
const PIECE: usize = 32 * 1024;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// `GET http://a/public`, by HPACK's static table.
const REQUEST: &[u8] = b"\x82\x86\x01\x01a\x04\x07/public";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

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
    let open = frame(HEADERS, END_HEADERS, 1, b"\x83\x86\x01\x01a\x04\x07/public");
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
        plain("requests that the server is made to reset", |number| {
            let request = frame(HEADERS, END_HEADERS | END_STREAM, stream(number), REQUEST);
            [request, frame(WINDOW_UPDATE, 0, stream(number), &[0, 0, 0, 0])].concat()
        }),
        plain("malformed requests", |number| {
            frame(HEADERS, END_HEADERS | END_STREAM, stream(number), b"\x82")
        }),
    ]
}

/// For how long the proxy lets the flood go on.
async fn lasts(world: &World, flood: &Flood) -> Duration {
    let connection = TcpStream::connect(world.proxy).await.unwrap();
    let (mut reading, mut writing) = connection.into_split();
    let begun = Instant::now();
    let sending = async {
        let hello =
            [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(SETTINGS, 0, 0, &[]), flood.opening.clone()];
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

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_ends_with_its_connection_and_nobody_else_notices() {
    let world = World::new().await;
    for flood in floods() {
        let before = world.echo.requests();
        let lasted = lasts(&world, &flood).await;
        let let_through = world.echo.requests() - before;
        assert!(lasted < PATIENCE, "{}: {lasted:?}", flood.name);
        assert!(let_through <= 200, "{}: {let_through} requests", flood.name);
        assert_eq!(world.get_anonymously("/public").await.status, StatusCode::OK, "{}", flood.name);
    }
}
