//! Where callers, probes, scrapers and operators connect: whether an address is free, or whose it is, and the certificates.

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::Response;
use http::StatusCode;
use http_body_util::Full;
use serde_json::Value;
use tokio::net::TcpSocket;
use tokio::net::UnixStream;

use crate::app::doctor::certificate;
use crate::app::doctor::certificate::Summary;
use crate::app::doctor::check::Check;
use crate::app::doctor::check::Round;
use crate::app::doctor::check::Verdict;
use crate::app::doctor::provider::visible;
use crate::app::doctor::remedies;
use crate::config::Address;
use crate::config::Listener;
use crate::config::ListenerAddress;
use crate::config::ServerCertificate;
use crate::config::file;
use crate::net::client::Bounds;
use crate::net::client::Client;
use crate::pipeline::accept::tls::Terminator;
use crate::telemetry::logs;

/// What one for callers is called.
pub const KIND: &str = "listener";
/// What that for probes and scrapers is called.
pub const TELEMETRY: &str = "telemetry";

/// What that for operators is called.
pub const ADMIN: &str = "admin";

/// How long a look may take.
const LIMIT: Duration = Duration::from_secs(3);
/// What a proxy that runs here may take to answer, and how much.
const BOUNDS: Bounds = Bounds { timeout: Duration::from_secs(2), body: 4 * 1024 * 1024 };
/// What every obo-proxy says of itself.
const MARK: &str = "obo_build_info";
/// Longer than a chain of certificates is.
const LONGEST: u64 = 1024 * 1024;

/// Looks at a listener. A proxy that runs here answers at `telemetry`.
pub async fn look(round: &Round, settings: &Listener, telemetry: &Address) -> Vec<Check> {
    let address = settings.address.to_string();
    let addressing = async {
        let bound = match &settings.address {
            ListenerAddress::Tcp(address) => bind(address).await,
            ListenerAddress::Unix(path) => look_at_socket(path).await,
        };
        match bound {
            Ok(seen) => Verdict::well(seen),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && runs(telemetry).await => {
                Verdict::well("taken; an obo-proxy with this telemetry address is running")
            }
            Err(error) => remedies::bind(&error, &format!("listeners.{}.address", settings.name)),
        }
    };
    let mut checks = vec![round.check(address, LIMIT, addressing).await];
    if let Some(tls) = &settings.tls {
        let usable = round.check("tls", LIMIT, async {
            match Terminator::of(settings).await {
                Ok(_) => Verdict::well("certificates and keys go together"),
                Err(error) => Verdict::wrong(
                    logs::report(&error),
                    "put a certificate and its own key there, in PEM, readable by this user",
                ),
            }
        });
        checks.push(usable.await);
        for ServerCertificate { certificate, .. } in &tls.certificates {
            checks.extend(look_at_certificate(round, certificate));
        }
    }
    checks
}

/// Looks at the address of probes and metrics, and at the proxy that may run there.
pub async fn look_at_telemetry(round: &Round, address: &Address) -> Vec<Check> {
    let addressing = async {
        let error = match bind(address).await {
            Ok(seen) => return Verdict::well(seen),
            Err(error) => error,
        };
        if error.kind() != io::ErrorKind::AddrInUse || !runs(address).await {
            return remedies::bind(&error, "telemetry.address");
        }
        match ask(address, "/readyz").await {
            Some(answer) if answer.status().is_success() => {
                Verdict::well("an obo-proxy is running, and is ready")
            }
            Some(answer) => {
                let why = String::from_utf8_lossy(answer.body());
                let why: Vec<String> = why.split_whitespace().map(visible).collect();
                Verdict::doubtful(
                    format!("an obo-proxy is running, and is not ready: {}", why.join(" ")),
                    "what is wrong with its identity provider stands above; its own log says more",
                )
            }
            None => Verdict::unreachable("an obo-proxy is running, and does not answer", "look at its log"),
        }
    };
    vec![round.check(address.to_string(), LIMIT, addressing).await]
}

/// Looks at the address of the admin interface, which a proxy that answers at `telemetry` may have.
pub async fn look_at_admin(round: &Round, address: &Address, telemetry: &Address) -> Vec<Check> {
    let addressing = async {
        match bind(address).await {
            Ok(seen) => Verdict::well(seen),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && steers(address, telemetry).await => {
                Verdict::well("taken; the admin interface of an obo-proxy is running")
            }
            Err(error) => remedies::bind(&error, "admin.address"),
        }
    };
    vec![round.check(address.to_string(), LIMIT, addressing).await]
}

/// Whether `address` could be bound. Nobody can connect to it meanwhile: it does not listen.
async fn bind(address: &Address) -> io::Result<&'static str> {
    if address.port == 0 {
        return Ok("any free port");
    }
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in tokio::net::lookup_host((address.host.as_str(), address.port)).await? {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        match socket.bind(address) {
            Ok(()) => return Ok("free"),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

async fn look_at_socket(path: &Path) -> io::Result<&'static str> {
    let file = match fs::symlink_metadata(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            return match directory.map(fs::metadata) {
                Some(Err(_)) => Err(io::Error::new(io::ErrorKind::NotFound, "its directory is not there")),
                _ => Ok("free"),
            };
        }
        Err(error) => return Err(error),
    };
    if !file.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is no socket"));
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            Ok("free; what is there is left over")
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(error),
        _ => Err(io::ErrorKind::AddrInUse.into()),
    }
}

fn look_at_certificate(round: &Round, path: &Path) -> Option<Check> {
    let summary = Summary::of_pem(&file::read(path, LONGEST).ok()?)?;
    let now = round.clock.now();
    let days = certificate::days_until(summary.not_after, now);
    let remedy = "have it renewed: the file is read again by itself";
    let verdict = match days {
        _ if summary.not_after <= now => {
            let ago = certificate::in_days(certificate::days_until(now, summary.not_after));
            Verdict::wrong(format!("it ended {ago} ago"), remedy)
        }
        days if days < certificate::SOON => {
            Verdict::doubtful(format!("it ends in {}", certificate::in_days(days)), remedy)
        }
        days => Verdict::well(format!("it ends in {}", certificate::in_days(days))),
    };
    Some(Check::at_once(format!("certificate {}", path.display()), verdict))
}

/// Whether an obo-proxy answers there.
async fn runs(telemetry: &Address) -> bool {
    let metrics = ask(telemetry, "/metrics").await;
    metrics.is_some_and(|answer| answer.body().windows(MARK.len()).any(|window| window == MARK.as_bytes()))
}

/// Whether the admin interface of an obo-proxy answers at `address`: it says what it is to whoever may know, and to anybody
/// else that a token is missing, as others do too. Then it is taken for that of the proxy at `telemetry`.
async fn steers(address: &Address, telemetry: &Address) -> bool {
    match ask(address, "/api/v1/status").await {
        Some(answer) if answer.status() == StatusCode::OK => {
            let status: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
            ["version", "state", "listeners"].iter().all(|member| status.get(member).is_some())
        }
        Some(answer) if answer.status() == StatusCode::UNAUTHORIZED => runs(telemetry).await,
        _ => false,
    }
}

async fn ask(address: &Address, path: &str) -> Option<Response<Bytes>> {
    let mut address = address.clone();
    match address.host.as_str() {
        "0.0.0.0" => address.host = "127.0.0.1".into(),
        "::" => address.host = "::1".into(),
        _ => {}
    }
    let request = Request::get(format!("http://{address}{path}")).body(Full::default()).ok()?;
    Client::plain().ok()?.send(request, BOUNDS).await.ok()
}
