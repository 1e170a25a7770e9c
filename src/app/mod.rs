//! Floor 5: builds the machine and runs it.
//!
//! **In:** a command line and an environment. **Out:** an exit code. **Never:** decides what becomes of a request.

pub mod demo;
