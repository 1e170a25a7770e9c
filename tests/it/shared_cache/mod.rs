//! Real proxies that share a real Redis, so that one is warm by what another fetched; and whatever becomes of Redis or of
//! what is in it, requests go on with the right tokens.

mod bursts;
mod evictions;
mod leases;
mod load;
mod outages;
mod sharing;
mod tampering;
mod topologies;
