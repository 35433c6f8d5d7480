//! The last moments of a connection on which we have said all.

use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::connection::Connection;
use crate::connection::state::{DISCARD_BYTES, DISCARD_TIME};
use crate::connection::tunnel::ClientEnd;

/// Reads what may still come, so that the kernel does not reset the connection under the answer: until the client closes
/// or is silent, and no longer than `most`.
pub(super) async fn linger(connection: Rc<Connection>, most: Duration) {
    let mut client = ClientEnd(connection);
    let mut sink = vec![0; 16 * 1024];
    let discard = async {
        // hyper has done so, unless it could not answer at all. The client may be gone.
        let _ = client.shutdown().await;
        let mut budget = DISCARD_BYTES;
        while budget > 0 {
            match timeout(DISCARD_TIME, client.read(&mut sink)).await {
                Ok(Ok(count @ 1..)) => budget = budget.saturating_sub(count),
                Ok(Ok(0) | Err(_)) | Err(_) => return,
            }
        }
    };
    // Out of time is as good as done: the socket is closed either way.
    let _ = timeout(most, discard).await;
}
