//! Floor 0: the words every other floor speaks. No I/O, no async, no environment.
//!
//! **In:** strings and bytes. **Out:** types that mean one thing. **Never:** reads a file, a socket or the real
//! clock (but for [`clock::Clock::system`], which is handed down from `app`).

pub mod bounded;
pub mod caller;
pub mod capacity;
pub mod clock;
pub mod derived;
pub mod digest;
pub mod holdings;
pub mod key_pair;
pub mod name;
pub mod paint;
pub mod peer;
pub mod printable;
pub mod scope;
pub mod secret;
pub mod tenant;
pub mod token;
pub mod websocket;
