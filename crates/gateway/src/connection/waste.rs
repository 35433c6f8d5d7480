//! What an HTTP/2 client may waste.

use tokio::time::Instant;

/// What an HTTP/2 client sends to no purpose: frames that get nothing done, and requests that it takes back at once.
/// Both are forgiven in time, so that it is the rate that counts; and a request for each that is answered, because a proxy's
/// connection carries those of many.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Waste {
    /// Bytes since something was last got done.
    bytes: usize,
    /// Requests taken back before they were answered.
    resets: usize,
    /// Up to when it was forgiven.
    since: Option<Instant>,
}

impl Waste {
    /// Bytes that may come to no purpose; more than may wait in the windows for a backend that does not read.
    const MOST_BYTES: usize = 2 * 1024 * 1024;
    const BYTES_FORGIVEN_A_SECOND: usize = 32 * 1024;
    /// Requests that may be taken back: a page that is left takes back all that are under way.
    const MOST_RESETS: usize = 200;
    const RESETS_FORGIVEN_A_SECOND: usize = 20;

    pub(super) fn with_read(self, count: usize) -> Self {
        let forgiven = self.forgiven();
        Self { bytes: forgiven.bytes + count, ..forgiven }
    }

    pub(super) fn with_reset(self) -> Self {
        let forgiven = self.forgiven();
        Self { resets: forgiven.resets + 1, ..forgiven }
    }

    pub(super) fn with_answer(self) -> Self {
        Self { resets: self.resets.saturating_sub(1), ..self }
    }

    pub(super) fn worthwhile(self) -> Self {
        Self { bytes: 0, ..self }
    }

    pub(super) fn is_too_much(self) -> bool {
        self.bytes > Self::MOST_BYTES || self.resets > Self::MOST_RESETS
    }

    /// Forgives whole seconds.
    fn forgiven(self) -> Self {
        let now = Instant::now();
        let since = self.since.unwrap_or(now);
        let seconds = usize::try_from(now.saturating_duration_since(since).as_secs()).unwrap_or(usize::MAX);
        Self {
            bytes: self.bytes.saturating_sub(Self::BYTES_FORGIVEN_A_SECOND.saturating_mul(seconds)),
            resets: self.resets.saturating_sub(Self::RESETS_FORGIVEN_A_SECOND.saturating_mul(seconds)),
            since: Some(if seconds > 0 { now } else { since }),
        }
    }
}
