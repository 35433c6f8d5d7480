//! Which entries list an address, and which would have to be known.
//!
//! Of a decision of the past it is not known any more what a fetched set held: then the sets that were asked are named,
//! and not what in them matched.

use std::net::IpAddr;

use gatepost_config::model::{self, AddressSource, Addresses, ForwardedHeader};
use gatepost_net::HopSource;
use ipnet::IpNet;

use super::{Teller, Written, names, network_text};
use crate::explain::{Check, ExplainError, Rule, Step};
use crate::rejection::never_loaded;

impl Teller<'_> {
    /// One of the senders on the way to the client, which is the last of them.
    pub(super) fn sender(&self, address: IpAddr, source: HopSource, believed: bool) -> Result<Step, ExplainError> {
        let behind = self.listener.behind.as_ref();
        let rules = match behind {
            Some(behind) => self.listing(&behind.senders, address, believed, "behind")?,
            None => Vec::new(),
        };
        let told = match source {
            HopSource::Socket => "the peer of the connection".to_owned(),
            HopSource::ProxyHeader => "told by the PROXY header".to_owned(),
            HopSource::Header { hop } => {
                let name = match behind.map(|behind| behind.forwarded) {
                    Some(ForwardedHeader::XForwardedFor) => "x-forwarded-for",
                    Some(ForwardedHeader::Forwarded) => "forwarded",
                    Some(ForwardedHeader::Off) | None => {
                        return Err(ExplainError::contradiction("a header that is off told"));
                    }
                };
                format!("entry {hop} from the right of {name}")
            }
        };
        let believed = if believed { format!(", believed: {}", names(&rules)) } else { String::new() };
        Ok(Step::pass(Check::Client, format!("{address}, {told}{believed}")).by(rules))
    }

    /// The sender seen last may be believed, or may be the client.
    pub(super) fn sender_unknown(&self, set: &str) -> Result<Step, ExplainError> {
        let behind = self.listener.behind.as_ref();
        let behind = behind.ok_or_else(|| ExplainError::contradiction("nobody is believed, and somebody may be"))?;
        let text = format!("{}, so nobody knows whether the last sender is believed", never_loaded(set));
        Ok(Step::refuse(Check::Client, text).by(self.lacking(&behind.senders)))
    }

    pub(super) fn from(&self, written: Written<'_>, listed: Option<bool>) -> Result<Step, ExplainError> {
        let entries = &written.rule_of_addresses()?.from;
        let Some(listed) = listed else { return Ok(self.unknown(Check::From, entries)) };
        let rules = self.listing(entries, self.client, listed, "from")?;
        Ok(if listed {
            Step::pass(Check::From, format!("lists {}: {}", self.client, names(&rules))).by(rules)
        } else {
            let rule = Rule::new("from", &written.route.places.entry);
            let mut text = format!("no entry lists {}", self.client);
            if written.rule_of_signatures().is_ok() {
                text += "; now and then a request like this has its signature looked at: if it is good, the reason is \
                         signed_but_not_listed, and the list may be out of date";
            }
            Step::refuse(Check::From, text).by(vec![rule])
        })
    }

    pub(super) fn except(&self, written: Written<'_>, listed: Option<bool>) -> Result<Step, ExplainError> {
        let entries = &written.rule_of_addresses()?.except;
        let Some(listed) = listed else { return Ok(self.unknown(Check::Except, entries)) };
        let rules = self.listing(entries, self.client, listed, "except")?;
        Ok(if listed {
            Step::refuse(Check::Except, format!("takes {} out: {}", self.client, names(&rules))).by(rules)
        } else {
            Step::pass(Check::Except, format!("no entry lists {}", self.client))
        })
    }

    /// Whether one of the entries lists the client is not known yet.
    pub(super) fn unknown(&self, check: Check, entries: &[model::AddressEntry]) -> Step {
        let lacking = self.lacking(entries);
        let were = if lacking.len() == 1 { "was" } else { "were" };
        let text = format!("no known entry lists {}, and {} {were} never loaded", self.client, names(&lacking));
        Step::refuse(check, text).by(lacking)
    }

    /// Every entry that has no good copy yet; of the past, every one that may have had none.
    fn lacking(&self, entries: &[model::AddressEntry]) -> Vec<Rule> {
        let lacking = entries.iter().filter_map(|entry| {
            let set = fetched(entry)?;
            let may_lack = self.feeds.is_none_or(|feeds| feeds.get(set).is_some_and(|live| !live.is_loaded()));
            may_lack.then(|| Rule::new(&*set.name, &entry.place))
        });
        lacking.collect()
    }

    /// Every entry that holds an address of which it was decided whether one does. The compiled sets decided; the written
    /// entries only explain.
    ///
    /// # Errors
    /// They do not say the same, so one of them is wrong.
    pub(super) fn listing(
        &self,
        entries: &[model::AddressEntry],
        address: IpAddr,
        listed: bool,
        key: &str,
    ) -> Result<Vec<Rule>, ExplainError> {
        let holds = |network: &&IpNet| network.contains(&address);
        let listing = entries.iter().filter_map(|entry| match &entry.addresses {
            Addresses::Network(network) => holds(&network).then(|| Rule::new(network_text(*network), &entry.place)),
            Addresses::Set(set) => {
                let rule = Rule::new(&*set.name, &entry.place);
                if let Some(live) = self.feeds.and_then(|feeds| feeds.get(set)) {
                    return Some(Rule { network: Some(live.network_of(address)?), age: live.age(), ..rule });
                }
                let narrowest = set.source.fixed().iter().filter(holds).max_by_key(|network| network.prefix_len())?;
                Some(Rule { network: Some(*narrowest), ..rule })
            }
        });
        let listing: Vec<Rule> = listing.collect();
        if listed != listing.is_empty() {
            return Ok(listing);
        }
        // A fetched set has listed it then, for all that is known now.
        let then: Vec<Rule> = match self.feeds {
            None if listed => {
                let sets = entries.iter().filter_map(|entry| Some((fetched(entry)?, entry)));
                sets.map(|(set, entry)| Rule::new(&*set.name, &entry.place)).collect()
            }
            Some(_) | None => Vec::new(),
        };
        if then.is_empty() {
            return Err(ExplainError::contradiction(format!("what `{key}` says and what was decided by it differ")));
        }
        Ok(then)
    }
}

/// The set of an entry, if it is one that is fetched.
fn fetched(entry: &model::AddressEntry) -> Option<&model::AddressSet> {
    let Addresses::Set(set) = &entry.addresses else { return None };
    matches!(set.source, AddressSource::Fetched(_)).then_some(set)
}
