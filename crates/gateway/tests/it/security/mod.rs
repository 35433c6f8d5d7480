//! Attacks, each file named by one.

mod header_injection;
mod host_confusion;
mod path_confusion;
mod pipelining;
mod request_smuggling;
mod response_confusion;
mod slow_client;
