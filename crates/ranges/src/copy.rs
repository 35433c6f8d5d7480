//! The last good copy of a list, in a file of its own: what a gateway begins with, and what is asked when there is no
//! gateway.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gatepost_config::model::{Feed, Pick};
use gatepost_prefix::PrefixSet;
use ipnet::IpNet;
use jiff::Timestamp;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};
use thiserror::Error;

use crate::judge::{Bounds, judge};
use crate::read::{MOST_NETWORKS, network};

/// A list that was fetched and found good.
#[derive(Debug, Clone)]
pub(crate) struct Copy {
    pub(crate) set: Arc<PrefixSet>,
    pub(crate) validators: Validators,
    /// When it came.
    pub(crate) fetched: Timestamp,
    /// When the publisher last said that it is still what it publishes.
    pub(crate) confirmed: Timestamp,
}

/// What a publisher knows a version of a document by (RFC 9110, 8.8).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Validators {
    /// Its `ETag`.
    pub etag: Option<String>,
    /// Its `Last-Modified`.
    pub last_modified: Option<String>,
}

/// Why a copy is not used.
#[derive(Debug, Error)]
pub(crate) enum CopyError {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It is not what was written, or not by a gateway of this version.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// It is of another list.
    #[error("it is of another list: the set had another `url` or `pick`")]
    Foreign,
}

/// The file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    version: u32,
    name: String,
    url: String,
    pick: Value,
    etag: Option<String>,
    last_modified: Option<String>,
    fetched: Timestamp,
    confirmed: Timestamp,
    networks: Networks,
}

/// The networks in the file, of which never more than one is held as text.
struct Networks(Arc<PrefixSet>);

const VERSION: u32 = 1;

/// The longest file that is read: more than [`MOST_NETWORKS`] take.
const MOST_BYTES: u64 = 128 * 1024 * 1024;

/// Where the copy of the set `name` is: `addresses/NAME.json` in the state directory, where every character of a name
/// but letters, digits, `_` and `-` is `%` and two hexadecimal digits.
pub(crate) fn path_of(state: &Path, name: &str) -> PathBuf {
    let mut file = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"_-".contains(&byte) {
            file.push(char::from(byte));
        } else {
            file.push_str(&format!("%{byte:02X}"));
        }
    }
    state.join("addresses").join(file + ".json")
}

/// The copy at `path` of the set `name`, if there is one.
///
/// # Errors
/// See [`CopyError`].
pub(crate) fn read(path: &Path, name: &str, feed: &Feed) -> Result<Option<Copy>, CopyError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let damaged = |what: &dyn ToString| CopyError::Damaged(what.to_string());
    if file.metadata()?.len() > MOST_BYTES {
        return Err(damaged(&"it is too long"));
    }
    let reader = BufReader::new(file.take(MOST_BYTES));
    let written: Written = serde_json::from_reader(reader)
        .map_err(|error| if error.is_io() { CopyError::Io(error.into()) } else { damaged(&error) })?;
    if written.version != VERSION {
        return Err(damaged(&format!("its version is {}", written.version)));
    }
    if written.name != name || written.url != feed.url.to_string() || written.pick != pick_text(&feed.pick) {
        return Err(CopyError::Foreign);
    }
    let Networks(set) = written.networks;
    let bounds = Bounds { shrink: feed.shrink, grow: feed.grow };
    judge(&set, None, bounds).map_err(|objection| damaged(&objection))?;
    let validators = Validators { etag: written.etag, last_modified: written.last_modified };
    Ok(Some(Copy { set, validators, fetched: written.fetched, confirmed: written.confirmed }))
}

/// Writes the copy so that there is the old one or the new one whole, whenever the power goes.
///
/// # Errors
/// It cannot be written.
pub(crate) fn write(path: &Path, name: &str, url: &str, pick: &Pick, copy: &Copy) -> io::Result<()> {
    let written = Written {
        version: VERSION,
        name: name.to_owned(),
        url: url.to_owned(),
        pick: pick_text(pick),
        etag: copy.validators.etag.clone(),
        last_modified: copy.validators.last_modified.clone(),
        fetched: copy.fetched,
        confirmed: copy.confirmed,
        networks: Networks(Arc::clone(&copy.set)),
    };
    let directory = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(directory)?;
    let beside = path.with_extension("new");
    let mut writer = BufWriter::new(File::create(&beside)?);
    serde_json::to_writer(&mut writer, &written)?;
    writer.into_inner()?.sync_all()?;
    fs::rename(&beside, path)?;
    File::open(directory)?.sync_all()
}

impl Serialize for Networks {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.networks().map(Canonical))
    }
}

