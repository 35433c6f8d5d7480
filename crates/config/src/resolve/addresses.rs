//! `[addresses.…]`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ipnet::IpNet;

use crate::collections::List;
use crate::decode::{Field, Given};
use crate::diagnostic::Diagnostic;
use crate::file::AddressesTable;
use crate::load::{into_text, reason};
use crate::model::{AddressSet, AddressSource};
use crate::reading::Reading;
use crate::resolve::names::{Known, Namespace};
use crate::source::Span;
use crate::text::{FilePath, Name, Network, Text, quoted};

/// Resolves every set, and reads the files that hold them.
pub(super) fn sets(sets: Namespace<Name, AddressesTable>, reading: &mut Reading) -> Known<Arc<AddressSet>> {
    let mut files = Files::default();
    sets.resolve(|name, span, table| {
        let networks = match (&table.list, &table.file) {
            (Field::Given(list), Field::Absent) => networks(&list.value),
            (Field::Absent, Field::Given(file)) => files.networks(file, reading)?,
            (Field::Absent, Field::Absent) => {
                if table.unknown.is_empty() {
                    let error = reading.error(span, "this address set holds nothing");
                    let help = "say what it holds: `list = [\"192.0.2.0/24\"]` or `file = \"partner.txt\"`";
                    reading.report(error.with_help(help));
                }
                return None;
            }
            (Field::Given(list), Field::Given(file)) => {
                let place = reading.place(list.key);
                let error = reading.error(file.key, "a set is a `list` or a `file`, not both");
                reading.report(error.with_related(&place, "the `list` is here"));
                return None;
            }
            (Field::Broken, _) | (_, Field::Broken) => return None,
        };
        let source = AddressSource::Fixed(networks);
        Some(Arc::new(AddressSet { name: name.0, source, place: reading.place(span) }))
    })
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
    let Some(file) = reading.add(&name, &text, directory) else {
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
