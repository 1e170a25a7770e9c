//! Floor 4: the life of one request.

pub mod route;
