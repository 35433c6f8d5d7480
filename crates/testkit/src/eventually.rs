use std::panic::Location;
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How long a test waits for what must happen soon: long, because a busy machine is no failure.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// Waits until `condition` holds.
///
/// # Panics
/// It does not hold within `deadline`.
#[track_caller]
pub fn eventually(deadline: Duration, mut condition: impl FnMut() -> bool) -> impl Future<Output = ()> {
    let caller = Location::caller();
    async move {
        let end = Instant::now() + deadline;
        while !condition() {
            assert!(Instant::now() < end, "{caller}: the condition does not hold after {deadline:?}");
            sleep(LOOK).await;
        }
    }
}
