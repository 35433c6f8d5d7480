//! Gatepost, configured in its own language.

use std::fmt::Write;
use std::path::Path;

use super::{Configured, Job, RATE};
use crate::Outcome;
use crate::process::Launch;
use crate::scratch::Scratch;

/// The one route of the side-by-side job.
pub(crate) const BENCH: &[&str] = &["GET /bench"];
/// The name of the configuration file in the gateway's directory.
pub(crate) const FILE: &str = "gatepost.toml";

/// Writes a configuration whose routes all do the job, and says how to run it.
pub(crate) fn launch(
    binary: &Path,
    directory: &Scratch,
    port: u16,
    job: &Job,
    routes: &[impl AsRef<str>],
) -> Outcome<Configured> {
    directory.write("allowed.txt", &(job.networks.join("\n") + "\n"))?;
    let mut text = preamble(port);
    for route in routes {
        forwarding(&mut text, route.as_ref(), job.backend);
    }
    let file = directory.write(FILE, &text)?;
    Ok(Configured { launch: Launch::new(binary).arg("run").arg(file), access_log: directory.path().join("access.log") })
}

/// Everything but the routes.
pub(crate) fn preamble(port: u16) -> String {
    format!(
        r#"listen = "127.0.0.1:{port}"

[server]
workers = 1
state   = "state"
admin   = "off"
drain   = "2s"

[log]
access = "file:access.log"

[addresses.allowed]
file = "allowed.txt"
"#
    )
}

/// A route that does the job.
pub(crate) fn forwarding(text: &mut String, route: &str, backend: u16) {
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        r#"
[route."{route}"]
from     = ["allowed"]
throttle = {{ rate = "{RATE}/s", burst = {RATE} }}
forward  = {{ to = "http://127.0.0.1:{backend}", timeout = "30s" }}
"#
    );
}
