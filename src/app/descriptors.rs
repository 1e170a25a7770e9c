//! How many files may be open, and so how many connections there can be: each takes two, one towards the upstream. Without a
//! reserve, callers who do nothing would take those that exchanges and upstreams need.

use rustix::process::Resource;
use rustix::process::Rlimit;
use rustix::process::getrlimit;
use rustix::process::setrlimit;

/// Files that are no callers' and no upstreams': listeners, runtimes, probes, identity providers, Redis, files that are read.
const KEPT: u64 = 100;

/// How many connections there can be of those that are `wanted`. As many files as that takes may be open from now on, as far as
/// the process may say so itself.
pub fn room_for(wanted: usize) -> usize {
    let needed = u64::try_from(wanted).unwrap_or(u64::MAX).saturating_mul(2).saturating_add(KEPT);
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let allowed = maximum.map_or(needed, |maximum| maximum.min(needed));
    let files = match current {
        Some(current) if current < allowed => {
            let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(allowed), maximum });
            if raised.is_ok() { allowed } else { current }
        }
        Some(current) => current,
        None => needed,
    };
    let possible = possible(wanted, files);
    if possible < wanted {
        tracing::info!(
            wanted,
            possible,
            files,
            "fewer connections than `limits.connections`: too few files may be open"
        );
    }
    possible
}

fn possible(wanted: usize, files: u64) -> usize {
    let room = files.saturating_sub(KEPT) / 2;
    wanted.min(usize::try_from(room).unwrap_or(usize::MAX)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_files_beyond_the_reserve_are_for_callers() {
        for (wanted, files, expected) in [
            (10_000, 1_048_576, 10_000),
            (10_000, 20_100, 10_000),
            (10_000, 20_099, 9_999),
            (10_000, 1_024, 462),
            (10, 1_024, 10),
            (10_000, 100, 1),
            (10_000, 0, 1),
        ] {
            assert_eq!(possible(wanted, files), expected, "{wanted} {files}");
        }
    }
}
