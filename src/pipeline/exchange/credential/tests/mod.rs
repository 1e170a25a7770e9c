//! The credentials by themselves: what is signed, what is read, what is fetched.

mod assertions;
mod managed_identity;
pub mod pair;
mod rotation;
