//! What becomes of a connection whose HTTP is over: bytes, both ways.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;

/// A connection without its protocol.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

/// The far end of a tunnel, with all that is to be known of it.
pub trait Far: Send {
    /// Carries bytes between it and `near` until either side ends it, its terms do, or `leaving` resolves.
    fn join(
        self: Box<Self>,
        near: Box<dyn Duplex>,
        leaving: Pin<Box<dyn Future<Output = ()> + Send>>,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// A far end on its way to the connection it is joined to: it travels with the answer that announces it. Clones share it,
/// and the first that joins has it.
#[derive(Clone)]
pub struct Tunnel(Arc<Mutex<Option<Box<dyn Far>>>>);

impl Tunnel {
    /// A tunnel to `far`.
    pub fn new(far: impl Far + 'static) -> Self {
        Self(Arc::new(Mutex::new(Some(Box::new(far)))))
    }

    /// Joins `near` to the far end. `None` if it was joined to another.
    pub fn join(
        &self,
        near: Box<dyn Duplex>,
        leaving: Pin<Box<dyn Future<Output = ()> + Send>>,
    ) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        let far = self.0.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        Some(far.join(near, leaving))
    }
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tunnel(..)")
    }
}
