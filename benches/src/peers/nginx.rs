//! nginx: the allow list as `geo`, a tree, asked before a location is even chosen; one bucket for
//! all clients; a log that is buffered.

use super::{Configured, FORBIDDEN, Job, RATE};
use crate::Outcome;
use crate::load::CONNECTIONS;
use crate::process::Launch;
use crate::scratch::Scratch;

/// Says how to run nginx with the given content of its `http` block.
pub(crate) fn launch(directory: &Scratch, connections: usize, http: &str) -> Outcome<Launch> {
    let file = directory.write(
        "nginx.conf",
        &format!(
            r#"worker_processes 1;
pid nginx.pid;
lock_file nginx.lock;
error_log error.log error;
events {{
    worker_connections {connections};
}}
http {{
    client_body_temp_path temporary-body;
    proxy_temp_path temporary-proxy;
    fastcgi_temp_path temporary-fastcgi;
    uwsgi_temp_path temporary-uwsgi;
    scgi_temp_path temporary-scgi;
{http}}}
"#
        ),
    )?;
    Ok(Launch::new("nginx")
        .arg("-p")
        .arg(directory.path())
        .arg("-e")
        .arg("error.log")
        .arg("-c")
        .arg(file)
        .arg("-g")
        .arg("daemon off;"))
}

/// Configures nginx for the job.
pub(crate) fn gateway(directory: &Scratch, port: u16, job: &Job) -> Outcome<Configured> {
    let allowed: String = job.networks.iter().map(|network| format!("{network} 0;\n")).collect();
    directory.write("allowed.conf", &allowed)?;
    let backend = job.backend;
    let http = format!(
        r#"
    geo $denied {{
        default 1;
        include allowed.conf;
    }}
    limit_req_zone $server_name zone=bench:1m rate={RATE}r/s;
    limit_req_status 429;
    log_format json escape=json '{{"time":"$time_iso8601","id":"$connection-$connection_requests",'
        '"listener":"bench","client":"$remote_addr","client_from":"socket","method":"$request_method",'
        '"host":"$host","path":"$uri","api":"bench","route":"GET /bench","status":$status,'
        '"upstream":"$upstream_addr","upstream_s":"$upstream_header_time","total_s":$request_time,'
        '"bytes_in":$request_length,"bytes_out":$body_bytes_sent}}';
    access_log access.log json buffer=64k flush=1s;
    keepalive_timeout 300s;
    keepalive_requests 1000000000;

    upstream backend {{
        server 127.0.0.1:{backend};
        keepalive {CONNECTIONS};
        keepalive_timeout 300s;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        server_name bench;
        default_type application/json;
        if ($denied) {{ return 403 '{FORBIDDEN}'; }}
        location = /bench {{
            limit_except GET {{ deny all; }}
            limit_req zone=bench burst={RATE} nodelay;
            proxy_pass http://backend;
            proxy_http_version 1.1;
            proxy_read_timeout 30s;
            proxy_set_header Connection "";
            proxy_set_header Host 127.0.0.1:{backend};
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Host $http_host;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header Forwarded "";
        }}
        location / {{ return 404; }}
    }}
"#
    );
    // A connection to the backend counts as one of the worker's.
    let launch = launch(directory, job.clients + 1024, &http)?;
    Ok(Configured { launch, access_log: directory.path().join("access.log") })
}
