//! The backend behind every gateway: an nginx that answers at once with a small body.

use std::time::Duration;

use crate::Outcome;
use crate::client::{Connection, free_port};
use crate::front::Front;
use crate::peers::nginx;
use crate::process::Group;
use crate::scratch::Scratch;

/// The body of every answer of the backend.
pub(crate) const BODY: &str = "{\"service\":\"backend\",\"answer\":\"hello from behind the gate\"}";

/// The running backend.
pub(crate) struct Backend {
    pub(crate) port: u16,
    _group: Group,
    _directory: Scratch,
}

impl Backend {
    /// Starts the backend on the CPU of the load: whatever it uses, the gateway's CPU is its own.
    pub(crate) fn start(cpu: usize) -> Outcome<Self> {
        let port = free_port()?;
        let directory = Scratch::new()?;
        let server = format!(
            r#"
    access_log off;
    keepalive_timeout 300s;
    keepalive_requests 1000000000;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        default_type application/json;
        location / {{ return 200 '{BODY}'; }}
    }}
"#
        );
        let mut group = nginx::launch(&directory, 4096, &server)?.start(cpu, directory.path())?;
        loop {
            let reply = Connection::open(port, &Front::PLAIN).and_then(|mut connection| connection.get("/"));
            if reply.is_ok_and(|reply| reply.status == 200 && reply.body == BODY) {
                return Ok(Self { port, _group: group, _directory: directory });
            }
            if group.ended()?.is_some() || group.age() > Duration::from_secs(10) {
                return Err(group.complaint("the backend did not start").into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
