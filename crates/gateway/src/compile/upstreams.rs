//! Upstreams and their targets, which outlive a snapshot.

use std::sync::Arc;

use gatepost_config::model;
use gatepost_net::tls::{Alpn, ClientTls, TlsError};
use gatepost_net::{Destination, Fence, Host};
use http::HeaderValue;

use super::{Compiler, Lasting};
use crate::upstream::{Check, Common, Condition, Security, Target, Upstream, target_hash};

/// What a target is known by: all that makes connections to it what they are, and whose requests judge it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct TargetName {
    upstream: Arc<str>,
    target: model::Target,
    networks: Option<Vec<ipnet::IpNet>>,
    pub(super) http: model::HttpVersion,
    pub(super) ca: Option<Arc<[u8]>>,
}

/// What the TLS to targets is known by: the authorities, and what is spoken inside.
pub(super) type ClientName = (Option<Arc<[u8]>>, model::HttpVersion);

impl Lasting {
    /// The TLS to the targets of an upstream; the same as before, with its sessions, if nothing has changed.
    pub(super) fn client(&mut self, upstream: &model::Upstream) -> Result<ClientTls, TlsError> {
        let name = (upstream.ca.clone(), upstream.http);
        if let Some(known) = self.clients.get(&name) {
            return Ok(known.clone());
        }
        let alpn = match upstream.http {
            model::HttpVersion::One => Alpn::Http1,
            model::HttpVersion::Two => Alpn::Http2,
        };
        let made = ClientTls::new(upstream.ca.as_deref(), alpn)?;
        self.clients.insert(name, made.clone());
        Ok(made)
    }
}

impl Compiler<'_> {
    pub(super) fn upstream(&mut self, upstream: &Arc<model::Upstream>) -> Arc<Upstream> {
        let name = upstream_name(upstream);
        let same_name = self.upstreams.get(&name).into_iter().flatten();
        if let Some((_, alike)) = same_name.into_iter().find(|(known, _)| known == upstream) {
            return Arc::clone(alike);
        }
        let made = Arc::new(self.new_upstream(Arc::clone(&name), upstream));
        self.upstreams.entry(name).or_default().push((Arc::clone(upstream), Arc::clone(&made)));
        made
    }

    fn new_upstream(&mut self, name: Arc<str>, upstream: &model::Upstream) -> Upstream {
        let common = self.lasting.upstreams.entry(Arc::clone(&name)).or_insert_with(|| Arc::new(Common::new(name)));
        let common = Arc::clone(common);
        let targets: Vec<_> = upstream.targets.iter().map(|target| self.target(target, upstream, &common)).collect();
        if let Some(health) = &upstream.health {
            let checks = targets.iter().map(|target| Check { target: Arc::clone(target), health: health.clone() });
            self.lasting.checks.extend(checks);
        }
        Upstream::new(targets, upstream.balance, upstream.eject, upstream.http, common)
    }

    fn target(&mut self, target: &model::Target, upstream: &model::Upstream, common: &Arc<Common>) -> Arc<Target> {
        let name = TargetName {
            upstream: Arc::clone(&common.name),
            target: target.clone(),
            networks: upstream.networks.clone(),
            http: upstream.http,
            ca: upstream.ca.clone(),
        };
        self.used_targets.insert(name.clone());
        if let Some(known) = self.lasting.targets.get(&name) {
            return Arc::clone(known);
        }
        let security = match target.tls {
            false => Security::Open,
            true => self.lasting.client(upstream).map_or(Security::Unusable, Security::Tls),
        };
        self.lasting.next_target += 1;
        let url: Arc<str> = url(target).into();
        let made = Arc::new(Target {
            id: self.lasting.next_target,
            destination: destination(target, upstream.networks.as_ref()),
            security,
            http: upstream.http,
            host: own_host(target),
            label: format!("{}:{}", host_text(target), target.port).into(),
            condition: Condition::new(target_hash(&url)),
            url,
            upstream: Arc::clone(common),
            under_way: Arc::default(),
        });
        self.lasting.targets.insert(name, Arc::clone(&made));
        made
    }
}

fn destination(target: &model::Target, networks: Option<&Vec<ipnet::IpNet>>) -> Destination {
    let host = match &target.host {
        model::TargetHost::Address(address) => Host::Address(*address),
        model::TargetHost::Name(name) => Host::Name(name.clone()),
    };
    let fence = match networks {
        Some(networks) => Fence::Networks(Box::new(networks.iter().copied().collect())),
        None => Fence::Unstated,
    };
    Destination::new(host, target.port, fence)
}

/// What an upstream is known by. A name has no colon, so it is never taken for targets written in place.
pub(super) fn upstream_name(upstream: &model::Upstream) -> Arc<str> {
    match &upstream.name {
        Some(name) => Arc::clone(name),
        None => upstream.targets.iter().map(url).collect::<Vec<_>>().join(",").into(),
    }
}

fn url(target: &model::Target) -> String {
    let scheme = if target.tls { "https" } else { "http" };
    format!("{scheme}://{}:{}", host_text(target), target.port)
}

/// The target's own `Host`: with its port, unless it is the scheme's.
fn own_host(target: &model::Target) -> HeaderValue {
    let host = host_text(target);
    let usual = if target.tls { 443 } else { 80 };
    let text = if target.port == usual { host } else { format!("{host}:{}", target.port) };
    // A resolved target's name has only the characters of names.
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("invalid"))
}

/// As a URL has it.
pub(crate) fn host_text(target: &model::Target) -> String {
    match &target.host {
        model::TargetHost::Address(address) => Host::Address(*address).to_string(),
        model::TargetHost::Name(name) => name.to_string(),
    }
}
