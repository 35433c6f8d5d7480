//! Built-in address sets: `"@github/hooks"`. One table of what there is, where it is published, and what of it counts.

use std::time::Duration;

use crate::decode::{listed, nearest};
use crate::model::{Feed, FeedUrl, Pick, Selection, Target, TargetHost};
use crate::text::{TextError, quoted};

/// Every built-in set. A part of a name in capitals stands for any word of its kind, and so it does in what is picked.
const CATALOGUE: &[Entry] = &[
    Entry { name: "@github/LIST", host: "api.github.com", path: "/meta", picks: &[Strings("/LIST")] },
    Entry {
        name: "@cloudflare",
        host: "api.cloudflare.com",
        path: "/client/v4/ips",
        picks: &[Strings("/result/ipv4_cidrs"), Strings("/result/ipv6_cidrs")],
    },
    Entry {
        name: "@fastly",
        host: "api.fastly.com",
        path: "/public-ip-list",
        picks: &[Strings("/addresses"), Strings("/ipv6_addresses")],
    },
    Entry {
        name: "@stripe/webhooks",
        host: "stripe.com",
        path: "/files/ips/ips_webhooks.json",
        picks: &[Strings("/WEBHOOKS")],
    },
    Entry { name: "@stripe/api", host: "stripe.com", path: "/files/ips/ips_api.json", picks: &[Strings("/API")] },
    Entry {
        // All that is AWS's in the region: the service AMAZON holds every other one.
        name: "@aws/REGION",
        host: "ip-ranges.amazonaws.com",
        path: "/ip-ranges.json",
        picks: &[
            Members("/prefixes", &["ip_prefix"], &[("region", "REGION"), ("service", "AMAZON")]),
            Members("/ipv6_prefixes", &["ipv6_prefix"], &[("region", "REGION"), ("service", "AMAZON")]),
        ],
    },
    Entry {
        name: "@aws/REGION/SERVICE",
        host: "ip-ranges.amazonaws.com",
        path: "/ip-ranges.json",
        picks: &[
            Members("/prefixes", &["ip_prefix"], &[("region", "REGION"), ("service", "SERVICE")]),
            Members("/ipv6_prefixes", &["ipv6_prefix"], &[("region", "REGION"), ("service", "SERVICE")]),
        ],
    },
    Entry {
        name: "@google/goog",
        host: "www.gstatic.com",
        path: "/ipranges/goog.json",
        picks: &[Members("/prefixes", &["ipv4Prefix", "ipv6Prefix"], &[])],
    },
    Entry {
        name: "@google/cloud",
        host: "www.gstatic.com",
        path: "/ipranges/cloud.json",
        picks: &[Members("/prefixes", &["ipv4Prefix", "ipv6Prefix"], &[])],
    },
    Entry {
        name: "@google/cloud/SCOPE",
        host: "www.gstatic.com",
        path: "/ipranges/cloud.json",
        picks: &[Members("/prefixes", &["ipv4Prefix", "ipv6Prefix"], &[("scope", "SCOPE")])],
    },
    Entry {
        // What comes from Atlassian, not what leads to it.
        name: "@atlassian",
        host: "ip-ranges.atlassian.com",
        path: "/",
        picks: &[Members("/items", &["cidr"], &[("direction", "egress")])],
    },
    Entry {
        name: "@atlassian/PRODUCT",
        host: "ip-ranges.atlassian.com",
        path: "/",
        picks: &[Members("/items", &["cidr"], &[("direction", "egress"), ("product", "PRODUCT")])],
    },
    Entry {
        name: "@okta/CELL",
        host: "s3.amazonaws.com",
        path: "/okta-ip-ranges/ip_ranges.json",
        picks: &[Strings("/CELL/ip_ranges")],
    },
];

/// The lists of addresses in GitHub's document.
const GITHUB: [&str; 13] = [
    "hooks",
    "web",
    "api",
    "git",
    "github_enterprise_importer",
    "packages",
    "pages",
    "importer",
    "actions",
    "actions_macos",
    "codespaces",
    "dependabot",
    "copilot",
];

/// A line of the table.
struct Entry {
    name: &'static str,
    host: &'static str,
    path: &'static str,
    picks: &'static [Picked],
}

