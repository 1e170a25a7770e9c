//! The proxy as a service: what the service manager is told over its socket.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use obo_proxy::app::demo::echo::Echo;
use obo_proxy::app::demo::entra::Entra;
use obo_proxy::app::demo::entra::settings::Settings;
use obo_proxy::app::server::Transport;
use obo_proxy::domain::clock::Clock;
use tokio::time::Instant;

use crate::support::listen;
use crate::support::process::Proxy;
use crate::support::process::config;
use crate::support::process::shell;
use crate::support::process::signal;

/// How long anything may take, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// A service manager's end of the socket.
struct Manager(UnixDatagram);

impl Manager {
    /// At an address that is a path or, with `@`, abstract.
    fn at(address: &str) -> Self {
        let at = match address.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name),
            None => SocketAddr::from_pathname(address),
        };
        let socket = UnixDatagram::bind_addr(&at.unwrap()).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket)
    }

    /// The next that it is told.
    fn told(&self) -> String {
        let mut buffer = [0; 4096];
        let length = self.0.recv(&mut buffer).expect("nothing was told");
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    /// The next that begins like that.
    fn told_of(&self, beginning: &str) -> String {
        let begun = Instant::now();
        loop {
            let told = self.told();
            if told.starts_with(beginning) {
                return told;
            }
            assert!(begun.elapsed() < PATIENCE, "{beginning} was not told");
        }
    }

    /// Whether there is nothing to be read.
    fn is_told_nothing(&self, within: Duration) -> bool {
        self.0.set_read_timeout(Some(within)).unwrap();
        let is_silent = self.0.recv(&mut [0; 1]).is_err();
        self.0.set_read_timeout(Some(PATIENCE)).unwrap();
        is_silent
    }
}

async fn echo() -> Echo {
    Echo::start(listen().await, Transport::Plain).unwrap()
}

/// A configuration without a need for keys.
fn anonymous(echo: &Echo) -> String {
    format!(
        r#"
listeners: {{ default: {{ address: "127.0.0.1:0" }} }}
routes: {{ all: {{ match: /, auth: anonymous, upstream: "http://{}" }} }}
telemetry: {{ address: "127.0.0.1:0", logs: {{ format: json }} }}
shutdown: {{ delay: 1s, drain: 5s }}
"#,
        echo.address()
    )
}

/// The kernel's monotonic time as its file says it, which is exact to 10 ms.
fn uptime() -> Duration {
    let text = std::fs::read_to_string("/proc/uptime").unwrap();
    Duration::from_secs_f64(text.split(' ').next().unwrap().parse().unwrap())
}

