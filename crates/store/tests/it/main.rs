//! The store on real files: what it promises, what crashes lose, what happens on disks that are full or read-only.

mod client;
mod crashes;
mod disks;
mod store;
