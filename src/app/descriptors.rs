//! How many files may be open, and so how many connections there can be: callers' and, of their own, those to upstreams, which in
//! HTTP/2 are many for each caller's. Without a reserve, callers would take those that exchanges and reloads need.

use rustix::process::Resource;
use rustix::process::Rlimit;
use rustix::process::getrlimit;
use rustix::process::setrlimit;

/// Files that are no callers' and no upstreams': listeners, runtimes, probes, identity providers, Redis, files that are read.
const KEPT: u64 = 100;
/// Connections to upstreams for each caller's: two, for an upstream has half of them at most; and one more for streams, where
/// that may be.
const LEAST_EACH: u64 = 2;
const WANTED_EACH: u64 = 3;
/// More files than that are not asked for.
const MOST: u64 = 1 << 20;
/// Whoever has room for fewer callers should know.
const FEW: usize = 100;

/// How many connections there can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// From callers.
    pub callers: usize,
    /// To upstreams.
    pub upstreams: usize,
}

/// How many connections there can be where so many of callers are `wanted`. As many files as that takes may be open from now on,
/// as far as the process may say so itself.
pub fn room_for(wanted: usize) -> Room {
    let needed = u64::try_from(wanted).unwrap_or(u64::MAX).saturating_mul(1 + WANTED_EACH);
    let needed = needed.saturating_add(KEPT).min(MOST);
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let allowed = maximum.map_or(needed, |maximum| maximum.min(needed));
    let files = match current {
        Some(current) if current < allowed => {
            let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(allowed), maximum });
            if raised.is_ok() { allowed } else { current }
        }
        Some(current) => current,
        None => u64::MAX,
    };
    let room = divided(wanted, files);
    let possible = room.callers;
    let told = "fewer connections than `limits.connections`: too few files may be open";
    if possible < wanted.min(FEW) {
        tracing::warn!(wanted, possible, files, "{told}");
    } else if possible < wanted {
        tracing::info!(wanted, possible, files, "{told}");
    }
    room
}

fn divided(wanted: usize, files: u64) -> Room {
    let all = files.saturating_sub(KEPT);
    let callers = u64::try_from(wanted).unwrap_or(u64::MAX).min(all / (1 + LEAST_EACH));
    let count = |files: u64| usize::try_from(files).unwrap_or(usize::MAX).max(1);
    Room { callers: count(callers), upstreams: count(all - callers) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_third_of_the_files_beyond_the_reserve_at_most_are_for_callers_and_upstreams_have_the_rest() {
        for (wanted, files, callers, upstreams) in [
            (10_000, 1_048_576, 10_000, 1_038_476),
            (10_000, 40_100, 10_000, 30_000),
            (10_000, 30_100, 10_000, 20_000),
            (10_000, 30_099, 9_999, 20_000),
            (10_000, 1_024, 308, 616),
            (10_000, 300, 66, 134),
            (10, 1_024, 10, 914),
            (10_000, 100, 1, 1),
            (10_000, 0, 1, 1),
        ] {
            assert_eq!(divided(wanted, files), Room { callers, upstreams }, "{wanted} {files}");
        }
    }
}
