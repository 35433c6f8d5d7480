use std::cell::OnceCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gatepost_meter::UnixSeconds;

/// The time of calendars: whose day, week and month quotas count in, and by which signatures, tokens and policies are
/// judged.
#[derive(Debug, Clone, Default)]
pub enum WallClock {
    /// This machine's.
    #[default]
    System,
    /// One that somebody else sets, in seconds since 1970 in UTC. It may stand still, and be set back.
    Set(Arc<AtomicI64>),
}

/// A moment on a wall clock: read when it is first asked for, and the same from then on.
#[derive(Debug)]
pub(crate) struct Moment<'c> {
    wall: &'c WallClock,
    read: OnceCell<SystemTime>,
}

impl WallClock {
    /// Seconds since 1970 in UTC.
    #[must_use]
    pub fn now(&self) -> UnixSeconds {
        seconds(self.time())
    }

    /// As precise as the clock is.
    pub(crate) fn time(&self) -> SystemTime {
        match self {
            Self::System => SystemTime::now(),
            Self::Set(seconds) => {
                let seconds = seconds.load(Ordering::Acquire);
                let away = Duration::from_secs(seconds.unsigned_abs());
                let time = if seconds < 0 { UNIX_EPOCH.checked_sub(away) } else { UNIX_EPOCH.checked_add(away) };
                time.unwrap_or(UNIX_EPOCH)
            }
        }
    }

    /// The moment at which somebody first asks for it.
    pub(crate) fn moment(&self) -> Moment<'_> {
        Moment { wall: self, read: OnceCell::new() }
    }
}

impl<'c> Moment<'c> {
    /// Seconds since 1970 in UTC.
    pub(crate) fn now(&self) -> UnixSeconds {
        seconds(self.time())
    }

    /// As precise as the clock is.
    pub(crate) fn time(&self) -> SystemTime {
        *self.read.get_or_init(|| self.wall.time())
    }

    /// The clock that it is read from.
    pub(crate) fn clock(&self) -> &'c WallClock {
        self.wall
    }
}

fn seconds(time: SystemTime) -> UnixSeconds {
    UnixSeconds(match time.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_secs()).map_or(i64::MIN, |seconds| -seconds),
    })
}
