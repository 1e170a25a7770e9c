//! What must hold for any bytes, one file for each pure boundary. Fuzzing looks for bytes for which it does not; the ordinary tests
//! replay what is kept of them.

mod admin;
mod answer;
mod bearer;
mod certificate;
mod challenge;
mod claims;
mod config;
mod demand;
mod duration;
mod forwarded;
mod fragment;
mod frames;
mod head;
mod introspection;
mod json;
mod jwks;
mod jws;
mod material;
mod metadata;
mod path;
mod proxy_protocol;
mod resource;
mod seal;
mod signature;
mod traceparent;
mod websocket;

/// A property: it panics if the bytes break it.
pub type Check = fn(&[u8]);

/// Every target by its name, but for the one that takes the whole proxy.
pub const ALL: [(&str, Check); 25] = [
    ("admin", admin::check),
    ("answer", answer::check),
    ("bearer", bearer::check),
    ("certificate", certificate::check),
    ("challenge", challenge::check),
    ("claims", claims::check),
    ("config", config::check),
    ("demand", demand::check),
    ("duration", duration::check),
    ("forwarded", forwarded::check),
    ("fragment", fragment::check),
    ("frames", frames::check),
    ("head", head::check),
    ("introspection", introspection::check),
    ("json", json::check),
    ("jwks", jwks::check),
    ("jws", jws::check),
    ("metadata", metadata::check),
    ("path", path::check),
    ("proxy_protocol", proxy_protocol::check),
    ("resource", resource::check),
    ("seal", seal::check),
    ("signature", signature::check),
    ("traceparent", traceparent::check),
    ("websocket", websocket::check),
];
