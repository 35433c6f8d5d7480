//! From the bytes of a list to its networks: all of them, or none.

mod json;

use std::net::IpAddr;
use std::str;

use gatepost_config::model::Pick;
use ipnet::IpNet;
use thiserror::Error;

/// The longest list that is read, in bytes.
pub const MOST_BYTES: usize = 64 * 1024 * 1024;

/// The most entries that a list may have.
pub const MOST_NETWORKS: usize = 2_000_000;

/// Why a list is not used. Nothing of it is.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReadError {
    /// It is longer than [`MOST_BYTES`].
    #[error("it is longer than {} MiB", MOST_BYTES / 1024 / 1024)]
    TooLong,
    /// It has more entries than [`MOST_NETWORKS`].
    #[error("it has more than {MOST_NETWORKS} entries")]
    TooMany,
    /// It is no text.
    #[error("it is not text in UTF-8")]
    NotText,
    /// It is no JSON, or not all of it came.
    #[error("it is not JSON: {0}")]
    NotJson(Box<str>),
    /// Nothing, or no array, is where the addresses should be.
    #[error("it has no list at `{pointer}`")]
    NoArray {
        /// The JSON pointer.
        pointer: Box<str>,
    },
    /// Something in it is no address and no CIDR.
    #[error("entry {number} is no address and no CIDR: `{text}`")]
    Entry {
        /// Which line of a text, or which entry of an array, counted from 1.
        number: usize,
        /// The beginning of what it is.
        text: Box<str>,
    },
    /// It holds no address.
    #[error("it holds no address")]
    Empty,
}

/// Reads a list: every entry that `pick` selects, bare addresses as networks of their own.
///
/// Host bits are masked, IPv4-mapped IPv6 is folded to IPv4, duplicates are dropped; the order is that of addresses,
/// IPv4 first. One entry that cannot be read makes the whole list one that is not: half of a list would let half of
/// those in who should be, and nobody would know which half.
///
/// # Errors
/// See [`ReadError`].
pub fn read_list(bytes: &[u8], pick: &Pick) -> Result<Vec<IpNet>, ReadError> {
    if bytes.len() > MOST_BYTES {
        return Err(ReadError::TooLong);
    }
    let mut networks = match pick {
        Pick::Lines => lines(bytes)?,
        Pick::Json(selections) => json::select(bytes, selections)?,
    };
    if networks.is_empty() {
        return Err(ReadError::Empty);
    }
    networks.sort_unstable();
    networks.dedup();
    Ok(networks)
}

/// An address or a CIDR, as it counts.
pub(crate) fn network(text: &str) -> Option<IpNet> {
    let Some((address, length)) = text.split_once('/') else {
        return Some(text.parse::<IpAddr>().ok()?.to_canonical().into());
    };
    let address: IpAddr = address.parse().ok()?;
    // `parse` would take a sign too.
    let plain = (1..=3).contains(&length.len()) && length.bytes().all(|byte| byte.is_ascii_digit());
    let length: u8 = length.parse().ok().filter(|_| plain)?;
    let written = IpNet::new(address, length).ok()?.trunc();
    let IpNet::V6(six) = written else { return Some(written) };
    match (six.addr().to_ipv4_mapped(), length.checked_sub(96)) {
        (Some(four), Some(length)) => IpNet::new(four.into(), length).ok(),
        _ => Some(written),
    }
}

fn lines(bytes: &[u8]) -> Result<Vec<IpNet>, ReadError> {
    let text = str::from_utf8(bytes).map_err(|_| ReadError::NotText)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut networks = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let entry = line.split('#').next().unwrap_or_default().trim();
        if !entry.is_empty() {
            push(&mut networks, entry, index + 1)?;
        }
    }
    Ok(networks)
}

fn push(networks: &mut Vec<IpNet>, text: &str, number: usize) -> Result<(), ReadError> {
    let network = network(text).ok_or_else(|| ReadError::Entry { number, text: beginning(text) })?;
    if networks.len() == MOST_NETWORKS {
        return Err(ReadError::TooMany);
    }
    networks.push(network);
    Ok(())
}

/// What of a stranger's text is shown: its beginning, harmless to a terminal.
fn beginning(text: &str) -> Box<str> {
    const LONGEST: usize = 40;
    let mut shown: String = text.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown.into()
}

#[cfg(test)]
mod tests;
