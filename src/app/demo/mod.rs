//! The world around the proxy, in one process: an identity provider and an API to forward to.
//!
//! **In:** listeners on loopback. **Out:** servers that run until their handle is dropped. **Never:** holds a real
//! secret, or believes what it receives: the emulated Entra checks every request as strictly as the real one documents.

#[cfg(test)]
mod caller;
pub mod echo;
pub mod entra;
pub mod frames;
