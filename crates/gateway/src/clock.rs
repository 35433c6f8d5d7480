use gatepost_meter::Nanos;
use tokio::time::Instant;

/// The time of meters: nanoseconds since the gateway started.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { start: Instant::now() }
    }

    pub(crate) fn now(self) -> Nanos {
        self.at(Instant::now())
    }

    pub(crate) fn at(self, instant: Instant) -> Nanos {
        Nanos(u64::try_from(instant.saturating_duration_since(self.start).as_nanos()).unwrap_or(u64::MAX))
    }
}
