//! Floor 4: the life of one request.
//!
//! **In:** a socket. **Out:** an answer. **Never:** one stage's business inside another.

pub mod exchange;