/// What of a document counts, as the table has it.
enum Picked {
    /// An array of strings.
    Strings(&'static str),
    /// An array of objects: the members that may hold an address, and what others must be.
    Members(&'static str, &'static [&'static str], &'static [(&'static str, &'static str)]),
}

use Picked::{Members, Strings};

/// A built-in set that somebody names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BuiltIn {
    pub(crate) name: Box<str>,
    url: FeedUrl,
    pick: Pick,
}

impl BuiltIn {
    /// The set of this name, which begins with `@`.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn named(name: &str) -> Result<Self, TextError> {
        let words: Vec<&str> = name.split('/').collect();
        let alike = |entry: &&Entry| entry.words().count() == words.len() && entry.is_of(words[0]);
        let mut near = None;
        for entry in CATALOGUE.iter().filter(alike) {
            match entry.stand_for(&words) {
                Ok(meant) => return Ok(entry.built_in(name, &meant)),
                Err(Mismatch::Fixed) => {}
                Err(Mismatch::Word(error)) => near = Some(error),
            }
        }
        Err(near.unwrap_or_else(|| unknown(name)))
    }

    /// How it is kept fresh.
    pub(crate) fn feed(&self) -> Feed {
        feed(self.url.clone(), self.pick.clone())
    }
}

/// How a list is kept fresh unless something else is said.
pub(crate) fn feed(url: FeedUrl, pick: Pick) -> Feed {
    const HOUR: Duration = Duration::from_secs(3_600);
    Feed { url, pick, every: HOUR, max_age: HOUR * 24 * 7, shrink: 0.5, grow: 2.0 }
}

/// Why a name is not that of an entry.
enum Mismatch {
    /// It says something else.
    Fixed,
    /// A word is none of its kind.
    Word(TextError),
}

