//! What ends a WebSocket from between.

use std::time::Duration;

use obo_proxy::app::demo::entra::Entra;
use obo_proxy::app::demo::entra::settings::Settings;
use obo_proxy::domain::clock::Clock;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::PATIENCE;
use super::UP;
use super::Upstream;
use super::agreement;
use super::asking;
use super::bearer;
use super::code;
use super::echoed;
use super::rest;
use super::until;
use super::upgraded;
use crate::support::Plan;
use crate::support::World;
use crate::support::listen;

/// A world in which time goes by itself, and tokens are believed for a second more than they last.
async fn in_real_time(upstream: &Upstream) -> World {
    let clock = Clock::system();
    let entra = Entra::start(Settings::default(), listen().await, clock.clone()).await.unwrap();
    let world = World::around(upstream.plan("", "    clock_skew: 1s"), entra, clock).await;
    crate::support::until("it is ready", async || world.probes.is_ready()).await;
    world
}

#[tokio::test]
async fn when_token_a_ends_both_sides_are_told_so() {
    let upstream = Upstream::agreeing().await;
    let world = in_real_time(&upstream).await;
    let token = bearer(&world.token_for("user=alice&lifetime=2"));
    let began = Instant::now();
    let mut socket = upgraded(world.proxy, &asking("/ws", &token)).await;
    let mut free = upgraded(world.proxy, &asking("/open", &token)).await;
    echoed(&mut socket, UP).await;
    // the upstream sends back what it is told, its own close is not needed any more
    assert_eq!(code(&rest(&mut socket).await), 1008);
    let took = began.elapsed();
    assert!(took > Duration::from_secs(1) && took < Duration::from_secs(6), "{took:?}");
    drop(socket);
    // a token nobody asked for ends nothing
    echoed(&mut free, UP).await;
    assert_eq!(upstream.open(), 1);
}

#[tokio::test]
async fn a_frame_under_way_when_token_a_ends_is_not_cut_in_two() {
    let listener = listen().await;
    let upstream = Upstream {
        address: listener.local_addr().unwrap(),
        heads: Default::default(),
        open: Default::default(),
    };
    let world = in_real_time(&upstream).await;
    let token = bearer(&world.token_for("user=alice&lifetime=1"));
    let mut caller = TcpStream::connect(world.proxy).await.unwrap();
    caller.write_all(asking("/ws", &token).as_bytes()).await.unwrap();
    let (mut socket, _) = listener.accept().await.unwrap();
    until(&mut socket, "\r\n\r\n").await;
    socket.write_all(agreement("x").as_bytes()).await.unwrap();
    until(&mut caller, "\r\n\r\n").await;
    // a frame of 300 bytes, and half of another
    let mut frame = vec![0x82, 126, 1, 44];
    frame.extend([7; 300]);
    socket.write_all(&[&frame[..], &frame[..100]].concat()).await.unwrap();
    let mut down = vec![0; 404];
    caller.read_exact(&mut down).await.unwrap();
    // up there is no frame: that side is told at once, in a frame that is masked
    let up = rest(&mut socket).await;
    assert_eq!((code(&up), up[1] & 0x80), (1008, 0x80));
    socket.write_all(&frame[100..]).await.unwrap();
    let mut down = rest(&mut caller).await;
    assert_eq!(down[..204], frame[100..]);
    assert_eq!(code(&down.split_off(204)), 1008);
}

#[tokio::test]
async fn a_websocket_on_which_nothing_moves_is_closed() {
    let upstream = Upstream::agreeing().await;
    let world = World::with(upstream.plan(", timeouts: { idle: 500ms }", "")).await;
    let mut socket = upgraded(world.proxy, &asking("/open", "")).await;
    let began = Instant::now();
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(250)).await;
        echoed(&mut socket, UP).await;
    }
    assert_eq!(rest(&mut socket).await, b"");
    assert!(began.elapsed() >= Duration::from_millis(1_500));
}

#[tokio::test]
async fn a_websocket_is_told_when_the_time_to_stop_is_over_and_not_before() {
    let upstream = Upstream::agreeing().await;
    let mut world = World::with(Plan { drain: "1s", ..upstream.plan("", "") }).await;
    let mut socket = upgraded(world.proxy, &asking("/open", "")).await;
    echoed(&mut socket, UP).await;
    world.stop();
    let began = Instant::now();
    echoed(&mut socket, UP).await;
    assert_eq!(code(&rest(&mut socket).await), 1001);
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    drop(socket);
    tokio::time::timeout(PATIENCE, world.stopped()).await.unwrap();
}

#[tokio::test]
async fn a_caller_that_goes_away_takes_the_connection_upstream_with_it() {
    let upstream = Upstream::agreeing().await;
    let world = upstream.world().await;
    let mut socket = upgraded(world.proxy, &asking("/open", "")).await;
    echoed(&mut socket, UP).await;
    assert_eq!(upstream.open(), 1);
    drop(socket);
    crate::support::until("the connection upstream is closed", async || upstream.open() == 0).await;
    crate::support::until("no connection is left", async || {
        world.metric("obo_connections{listener=\"default\"} ").await == Some(0.0)
    })
    .await;
}
