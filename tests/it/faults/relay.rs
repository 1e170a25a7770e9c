//! The relay does what it is told: what is shown with it is worth no more.

use std::io;
use std::io::ErrorKind;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;

use crate::support::listen;
use crate::support::relay::CLEAR;
use crate::support::relay::Conduct;
use crate::support::relay::Fault;
use crate::support::relay::Relay;
use crate::support::until;

const SAID: &[u8] = b"0123456789";

/// Long enough for what is not to come, where nothing tells of its absence.
const A_WHILE: Duration = Duration::from_millis(100);

/// Both ends of a connection through a relay.
struct Line {
    relay: Relay,
    listener: TcpListener,
}

impl Line {
    async fn new() -> Self {
        let listener = listen().await;
        Self { relay: Relay::to(listener.local_addr().unwrap()), listener }
    }

    async fn connected(&self) -> (TcpStream, TcpStream) {
        let caller = TcpStream::connect(self.relay.address()).await.unwrap();
        (caller, self.listener.accept().await.unwrap().0)
    }
}

/// How long anything may take, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// What comes until the end, and what that was like; where there is none, until so much has come and nothing more for a while.
async fn heard(stream: &mut TcpStream, least: usize) -> (Vec<u8>, Option<io::Result<usize>>) {
    let mut bytes = Vec::new();
    loop {
        let time = if bytes.len() < least { PATIENCE } else { A_WHILE };
        match tokio::time::timeout(time, stream.read_buf(&mut bytes)).await {
            Ok(Ok(0)) => return (bytes, Some(Ok(0))),
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return (bytes, Some(Err(error))),
            Err(_) => return (bytes, None),
        }
    }
}

#[tokio::test]
async fn each_fault_is_what_it_is_called_in_either_direction() {
    for (fault, came, end) in [
        (Fault::None, SAID, "open"),
        (Fault::Late(Duration::from_millis(20)), SAID, "open"),
        (Fault::Drip(Duration::from_millis(2)), SAID, "open"),
        (Fault::Garble(4), b"0123\xcb56789", "open"),
        (Fault::Garble(0), b"\xcf123456789", "open"),
        (Fault::Garble(10), SAID, "open"),
        (Fault::Say(b"and "), b"and 0123456789", "open"),
        (Fault::Stall(4), b"0123", "open"),
        (Fault::Stall(10), SAID, "open"),
        (Fault::HalfClose(4), b"0123", "closed"),
        (Fault::Cut(4), b"0123", "closed"),
        (Fault::Cut(0), b"", "closed"),
        (Fault::Cut(10), SAID, "open"),
        (Fault::Reset(4), b"0123", "reset"),
        (Fault::Reset(10), SAID, "open"),
        (Fault::ResetNow, b"", "reset"),
    ] {
        for conduct in [Conduct::up(fault), Conduct::down(fault)] {
            let line = Line::new().await;
            let (mut caller, mut server) = line.connected().await;
            line.relay.all(conduct);
            let (sender, receiver) = match conduct.up == fault {
                true => (&mut caller, &mut server),
                false => (&mut server, &mut caller),
            };
            let _ = sender.write_all(SAID).await;
            let least = if end == "open" { came.len() } else { usize::MAX };
            let (bytes, ended) = heard(receiver, least).await;
            let ended = match ended {
                None => "open",
                Some(Ok(_)) => "closed",
                Some(Err(error)) if error.kind() == ErrorKind::ConnectionReset => "reset",
                Some(Err(error)) => panic!("{conduct:?}: {error}"),
            };
            // what was not read yet may go with a reset
            let came = if ended == "reset" && came.starts_with(&bytes) { &bytes[..] } else { came };
            assert_eq!((&bytes[..], ended), (came, end), "{conduct:?}");
        }
    }
}

#[tokio::test]
async fn a_way_that_is_closed_leaves_the_other_one_open() {
    let line = Line::new().await;
    let (mut caller, mut server) = line.connected().await;
    line.relay.all(Conduct::up(Fault::HalfClose(4)));
    caller.write_all(SAID).await.unwrap();
    assert_eq!(heard(&mut server, usize::MAX).await.0, b"0123");
    server.write_all(SAID).await.unwrap();
    assert_eq!(heard(&mut caller, SAID.len()).await.0, SAID);
}

#[tokio::test]
async fn what_is_said_counts_for_open_connections_new_ones_or_the_next_one() {
    let line = Line::new().await;
    let (stall, cut) = (Conduct::up(Fault::Stall(0)), Conduct::up(Fault::Cut(0)));
    let (mut first, mut first_server) = line.connected().await;
    until("it is open", async || line.relay.open() == 1).await;
    line.relay.open_ones(stall);
    line.relay.next(cut);
    let (mut second, mut second_server) = line.connected().await;
    let (mut third, mut third_server) = line.connected().await;
    for caller in [&mut first, &mut second, &mut third] {
        caller.write_all(SAID).await.unwrap();
    }
    assert_eq!(heard(&mut third_server, SAID.len()).await.0, SAID);
    assert!(matches!(heard(&mut second_server, usize::MAX).await, (bytes, Some(Ok(0))) if bytes.is_empty()));
    assert!(matches!(heard(&mut first_server, 0).await, (bytes, None) if bytes.is_empty()));
    // what was held up goes on
    line.relay.open_ones(CLEAR);
    assert_eq!(heard(&mut first_server, SAID.len()).await.0, SAID);
    assert_eq!((line.relay.connections(), line.relay.bytes()), (3, (30, 0)));
    until("the one that was cut is gone", async || line.relay.open() == 2).await;
}

#[tokio::test]
async fn connections_are_refused_until_they_are_taken_again() {
    let line = Line::new().await;
    let (mut caller, mut server) = line.connected().await;
    for _ in 0..3 {
        line.relay.refuse();
        let refused = TcpStream::connect(line.relay.address()).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        line.relay.take();
        line.connected().await;
    }
    // what there was goes on
    caller.write_all(SAID).await.unwrap();
    assert_eq!(heard(&mut server, SAID.len()).await.0, SAID);
}
