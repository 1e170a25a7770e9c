//! Why an address cannot be bound, and what to do about it. Pure.

use std::io;

/// What to do about `error`, with which an address could not be bound.
pub fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another process listens there, perhaps the service itself, a container of the same pod or another obo-proxy: `ss -lntxp` shows which; stop it, or choose another address"
        }
        io::ErrorKind::AddrNotAvailable => {
            "no interface of this machine has that address: use 0.0.0.0, or one that it has"
        }
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 take the capability NET_BIND_SERVICE, and a Unix socket a directory that this user may write to: choose another address, or grant it"
        }
        io::ErrorKind::AlreadyExists => "move the file away, or choose another path",
        io::ErrorKind::NotFound => "make the directory of the socket, or mount it",
        _ => "compare the address with the interfaces of this machine",
    }
}

/// The same error, which says what to do as well.
pub fn explained(error: io::Error) -> io::Error {
    let remedy = remedy(&error);
    io::Error::new(error.kind(), Explained { error, remedy })
}

/// An error and what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{error}; {remedy}")]
struct Explained {
    error: io::Error,
    remedy: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_keeps_its_kind_and_says_what_to_do() {
        let taken = explained(io::Error::from_raw_os_error(98));
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        let text = taken.to_string();
        assert!(text.starts_with("Address already in use (os error 98); another process listens there"));
        assert!(text.contains("`ss -lntxp`"), "{text}");
    }
}
