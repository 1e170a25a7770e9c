//! What a client's error means, found in the chain of its sources.

use crate::net::causes;
use crate::net::dialer;
use crate::pipeline::forward::Error;
use crate::pipeline::forward::Phase;

/// The error of a request for which there was no connection.
pub fn unconnected(error: dialer::Error) -> Error {
    match error {
        dialer::Error::Connect(error) => Error::Connect(error.into()),
        dialer::Error::Tls(error) => Error::Tls(error.into()),
        dialer::Error::Timeout => Error::Timeout(Phase::Connect),
        dialer::Error::NoRoom => Error::NoRoom,
    }
}

/// The error of a request that got no answer over its connection.
pub fn unanswered(error: hyper::Error) -> Error {
    let mut is_tls = false;
    let mut is_bad_reply = false;
    for cause in causes(&error) {
        // in TLS 1.3 a server judges our certificate after the handshake
        is_tls |= cause.is::<rustls::Error>();
        is_bad_reply |= cause.downcast_ref().is_some_and(hyper::Error::is_parse);
    }
    match (is_tls, is_bad_reply) {
        (true, _) => Error::Tls(error.into()),
        (false, true) => Error::BadReply(Some(error.into())),
        (false, false) => Error::Reset(error.into()),
    }
}
