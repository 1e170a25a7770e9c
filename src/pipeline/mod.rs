//! Floor 4: the life of one request.

pub mod accept;
pub mod forward;
pub mod route;