/// The time in what a manager is told of a reload.
fn reloading_since(told: &str) -> Duration {
    let time = told.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).unwrap();
    Duration::from_micros(time.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manager_is_told_of_the_start_of_reloads_and_of_the_end() {
    let echo = echo().await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    for address in [path.to_str().unwrap(), &format!("@obo-proxy-{}", std::process::id())] {
        let manager = Manager::at(address);
        tokio::task::block_in_place(|| {
            let proxy = Proxy::start(&anonymous(&echo), &[("NOTIFY_SOCKET", address)]);
            assert_eq!(manager.told(), "READY=1\nSTATUS=serving");

            let before = uptime();
            signal(proxy.id(), "HUP");
            let told = manager.told();
            assert!(told.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{told}");
            let since = reloading_since(&told);
            assert!(since >= before && since < before + PATIENCE, "{since:?} {before:?}");
            assert_eq!(manager.told(), "READY=1\nSTATUS=serving");

            proxy.write(&(anonymous(&echo) + "nonsense: true\n"));
            signal(proxy.id(), "HUP");
            manager.told_of("RELOADING=1");
            let told = manager.told();
            let refused = "READY=1\nSTATUS=serving; another configuration is refused: ";
            assert!(told.starts_with(refused) && told.contains("config.yaml:6:1: "), "{told}");

            // it is found without being asked for; this too is a reload
            proxy.write(&anonymous(&echo));
            manager.told_of("RELOADING=1");
            assert_eq!(manager.told(), "READY=1\nSTATUS=serving");

            signal(proxy.id(), "TERM");
            // the delay, the drain and what is done after them
            let stopping = "STOPPING=1\nEXTEND_TIMEOUT_USEC=16000000\nSTATUS=stopping";
            manager.told_of(stopping);
            let (code, log) = proxy.wait();
            assert_eq!(code, Some(0), "{log}");
        });
        assert!(manager.is_told_nothing(Duration::from_millis(50)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_start_is_over_when_there_are_keys_and_not_before() {
    let echo = echo().await;
    let listener = listen().await;
    let idp = listener.local_addr().unwrap();
    drop(listener);
    let address = format!("@obo-proxy-keys-{}", std::process::id());
    let manager = Manager::at(&address);
    let text = config(&format!("http://{idp}"), &echo.address().to_string(), "info");
    let environment = [("NOTIFY_SOCKET", address.as_str()), ("SECRET", "x")];
    let proxy = tokio::task::block_in_place(|| {
        let proxy = Proxy::start(&text, &environment);
        assert!(manager.is_told_nothing(Duration::from_millis(500)), "there are no keys yet");
        proxy
    });
    let listener = tokio::net::TcpListener::bind(idp).await.unwrap();
    let _entra = Entra::start(Settings::default(), listener, Clock::system()).await.unwrap();
    tokio::task::block_in_place(|| assert_eq!(manager.told(), "READY=1\nSTATUS=serving", "{}", proxy.log()));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_keys_the_start_is_over_after_a_while_and_the_status_says_so() {
    let echo = echo().await;
    let address = format!("@obo-proxy-keyless-{}", std::process::id());
    let manager = Manager::at(&address);
    // nobody listens on port 1
    let text = config("http://127.0.0.1:1", &echo.address().to_string(), "info");
    tokio::task::block_in_place(|| {
        let _proxy = Proxy::start(&text, &[("NOTIFY_SOCKET", &address), ("SECRET", "x")]);
        assert!(manager.is_told_nothing(Duration::from_secs(25)), "it waits for keys");
        assert_eq!(
            manager.told(),
            "READY=1\nSTATUS=no identity provider's keys could be loaded yet: callers with tokens get 503"
        );
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn the_watchdog_is_reassured_until_the_process_is_at_its_end() {
    let echo = echo().await;
    let address = format!("@obo-proxy-watchdog-{}", std::process::id());
    let manager = Manager::at(&address);
    tokio::task::block_in_place(|| {
        let environment = [("NOTIFY_SOCKET", address.as_str()), ("WATCHDOG_USEC", "600000")];
        let proxy = Proxy::start(&anonymous(&echo), &environment);
        manager.told_of("READY=1");
        let begun = Instant::now();
        (0..4).for_each(|_| drop(manager.told_of("WATCHDOG=1")));
        // one may have been due at once
        assert!(begun.elapsed() >= Duration::from_millis(850), "{:?}", begun.elapsed());
        assert_eq!(shell(&format!("curl -sf http://{}/livez", proxy.telemetry)), "ok\n");

        // a process that is stopped cannot say anything
        signal(proxy.id(), "STOP");
        while !manager.is_told_nothing(Duration::from_millis(900)) {}
        signal(proxy.id(), "CONT");
        manager.told_of("WATCHDOG=1");

        signal(proxy.id(), "TERM");
        manager.told_of("STOPPING=1");
        manager.told_of("WATCHDOG=1");
        assert_eq!(proxy.wait().0, Some(0));
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manager_that_cannot_be_told_keeps_nobody_from_starting() {
    let echo = echo().await;
    let cases = [("@", "/nowhere"), ("soon", "@obo-proxy-nobody-there")];
    for (watchdog, address) in cases {
        tokio::task::block_in_place(|| {
            let environment = [("NOTIFY_SOCKET", address), ("WATCHDOG_USEC", watchdog)];
            let proxy = Proxy::start(&anonymous(&echo), &environment);
            let said = proxy.lines(|message| message.starts_with("the service manager cannot be told"));
            assert_eq!(said.len(), 1, "{}", proxy.log());
            assert_eq!(proxy.stop().0, Some(0));
        });
    }
}
