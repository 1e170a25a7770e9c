//! The addresses for operators, by raw requests: nothing is there but what the pages name, to no method but theirs.

use std::net::SocketAddr;

use crate::support::Plan;
use crate::support::World;
use crate::support::raw;

async fn world() -> World {
    World::with(Plan { sections: "admin: { address: \"127.0.0.1:0\" }", ..Plan::default() }).await
}

async fn status(address: SocketAddr, method: &str, path: &str, more: &str) -> String {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{more}\r\n");
    let answer = raw(address, &request).await;
    answer.split(' ').nth(1).unwrap_or(&answer).to_owned()
}

#[tokio::test]
async fn there_is_nothing_to_debug_dump_or_stop() {
    let world = world().await;
    for address in [world.telemetry, world.admin.unwrap()] {
        for path in [
            "/debug",
            "/debug/pprof/",
            "/debug/pprof/heap",
            "/config_dump",
            "/config",
            "/env",
            "/actuator/env",
            "/quitquitquit",
            "/shutdown",
            "/heapdump",
            "/server-status",
            "/.well-known/openid-configuration",
            "/api/v1/../v1/status",
            "/api/v1/config%00",
            "/livez/../metrics",
        ] {
            for method in ["GET", "POST"] {
                let status = status(address, method, path, "Content-Length: 0\r\n").await;
                assert!(["404", "405", "400"].contains(&status.as_str()), "{method} {path}: {status}");
            }
        }
    }
}

#[tokio::test]
async fn probes_and_metrics_are_read_and_nothing_else() {
    let world = world().await;
    for path in ["/livez", "/startupz", "/metrics"] {
        for (method, expected) in [
            ("GET", "200"),
            ("HEAD", "200"),
            ("POST", "405"),
            ("PUT", "405"),
            ("DELETE", "405"),
            ("OPTIONS", "405"),
            ("TRACE", "405"),
            ("GARBAGE", "405"),
        ] {
            assert_eq!(status(world.telemetry, method, path, "").await, expected, "{method} {path}");
        }
    }
    // a body is not waited for
    let half = "Content-Length: 1000000\r\n";
    assert_eq!(status(world.telemetry, "POST", "/metrics", half).await, "405");
    let answer =
        raw(world.telemetry, "CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .await;
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
}
