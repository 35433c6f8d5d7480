//! The tables of upstreams.

use crate::choice::{Balance, HttpVersion};
use crate::collections::List;
use crate::decode::table;
use crate::number::{Failures, Probes};
use crate::text::{BackendHost, Codes, FileReference, Network, NonZeroDuration, ProbePath, Target};
use crate::value::Eject;

table! {
    /// Backends that do the same work.
    UpstreamTable in "in an upstream" requires [targets] {
        /// The backends: `["http://10.0.3.7:8080", "http://10.0.3.8:8080"]`, or `https://`.
        targets: List<Target>,

        /// Where their addresses may lie: `["10.0.3.0/24"]`. Without it a name may stand only for
        /// addresses of the public internet; an address is taken as it is written, except
        /// link-local and metadata addresses.
        networks: List<Network>,

        /// How one of several targets is chosen: `"round-robin"` (default), each in turn;
        /// `"least-requests"`, the one with the fewest requests under way; `"client-hash"`, the same
        /// one for the same client, as long as it is there.
        balance: Balance,

        /// The version of HTTP that the targets are spoken to in: `"1.1"` (default) or `"2"`. Without
        /// TLS, `"2"` is spoken from the first byte on; the targets must know that.
        http: HttpVersion,

        /// The authorities that `https` targets must have their certificates from, in PEM:
        /// `"file:PATH"`. Relative to this file, and watched. Default: the public ones.
        ca: FileReference,

        /// Asks each target now and then whether it is well, and sends it no requests while it is not.
        /// Default: nobody asks.
        health: HealthTable,

        /// When a target that fails requests is left alone for a while: `{ after = 5, pause = "10s" }`
        /// (default), or `"off"`.
        eject: Eject,
    }
}

table! {
    /// How targets are asked whether they are well.
    HealthTable in "in `health`" requires [path] {
        /// The path that is asked for with `GET`, with its query: `"/ping"`. Up to 1024 characters.
        path: ProbePath,

        /// The `Host` that is asked for: `"upstream"` (default: the target's own), or a host.
        host: BackendHost,

        /// The statuses that mean that a target is well, from 200 to 599: `"200-299,403"`. Default
        /// `"200-299"`.
        codes: Codes,

        /// How often a target is asked, `"100ms"` to `"1h"`. Default `"10s"`.
        every: NonZeroDuration,

        /// How long an answer may take, less than `every`. Default `"5s"`, or half of `every` where
        /// that is less.
        timeout: NonZeroDuration,

        /// So many good answers in a row make a target well again, 1 to 10. Default 3; a target that
        /// is new needs one.
        healthy: Probes,

        /// So many bad answers in a row make a target unwell, 1 to 10. Default 2.
        unhealthy: Probes,
    }
}

table! {
    /// When a target that fails requests is left alone.
    EjectTable in "in `eject`" {
        /// After so many failed requests in a row, 1 to 1000: no connection, no answer, or one that
        /// makes no sense. Default 5.
        after: Failures,

        /// For how long, `"100ms"` to `"1h"`. Default `"10s"`; longer each time that it happens in a
        /// row, up to ten times as long.
        pause: NonZeroDuration,
    }
}
