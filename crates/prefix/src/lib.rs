//! Sets of networks: whether an address lies in any of many.
//!
//! Everything that judges by address judges by these: address sets, policies, fences. No I/O, no names.

#![forbid(unsafe_code)]

mod prefix_set;
mod ranges;

pub use prefix_set::{Extent, PrefixSet};
