//! Envoy: the allow list as a tree of the RBAC filter, its local rate limit, a log that is buffered.

use std::path::Path;

use super::{Configured, Job, RATE};
use crate::Outcome;
use crate::front::Http;
use crate::process::Launch;
use crate::scratch::Scratch;

/// The body of the RBAC filter's own 403.
pub(crate) const FORBIDDEN: &str = "RBAC: access denied";

/// Configures Envoy for the job.
pub(crate) fn gateway(binary: &Path, directory: &Scratch, port: u16, job: &Job) -> Outcome<Configured> {
    let access_log = directory.path().join("access.log");
    let file = directory.write(
        "envoy.yaml",
        &format!(
            r#"static_resources:
  listeners:
  - name: bench
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}
    tcp_backlog_size: 4096
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: bench
          codec_type: {codec}
          use_remote_address: true
          skip_xff_append: true
          http_filters:
{filters}
          route_config:
            virtual_hosts:
            - name: bench
              domains: ["*"]
{route}
{access_log_entry}
{tls}
  clusters:
  - name: backend
    connect_timeout: 5s
    load_assignment:
      cluster_name: backend
      endpoints:
      - lb_endpoints:
        - endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {backend} }} }} }}
"#,
            codec = match job.front.http {
                Http::One => "HTTP1",
                Http::Two => "HTTP2",
            },
            filters = filters(&job.networks)?,
            route = route(job.backend),
            access_log_entry = log(&access_log),
            tls = tls(directory, job)?,
            backend = job.backend,
        ),
    )?;
    let launch = Launch::new(binary)
        .arg("--config-path")
        .arg(file)
        .arg("--concurrency")
        .arg("1")
        .arg("--disable-hot-restart")
        .arg("--log-level")
        .arg("error");
    Ok(Configured { launch, access_log })
}

fn filters(networks: &[String]) -> Outcome<String> {
    let mut ranges = String::new();
    for network in networks {
        let (address, length) = network.split_once('/').ok_or("a network without its length")?;
        ranges += &format!("                        - {{ address_prefix: {address}, prefix_len: {length} }}\n");
    }
    Ok(format!(
        r#"          - name: envoy.filters.http.rbac
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC
              matcher:
                matcher_tree:
                  input:
                    name: envoy.matching.inputs.source_ip
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.matching.common_inputs.network.v3.SourceIPInput
                  custom_match:
                    name: envoy.matching.custom_matchers.trie_matcher
                    typed_config:
                      "@type": type.googleapis.com/xds.type.matcher.v3.IPMatcher
                      range_matchers:
                      - on_match:
                          action:
                            name: envoy.filters.rbac.action
                            typed_config:
                              "@type": type.googleapis.com/envoy.config.rbac.v3.Action
                              name: allowed
                              action: ALLOW
                        ranges:
{ranges}          - name: envoy.filters.http.local_ratelimit
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit
              stat_prefix: bench
              token_bucket: {{ max_tokens: {RATE}, tokens_per_fill: {RATE}, fill_interval: 1s }}
              filter_enabled: {{ default_value: {{ numerator: 100 }} }}
              filter_enforced: {{ default_value: {{ numerator: 100 }} }}
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"#
    ))
}

fn route(backend: u16) -> String {
    let header = |name: &str, value: &str| {
        format!(
            "                - header: {{ key: {name}, value: \"{value}\" }}\n                  \
             append_action: OVERWRITE_IF_EXISTS_OR_ADD\n"
        )
    };
    format!(
        r#"              routes:
              - match:
                  path: /bench
                  headers: [{{ name: ":method", string_match: {{ exact: GET }} }}]
                route: {{ cluster: backend, timeout: 30s, host_rewrite_literal: "127.0.0.1:{backend}" }}
                request_headers_to_remove: [forwarded]
                request_headers_to_add:
{}{}"#,
        header("x-forwarded-for", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"),
        header("x-forwarded-host", "%REQ(:AUTHORITY)%"),
    )
}

fn log(file: &Path) -> String {
    format!(
        r#"          access_log:
          - name: envoy.access_loggers.file
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: {}
              log_format:
                json_format:
                  time: "%START_TIME%"
                  id: "%STREAM_ID%"
                  listener: bench
                  client: "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"
                  client_from: socket
                  method: "%REQ(:METHOD)%"
                  host: "%REQ(:AUTHORITY)%"
                  path: "%REQ(:PATH)%"
                  api: bench
                  route: GET /bench
                  status: "%RESPONSE_CODE%"
                  upstream: "%UPSTREAM_HOST%"
                  upstream_ms: "%RESPONSE_DURATION%"
                  total_ms: "%DURATION%"
                  bytes_in: "%BYTES_RECEIVED%"
                  bytes_out: "%BYTES_SENT%""#,
        file.display()
    )
}

fn tls(directory: &Scratch, job: &Job) -> Outcome<String> {
    let Some(certificate) = &job.front.tls else {
        return Ok(String::new());
    };
    let files = certificate.write(directory)?;
    Ok(format!(
        r#"      transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            tls_params: {{ ecdh_curves: [X25519MLKEM768, X25519, P-256] }}
            alpn_protocols: [{}]
            tls_certificates:
            - certificate_chain: {{ filename: {} }}
              private_key: {{ filename: {} }}"#,
        match job.front.http {
            Http::One => "http/1.1",
            Http::Two => "h2",
        },
        files.certificate.display(),
        files.key.display()
    ))
}
