use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use gatepost_meter::UnixSeconds;

/// The time of calendars: whose day, week and month quotas count in.
#[derive(Debug, Clone, Default)]
pub enum WallClock {
    /// This machine's.
    #[default]
    System,
    /// One that somebody else sets, in seconds since 1970 in UTC. It may stand still, and be set back.
    Set(Arc<AtomicI64>),
}

impl WallClock {
    /// Seconds since 1970 in UTC.
    #[must_use]
    pub fn now(&self) -> UnixSeconds {
        UnixSeconds(match self {
            Self::System => match SystemTime::now().duration_since(UNIX_EPOCH) {
                Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
                Err(before) => i64::try_from(before.duration().as_secs()).map_or(i64::MIN, |seconds| -seconds),
            },
            Self::Set(seconds) => seconds.load(Ordering::Acquire),
        })
    }
}
