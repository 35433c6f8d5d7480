//! The configuration language of Gatepost: what people write, what it means, and what is wrong with it.
//!
//! [`load`] reads a file and everything that it names, and answers with a [`Loaded`] or with a
//! [`Report`] of everything that is wrong. There is no third outcome: a [`Model`](model::Model) exists
//! only when nothing is wrong, so whoever holds one has nothing left to check.
//!
//! What this crate is not: it opens no socket, resolves no name, and keeps no state. It decides nothing
//! about requests; the gateway compiles a model into what does.
//!
//! A configuration passes through three forms:
//!
//! 1. text, and TOML with the place of every key and value;
//! 2. the tables of `file.rs`, which hold exactly what was written, each typed string parsed. Their
//!    definitions also make the JSON Schema ([`schema()`]) and its descriptions;
//! 3. the [`model`], with defaults filled in, references resolved, secrets and address lists read.
//!
//! Each step goes on after a mistake, so that one report has them all. What is broken is marked so, and
//! nothing built on it is reported a second time.

pub mod model;
pub mod path;

mod catalogue;
mod choice;
mod collections;
mod decode;
mod diagnostic;
mod file;
mod files;
mod include;
mod load;
mod number;
mod pem;
mod pieces;
mod reading;
mod render;
mod resolve;
mod schema;
mod secret;
mod source;
mod syntax;
mod text;
mod value;

pub use self::diagnostic::{Diagnostic, Place, Report};
pub use self::files::Files;
pub use self::load::{Loaded, load, load_as_if, load_text};
pub use self::schema::schema;
pub use self::secret::Secret;
pub use self::source::Sources;
