//! Gatepost, configured in its own language.

use std::fmt::Write;
use std::path::Path;

use super::{Configured, Job, RATE};
use crate::Outcome;
use crate::certificate::{Files, HOST};
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
    let tls = job.front.tls.as_ref().map(|certificate| certificate.write(directory)).transpose()?;
    let mut text = preamble(port, tls.as_ref());
    for route in routes {
        forwarding(&mut text, route.as_ref(), job.backend);
    }
    let file = directory.write(FILE, &text)?;
    Ok(Configured { launch: Launch::new(binary).arg("run").arg(file), access_log: directory.path().join("access.log") })
}

/// Everything but the routes.
pub(crate) fn preamble(port: u16, tls: Option<&Files>) -> String {
    let domain = tls.map(|Files { certificate, key, .. }| {
        format!(
            r#"
[domain."{HOST}"]
tls = {{ cert = "file:{}", key = "file:{}" }}
"#,
            certificate.display(),
            key.display(),
        )
    });
    format!(
        r#"[listen.bench]
addresses = ["127.0.0.1:{port}"]
tls       = {is_secure}
limits    = {{ idle_timeout = "300s" }}
{domain}
[server]
workers = 1
state   = "state"
admin   = "off"
drain   = "2s"

[log]
access = "file:access.log"

[addresses.allowed]
file = "allowed.txt"
"#,
        is_secure = tls.is_some(),
        domain = domain.unwrap_or_default(),
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
