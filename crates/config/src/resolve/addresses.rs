//! `[addresses.…]`.

mod feed;

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ipnet::IpNet;

use crate::catalogue::BuiltIn;
use crate::collections::List;
use crate::decode::{Field, Given};
use crate::diagnostic::Diagnostic;
use crate::file::AddressesTable;
use crate::load::{into_text, reason};
use crate::model::{AddressSet, AddressSource};
use crate::reading::Reading;
use crate::resolve::names::{Known, Namespace};
use crate::source::Span;
use crate::text::{FeedUrl, FilePath, Name, Network, Text, quoted};

/// The sets that there are: those of `[addresses.…]`, and the built-in ones that are used.
pub(super) struct Sets {
    named: Known<Arc<AddressSet>>,
    /// Every use of one name shares one set, which is where it is first used.
    built_in: RefCell<HashMap<Box<str>, Arc<AddressSet>>>,
}

impl Sets {
    /// The set `name`, as it is written at `span`.
    pub(super) fn named(&self, name: &str, span: Span, reading: &mut Reading) -> Option<Arc<AddressSet>> {
        self.named.look_up(name, span, reading)
    }

    /// A built-in set that is named at `span`.
    pub(super) fn built_in(&self, set: &BuiltIn, span: Span, reading: &Reading) -> Arc<AddressSet> {
        let mut known = self.built_in.borrow_mut();
        let made = known.entry(set.name.clone()).or_insert_with(|| {
            let source = AddressSource::Fetched(set.feed());
            Arc::new(AddressSet { name: (*set.name).into(), source, place: reading.place(span) })
        });
        Arc::clone(made)
    }
}

/// Resolves every set, and reads the files that hold them.
pub(super) fn sets(sets: Namespace<Name, AddressesTable>, reading: &mut Reading) -> Sets {
    let mut files = Files::default();
    let named = sets.resolve(|name, span, table| {
        let source = match only_source(&table, span, reading)? {
            Source::List(list) => AddressSource::Fixed(networks(&list.value)),
            Source::File(file) => AddressSource::Fixed(files.networks(file, reading)?),
            Source::Url(url) => AddressSource::Fetched(feed::feed(url, &table, reading)?),
        };
        feed::check_fixed(&table, reading);
        Some(Arc::new(AddressSet { name: name.0, source, place: reading.place(span) }))
    });
    Sets { named, built_in: RefCell::default() }
}

/// What says what a set holds.
enum Source<'t> {
    List(&'t Given<List<Network>>),
    File(&'t Given<FilePath>),
    Url(&'t Given<FeedUrl>),
}

fn only_source<'t>(table: &'t AddressesTable, span: Span, reading: &mut Reading) -> Option<Source<'t>> {
    let AddressesTable { list, file, url, .. } = table;
    let broken = matches!(list, Field::Broken) || matches!(file, Field::Broken) || matches!(url, Field::Broken);
    let list = list.given().map(|given| (given.key, "list", Source::List(given)));
    let file = file.given().map(|given| (given.key, "file", Source::File(given)));
    let url = url.given().map(|given| (given.key, "url", Source::Url(given)));
    let mut given = [list, file, url].into_iter().flatten();
    match (given.next(), given.next()) {
        (Some((first, name, _)), Some((second, _, _))) => {
            let place = reading.place(first);
            let error = reading.error(second, "a set is a `list`, a `file` or a `url`, and no two of them");
            reading.report(error.with_related(&place, format!("the `{name}` is here")));
            None
        }
        _ if broken => None,
        (Some((_, _, only)), None) => Some(only),
        (None, _) => {
            if table.unknown.is_empty() {
                let error = reading.error(span, "this address set holds nothing");
                let help = "say what it holds: `list = [\"192.0.2.0/24\"]`, `file = \"partner.txt\"` or \
                            `url = \"https://example.com/list.txt\"`";
                reading.report(error.with_help(help));
            }
            None
        }
    }
}

pub(super) fn networks(list: &List<Network>) -> Vec<IpNet> {
    list.values().map(|Network(network)| *network).collect()
}

/// Address files that were read: several sets may name one.
#[derive(Default)]
struct Files(HashMap<PathBuf, Option<Vec<IpNet>>>);

impl Files {
    fn networks(&mut self, file: &Given<FilePath>, reading: &mut Reading) -> Option<Vec<IpNet>> {
        let path = reading.path(&file.value.0, file.span);
        if let Some(networks) = self.0.get(&path) {
            return networks.clone();
        }
        let networks = read(&path, file.span, reading);
        self.0.insert(path, networks.clone());
        networks
    }
}

fn read(path: &Path, span: Span, reading: &mut Reading) -> Option<Vec<IpNet>> {
    let name = path.to_string_lossy();
    let text = match reading.read(path).and_then(into_text) {
        Ok(text) => text,
        Err(error) => {
            let message = format!("cannot read {}: {}", quoted(&name), reason(&error));
            reading.report(reading.error(span, message));
            return None;
        }
    };
    let directory = path.parent().unwrap_or(Path::new(""));
    let Some(file) = reading.add(&name, &*text, directory) else {
        reading.report(reading.error(span, format!("{} is longer than 4 GiB", quoted(&name))));
        return None;
    };
    let mut networks = Vec::new();
    let mut problems = Vec::new();
    for (start, line) in lines(&text) {
        match Network::parse(line) {
            Ok(Network(network)) => networks.push(network),
            Err(error) => {
                let span = Span::new(file, start..start + line.len());
                problems.push((span, error));
            }
        }
    }
    let is_whole = problems.is_empty();
    for (span, error) in problems {
        let part = error.part.unwrap_or(0..span.range().len());
        let start = span.range().start;
        let place = Span::new(file, start + part.start..start + part.end);
        let diagnostic = reading.error(place, error.message);
        reading.report(match error.help {
            Some(help) => diagnostic.with_help(help),
            None => diagnostic,
        });
    }
    if is_whole && networks.is_empty() {
        let help = "write one address or CIDR a line; an empty set would let nobody in";
        let message = format!("{} holds no address", quoted(&name));
        reading.report(Diagnostic::error(&reading.place(span), message).with_help(help));
        return None;
    }
    is_whole.then_some(networks)
}

/// The lines that say something, without comments and blanks, and where each begins.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut start = 0;
    text.split_inclusive('\n').filter_map(move |line| {
        let line_start = start;
        start += line.len();
        let content = line.split('#').next().unwrap_or_default();
        let trimmed = content.trim();
        let indent = content.len() - content.trim_start().len();
        (!trimmed.is_empty()).then_some((line_start + indent, trimmed))
    })
}