impl<'de> Deserialize<'de> for Networks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(NetworksVisitor)
    }
}

struct NetworksVisitor;

impl<'de> Visitor<'de> for NetworksVisitor {
    type Value = Networks;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "1 to {MOST_NETWORKS} networks")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Networks, A::Error> {
        let mut networks: Vec<IpNet> = Vec::new();
        while let Some(Canonical(network)) = sequence.next_element()? {
            if networks.len() == MOST_NETWORKS {
                return Err(A::Error::custom("it has too many networks"));
            }
            networks.push(network);
        }
        if networks.is_empty() {
            return Err(A::Error::custom("it has no networks"));
        }
        Ok(Networks(Arc::new(networks.into_iter().collect())))
    }
}

/// A network as it is written in the file, and in no other way.
struct Canonical(IpNet);

impl Serialize for Canonical {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Canonical {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(CanonicalVisitor)
    }
}

struct CanonicalVisitor;

impl Visitor<'_> for CanonicalVisitor {
    type Value = Canonical;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a network")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Canonical, E> {
        let network = network(text).filter(|network| network.to_string() == text);
        network.map(Canonical).ok_or_else(|| E::custom("a network is none"))
    }
}

/// What of a list counts, as the file says it.
fn pick_text(pick: &Pick) -> Value {
    match pick {
        Pick::Lines => json!("lines"),
        Pick::Json(selections) => selections
            .iter()
            .map(|selection| json!({ "array": selection.array, "members": selection.members, "only": selection.only }))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{feed, networks};

    fn copy() -> Copy {
        Copy {
            set: Arc::new(networks(&["192.0.2.0/24", "2001:db8::/32"])),
            validators: Validators { etag: Some("\"a\"".to_owned()), last_modified: None },
            fetched: "2026-01-01T00:00:00Z".parse().unwrap(),
            confirmed: "2026-01-02T00:00:00Z".parse().unwrap(),
        }
    }

    #[test]
    fn a_copy_comes_back_as_it_was_written() {
        let state = tempfile::tempdir().unwrap();
        let (feed, name) = (feed("http://127.0.0.1/list"), "@aws/us-east-1/EC2");
        let path = path_of(state.path(), name);
        assert!(path.ends_with("addresses/%40aws%2Fus-east-1%2FEC2.json"));
        assert!(read(&path, name, &feed).unwrap().is_none());
        for _ in 0..2 {
            write(&path, name, &feed.url.to_string(), &feed.pick, &copy()).unwrap();
            let back = read(&path, name, &feed).unwrap().unwrap();
            assert_eq!((back.set, back.validators), (copy().set, copy().validators));
            assert_eq!((back.fetched, back.confirmed), (copy().fetched, copy().confirmed));
        }
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing else is left behind");
    }

    #[test]
    fn a_copy_of_another_list_is_not_used() {
        let state = tempfile::tempdir().unwrap();
        let ours = feed("http://127.0.0.1/list");
        let path = path_of(state.path(), "a");
        write(&path, "a", &ours.url.to_string(), &ours.pick, &copy()).unwrap();
        assert!(matches!(read(&path, "a", &feed("http://127.0.0.1/other")), Err(CopyError::Foreign)));
        assert!(matches!(read(&path, "b", &ours), Err(CopyError::Foreign)));
        let picked = Feed { pick: Pick::Json(Vec::new()), ..ours };
        assert!(matches!(read(&path, "a", &picked), Err(CopyError::Foreign)));
    }

    #[test]
    fn a_damaged_copy_is_not_used_in_any_part() {
        let state = tempfile::tempdir().unwrap();
        let feed = feed("http://127.0.0.1/list");
        let path = path_of(state.path(), "a");
        write(&path, "a", &feed.url.to_string(), &feed.pick, &copy()).unwrap();
        let whole = fs::read_to_string(&path).unwrap();
        let networks = r#"["192.0.2.0/24","2001:db8::/32"]"#;
        assert!(whole.contains(networks));
        let damaged = [
            String::new(),
            whole[..whole.len() / 2].to_owned(),
            whole.replace("\"version\":1", "\"version\":2"),
            whole.replace("\"version\"", "\"edition\""),
            whole.replace(networks, "[]"),
            whole.replace("192.0.2.0/24", "192.0.2.7/24"),
            whole.replace("192.0.2.0/24", "0.0.0.0/0"),
            whole.replace("192.0.2.0/24", "office"),
            whole.replace("2026-01-01", "2026-13-01"),
        ];
        for text in damaged {
            fs::write(&path, &text).unwrap();
            assert!(matches!(read(&path, "a", &feed), Err(CopyError::Damaged(_))), "{text}");
        }
    }
}
