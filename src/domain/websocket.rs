//! How a caller asks for a WebSocket.

/// A request that wants to go on as a WebSocket, in the words of its version of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebSocket {
    /// `Connection: Upgrade` and `Upgrade: websocket` in HTTP/1.1 (RFC 6455 section 4.1).
    Upgrade,
    /// CONNECT with `:protocol` in HTTP/2 (RFC 8441 section 5).
    ExtendedConnect,
}
