//! How what is counted ended, in words.

/// How a look-up in the cache went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheResult {
    /// A live token B was there.
    Hit,
    /// Nothing usable was there.
    Miss,
    /// A live token B was there, and its renewal was begun.
    Stale,
    /// A live token B was in the tier that proxies share.
    Shared,
}

impl CacheResult {
    /// The label value and log word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Stale => "stale",
            Self::Shared => "shared",
        }
    }
}

/// What became of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanResult {
    /// The collector has it.
    Exported,
    /// There was no room for it in the queue.
    Dropped,
    /// The collector did not take it.
    Failed,
}

impl SpanResult {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Exported => "ok",
            Self::Dropped => "queue_full",
            Self::Failed => "export_failed",
        }
    }
}

/// How a TLS handshake with a caller ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// With a signature of ours, which is what costs.
    Full,
    /// With a ticket of an earlier one.
    Resumed,
    /// With no connection.
    Failed,
}

impl Handshake {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Resumed => "resumed",
            Self::Failed => "error",
        }
    }
}
