//! `upstreams`.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::wire::scalar::DurationText;

/// A back end.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("required" = ["url"]))]
pub struct Upstream {
    /// Where it is: `http://` or `https://`, host, port, and a path that every forwarded path is appended to; or `unix:` and
    /// the path of a socket, as in `unix:/run/app.sock`, which takes no other path.
    /// No default. Over plain http, whoever shares the network reads the tokens: for loopback only.
    pub url: Option<String>,
    /// How long to wait for it.
    pub timeouts: Option<Timeouts>,
    /// Which HTTP version it is spoken to in: `auto`, `always` or `never` HTTP/2.
    /// Default: `auto`, which lets TLS negotiate it and speaks HTTP/1.1 without TLS. `always` to a server that knows
    /// only HTTP/1.1 answers every request with 502, and lets no WebSocket through.
    pub http2: Option<Http2>,
    /// How its certificate is verified.
    pub tls: Option<Tls>,
}

/// How long to wait for an upstream.
#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Timeouts {
    /// Bound on connecting.
    /// Default: `2s`. Too short answers with 502 while a back end is merely busy.
    pub connect: Option<DurationText>,
    /// Until the head of the response.
    /// Default: `30s`. Too short answers slow requests with 504, although the back end goes on working on them.
    pub response: Option<DurationText>,
    /// Without a byte in either direction, after the head of the response; of a WebSocket too.
    /// Default: `90s`. Too short cuts streams, long polls and WebSockets that are quiet.
    pub idle: Option<DurationText>,
}

/// Which HTTP version.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Http2 {
    /// As TLS negotiates; HTTP/1.1 without TLS.
    Auto,
    /// HTTP/2 only, without TLS too.
    Always,
    /// HTTP/1.1 only.
    Never,
}

/// How an upstream's certificate is verified, and which one of ours it is shown.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// Whose certificates are believed: `system`, or a PEM file of roots that replaces the system's.
    /// Default: `system`. With the wrong roots every request is answered with 502.
    pub ca: Option<String>,
    /// The name that the certificate must carry, and that is sent as SNI.
    /// Default: the host of the URL.
    pub server_name: Option<String>,
    /// Our certificate, for upstreams that ask for one.
    /// Default: none.
    pub client_certificate: Option<ClientCertificate>,
}

/// A certificate and its key.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("required" = ["file", "key"]))]
pub struct ClientCertificate {
    /// A PEM file with the certificate, then its issuers.
    /// No default.
    pub file: Option<String>,
    /// A PEM file with the private key.
    /// No default.
    pub key: Option<String>,
}
