//! HTTP/2 on the client's side (RFC 9113), frame by frame and with a client of the usual kind.

mod deadlines;
mod endings;
mod floods;
mod frames;
mod messages;
mod refusals;
mod transfers;

use std::time::Duration;

use gatepost_testkit::TestGateway;
use gatepost_testkit::http2_raw::Http2;

/// A client of the gateway.
pub(crate) async fn http2(gateway: &TestGateway) -> Http2 {
    Http2::connect(gateway.address()).await
}

/// For a connection to end after a limit of one second, and the leave that a client is given to take.
pub(crate) const SOON_AFTER: Duration = Duration::from_secs(6);
