//! HAProxy: the allow list as an ACL file, which it keeps as a tree; one counter for all clients.
//!
//! It writes no log files of its own; the cheapest way to one is its standard output, redirected.

use super::{Configured, FORBIDDEN, Job, RATE};
use crate::Outcome;
use crate::front::Http;
use crate::process::Launch;
use crate::scratch::Scratch;

/// Configures HAProxy for the job.
pub(crate) fn gateway(directory: &Scratch, port: u16, job: &Job) -> Outcome<Configured> {
    let allowed = directory.write("allowed.txt", &(job.networks.join("\n") + "\n"))?;
    let allowed = allowed.display();
    let backend = job.backend;
    let scheme = job.front.scheme();
    // A listener in the clear tells HTTP/2 by its preface.
    let bind = match (&job.front.tls, job.front.http) {
        (None, Http::One) => String::new(),
        (None, Http::Two) => " proto h2".to_owned(),
        (Some(certificate), _) => {
            format!(
                " ssl crt {} alpn h2,http/1.1 curves X25519:P-256 prefer-client-ciphers",
                certificate.write(directory)?.both.display()
            )
        }
    };
    // HAProxy keeps no connection to a backend once a fifth of the files that maxconn calls for are
    // open, so a maxconn that just suffices would cost it a new connection for every request.
    let maxconn = (job.clients + 64).max(8192);
    let file = directory.write(
        "haproxy.cfg",
        &format!(
            r#"global
    nbthread 1
    maxconn {maxconn}
    # It wants two files for each of maxconn, which is more than some machines allow and than it uses.
    no strict-limits
    log stdout format raw local0 info

defaults
    mode http
    log global
    log-format "{{\"time\":\"%tr\",\"id\":\"%rt\",\"listener\":\"bench\",\"client\":\"%ci\",\"client_from\":\"socket\",\"method\":\"%HM\",\"path\":\"%HP\",\"api\":\"bench\",\"route\":\"GET /bench\",\"verdict\":\"%tsc\",\"status\":%ST,\"upstream\":\"%si:%sp\",\"upstream_ms\":%Tr,\"total_ms\":%Ta,\"bytes_in\":%U,\"bytes_out\":%B}}"
    timeout connect 5s
    timeout client 300s
    timeout server 30s
    timeout http-keep-alive 300s
    http-reuse always
    # A connection without a request is closed without an answer and a line, as the others do it.
    option http-ignore-probes
    option dontlognull

frontend bench
    bind 127.0.0.1:{port} backlog 4096{bind}
    http-request deny deny_status 403 content-type application/json string '{FORBIDDEN}' unless {{ src -f {allowed} }}
    http-request return status 404 unless {{ path /bench }} METH_GET
    stick-table type integer size 1 expire 1m store http_req_rate(1s)
    http-request track-sc0 int(1)
    http-request deny deny_status 429 if {{ sc0_http_req_rate gt {RATE} }}
    default_backend backend

backend backend
    http-request set-header X-Forwarded-For %[src]
    http-request set-header X-Forwarded-Host %[hdr(host)]
    http-request set-header X-Forwarded-Proto {scheme}
    http-request set-header Host 127.0.0.1:{backend}
    http-request del-header Forwarded
    server backend 127.0.0.1:{backend}
"#
        ),
    )?;
    Ok(Configured {
        launch: Launch::new("haproxy").arg("-db").arg("-f").arg(file),
        access_log: directory.path().join("stdout"),
    })
}