impl Entry {
    fn words(&self) -> impl Iterator<Item = &'static str> {
        self.name.split('/')
    }

    fn is_of(&self, vendor: &str) -> bool {
        self.words().next() == Some(vendor)
    }

    /// What the capitals of this entry's name stand for in a name of as many words.
    fn stand_for<'n>(&self, words: &[&'n str]) -> Result<Vec<(&'static str, &'n str)>, Mismatch> {
        let mut meant = Vec::new();
        for (kind, &word) in self.words().zip(words) {
            if !is_kind(kind) {
                if kind != word {
                    return Err(Mismatch::Fixed);
                }
                continue;
            }
            check(kind, word).map_err(Mismatch::Word)?;
            meant.push((kind, word));
        }
        Ok(meant)
    }

    fn built_in(&self, name: &str, meant: &[(&'static str, &str)]) -> BuiltIn {
        let target = Target { tls: true, host: TargetHost::Name(self.host.into()), port: 443 };
        let selections = self.picks.iter().map(|picked| picked.selection(meant)).collect();
        BuiltIn { name: name.into(), url: FeedUrl { target, path: self.path.into() }, pick: Pick::Json(selections) }
    }
}

impl Picked {
    fn selection(&self, meant: &[(&'static str, &str)]) -> Selection {
        let filled = |word: &'static str| {
            let of_kind = meant.iter().find(|(kind, _)| *kind == word);
            of_kind.map_or(word, |(_, word)| *word).into()
        };
        match self {
            Strings(pointer) => {
                let words: Vec<Box<str>> = pointer.split('/').map(filled).collect();
                Selection { array: words.join("/").into(), members: Vec::new(), only: Vec::new() }
            }
            Members(pointer, members, only) => Selection {
                array: (*pointer).into(),
                members: members.iter().map(|member| (*member).into()).collect(),
                only: only.iter().map(|(member, value)| ((*member).into(), filled(value))).collect(),
            },
        }
    }
}

/// Whether a part of an entry's name stands for words of a kind.
fn is_kind(part: &str) -> bool {
    part.bytes().all(|byte| byte.is_ascii_uppercase())
}

/// Whether `word` is one of its kind. What only its publisher knows is judged by its form.
fn check(kind: &str, word: &str) -> Result<(), TextError> {
    let lower = |extra: &str| is_made_of(word, |c| c.is_ascii_lowercase() || extra.contains(c));
    match kind {
        "LIST" if GITHUB.contains(&word) => Ok(()),
        "LIST" => {
            let error = TextError::new(format!("GitHub publishes no list {}", quoted(word)));
            Err(error.with_help(match nearest(word, GITHUB.into_iter()) {
                Some(near) => format!("did you mean `@github/{near}`?"),
                None => format!("there are {}", listed(&GITHUB)),
            }))
        }
        "REGION" | "SCOPE" if word == "GLOBAL" || word == "global" => {
            let as_it_is = if kind == "REGION" { "GLOBAL" } else { "global" };
            if word == as_it_is { Ok(()) } else { Err(misspelt(word, as_it_is)) }
        }
        "REGION" | "SCOPE" if lower("-") && word.ends_with(|last: char| last.is_ascii_digit()) => Ok(()),
        "REGION" | "SCOPE" if word.ends_with(|last: char| last.is_ascii_digit()) => {
            Err(misspelt(word, &word.to_ascii_lowercase()))
        }
        "REGION" => Err(form(word, "a region of AWS, such as `us-east-1`, or `GLOBAL`")),
        "SCOPE" => Err(form(word, "a region of Google Cloud, such as `europe-west1`, or `global`")),
        "SERVICE" if is_made_of(word, |c| c.is_ascii_uppercase() || c == '_') => Ok(()),
        "SERVICE" if is_made_of(word, |c| c.is_ascii_alphabetic() || "_-".contains(c)) => {
            Err(misspelt(word, &word.to_ascii_uppercase().replace('-', "_")))
        }
        "SERVICE" => Err(form(word, "a service of AWS, such as `EC2` or `ROUTE53_HEALTHCHECKS`")),
        "PRODUCT" if lower("-") => Ok(()),
        "PRODUCT" => Err(form(word, "a product of Atlassian, such as `bitbucket` or `jira`")),
        _ if lower("_-") => Ok(()),
        _ => Err(form(word, "a cell of Okta, such as `us_cell_1`")),
    }
}

/// Whether it is some such characters and digits, and no more of them than any name has.
fn is_made_of(word: &str, so: impl Fn(char) -> bool) -> bool {
    (1..=64).contains(&word.len()) && word.chars().all(|c| so(c) || c.is_ascii_digit())
}

fn form(word: &str, what: &str) -> TextError {
    TextError::new(format!("{} is not {what}", quoted(word)))
}

fn misspelt(word: &str, right: &str) -> TextError {
    TextError::new(format!("{} is written in another case by who publishes it", quoted(word)))
        .with_help(format!("did you mean `{right}`?"))
}

fn unknown(name: &str) -> TextError {
    let error = TextError::new(format!("there is no built-in address set {}", quoted(name)));
    let names = CATALOGUE.iter().map(|entry| entry.name);
    let spelt = GITHUB.iter().map(|list| format!("@github/{list}")).collect::<Vec<_>>();
    let near = nearest(name, names.clone().chain(spelt.iter().map(String::as_str)));
    error.with_help(match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("there are {}", listed(&names.collect::<Vec<_>>())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_of_the_table_has_a_name_that_finds_it() {
        for entry in CATALOGUE {
            let name = entry.words().map(|part| match part {
                "LIST" => "hooks",
                "REGION" => "us-east-1",
                "SERVICE" => "EC2",
                "SCOPE" => "europe-west1",
                "PRODUCT" => "bitbucket",
                "CELL" => "us_cell_1",
                fixed => fixed,
            });
            let name = name.collect::<Vec<_>>().join("/");
            let found = BuiltIn::named(&name).unwrap();
            assert_eq!((&*found.url.path, &*found.name), (entry.path, &*name));
            let Pick::Json(selections) = &found.pick else { panic!("{name}") };
            let left = format!("{selections:?}");
            assert!(
                !["LIST", "REGION", "SERVICE", "SCOPE", "PRODUCT", "CELL"].iter().any(|k| left.contains(k)),
                "{left}"
            );
        }
    }

    #[test]
    fn a_built_in_set_is_a_url_and_what_of_it_counts() {
        let shown: Vec<_> = ["@github/hooks", "@aws/GLOBAL/ROUTE53_HEALTHCHECKS", "@google/cloud/global", "@atlassian"]
            .into_iter()
            .map(|name| BuiltIn::named(name).unwrap().feed())
            .map(|feed| format!("{} {:?}", feed.url, feed.pick))
            .collect();
        insta::assert_snapshot!(shown.join("\n"));
    }

    #[test]
    fn what_is_no_built_in_set() {
        let names = [
            "@",
            "@github",
            "@github/hoks",
            "@github/domains",
            "@github/hooks/x",
            "@githb/hooks",
            "@cloudflair",
            "@aws",
            "@aws/us-east-1/ec2",
            "@aws/US-EAST-1",
            "@aws/global",
            "@aws/virginia/EC2",
            "@aws/us-east-1/E$2",
            "@google/cloud/GLOBAL",
            "@stripe/hooks",
            "@example",
        ];
        let said = names.map(|name| match BuiltIn::named(name) {
            Ok(_) => panic!("{name} was found"),
            Err(TextError { message, help, .. }) => format!("{name}: {message} ({})", help.unwrap_or_default()),
        });
        insta::assert_snapshot!(said.join("\n"));
    }
}
