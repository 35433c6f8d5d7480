use std::fmt;

use crate::{AmzDate, TERMINATOR};

/// What a signature is good for: one day, one region, one service. Written `20260115/us-east-1/execute-api/aws4_request`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Scope {
    day: String,
    region: String,
    service: String,
}

impl Scope {
    /// The scope of a signature made at `date`, in UTC.
    #[must_use]
    pub fn new(date: AmzDate, region: &str, service: &str) -> Self {
        Self { day: date.day(), region: region.to_owned(), service: service.to_owned() }
    }

    /// The day, as `20260115`.
    #[must_use]
    pub fn day(&self) -> &str {
        &self.day
    }

    /// The region, as `us-east-1`.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.region
    }

    /// The service, as `execute-api`.
    #[must_use]
    pub fn service(&self) -> &str {
        &self.service
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}/{}/{TERMINATOR}", self.day, self.region, self.service)
    }
}
