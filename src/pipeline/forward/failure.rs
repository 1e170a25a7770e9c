//! What a client's error means, found in the chain of its sources.

use std::error::Error as StdError;
use std::io;

use hyper_util::client::legacy;

use crate::pipeline::forward::Error;
use crate::pipeline::forward::Phase;

/// The error of a request that got no answer.
pub fn classify(error: legacy::Error) -> Error {
    let is_connect = error.is_connect();
    let mut is_tls = false;
    let mut is_timeout = false;
    let mut is_bad_reply = false;
    let mut next: Option<&(dyn StdError + 'static)> = Some(&error);
    while let Some(cause) = next {
        is_tls |= cause.is::<rustls::Error>();
        if let Some(cause) = cause.downcast_ref::<hyper::Error>() {
            is_bad_reply |= cause.is_parse();
        }
        next = match cause.downcast_ref::<io::Error>() {
            Some(io) => {
                is_timeout |= io.kind() == io::ErrorKind::TimedOut;
                // an I/O error hides the error it wraps from its own chain
                io.get_ref().map(|wrapped| wrapped as &(dyn StdError + 'static))
            }
            None => cause.source(),
        };
    }
    match (is_connect, is_tls) {
        (_, true) => Error::Tls(error.into()),
        (true, false) if is_timeout => Error::Timeout(Phase::Connect),
        (true, false) => Error::Connect(error.into()),
        (false, false) if is_bad_reply => Error::BadReply(Some(error.into())),
        (false, false) => Error::Reset(error.into()),
    }
}
