//! nginx: the allow list as `geo`, a tree, asked before a location is even chosen; one bucket for
//! all clients; a log that is buffered.

use super::{Configured, FORBIDDEN, Job, RATE};
use crate::Outcome;
use crate::front::Http;
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

/// How nginx holds the allow list.
#[derive(Clone, Copy)]
pub(crate) enum List {
    /// `geo`, a tree, and a `return`.
    Tree,
    /// `allow` and `deny`, one after the other.
    Walked,
}

/// The body of the access module's own 403.
pub(crate) const FORBIDDEN_PAGE: &str = "<html>\r\n<head><title>403 Forbidden</title></head>\r\n<body>\r\n\
    <center><h1>403 Forbidden</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n";

/// Who asks, beside where from: an API key in a header, each with a bucket of its own.
pub(crate) struct Keys<'k> {
    /// The keys that are good.
    pub(crate) good: &'k [String],
    /// A path that needs none, for the first look whether nginx is there.
    pub(crate) ready: &'k str,
}

/// Configures nginx for the job.
pub(crate) fn gateway(directory: &Scratch, port: u16, job: &Job, list: List) -> Outcome<Configured> {
    configure(directory, port, job, list, None)
}

/// Configures nginx for the job, with API keys.
pub(crate) fn with_keys(directory: &Scratch, port: u16, job: &Job, keys: &Keys<'_>) -> Outcome<Configured> {
    configure(directory, port, job, List::Tree, Some(keys))
}

fn configure(directory: &Scratch, port: u16, job: &Job, list: List, keys: Option<&Keys<'_>>) -> Outcome<Configured> {
    let (key_map, key_check, counted_by, ready) = match keys {
        None => (String::new(), "", "$server_name", String::new()),
        Some(Keys { good, ready }) => {
            let entries: String = good.iter().enumerate().map(|(n, key)| format!("\"{key}\" c{n};\n")).collect();
            directory.write("keys.conf", &entries)?;
            let size = (good.len() * 2).next_power_of_two().max(1024);
            let map = format!(
                "map_hash_max_size {size}; map_hash_bucket_size 128; \
                 map $http_x_api_key $caller {{ default \"\"; include keys.conf; }}"
            );
            let ready = format!(
                "location = {ready} {{ proxy_pass http://backend/bench; proxy_http_version 1.1; \
                 proxy_set_header Connection \"\"; }}"
            );
            (map, "if ($caller = \"\") { return 401 '{\"message\":\"Unauthorized\"}'; }", "$caller", ready)
        }
    };
    let entry = |network: &String| match list {
        List::Tree => format!("{network} 0;\n"),
        List::Walked => format!("allow {network};\n"),
    };
    let allowed: String = job.networks.iter().map(entry).collect();
    directory.write("allowed.conf", &allowed)?;
    let (geo, check) = match list {
        List::Tree => {
            let check = format!("if ($denied) {{ return 403 '{FORBIDDEN}'; }}");
            ("geo $denied { default 1; include allowed.conf; }", check)
        }
        List::Walked => ("", "include allowed.conf; deny all; server_tokens off;".to_owned()),
    };
    let hide_key = if keys.is_some() { "proxy_set_header X-Api-Key \"\";" } else { "" };
    let backend = job.backend;
    let listen = match (&job.front.tls, job.front.http) {
        (None, Http::One) => "",
        (None, Http::Two) => " http2",
        (Some(_), Http::One) => " ssl",
        (Some(_), Http::Two) => " ssl http2",
    };
    let tls = match &job.front.tls {
        None => String::new(),
        Some(certificate) => {
            let files = certificate.write(directory)?;
            format!(
                "ssl_certificate {}; ssl_certificate_key {}; ssl_protocols TLSv1.2 TLSv1.3; ssl_session_tickets on; \
                 ssl_session_cache shared:sessions:10m; ssl_ecdh_curve X25519:prime256v1;",
                files.certificate.display(),
                files.key.display()
            )
        }
    };
    let http = format!(
        r#"
    {geo}
    {key_map}
    limit_req_zone {counted_by} zone=bench:16m rate={RATE}r/s;
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
        listen 127.0.0.1:{port} backlog=4096{listen};
        {tls}
        server_name bench;
        default_type application/json;
        {check}
        location = /bench {{
            {key_check}
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
            {hide_key}
        }}
        {ready}
        location / {{ return 404; }}
    }}
"#
    );
    // A connection to the backend counts as one of the worker's.
    let launch = launch(directory, job.clients + 1024, &http)?;
    Ok(Configured { launch, access_log: directory.path().join("access.log") })
}
