//! `gatepost usage`: what did callers use, and what have they left?

pub(crate) mod csv;
mod last_use;
mod page;
mod report;
mod source;
mod stored;

pub(crate) use self::last_use::{KeyEntry, LastUses};
pub(crate) use self::page::{Spent, UsagePage};
pub(crate) use self::source::{NotRead, UsageQuery, UsageSource, day, in_order};
pub(crate) use self::stored::Stored;

use std::path::Path;

use gatepost_config::load;
use jiff::civil::Date;

use crate::ask::{Asking, Running};
use crate::exit::Failure;
use crate::note;
use crate::usage::report::Printer;

/// Whose usage, when, and how it is told.
#[derive(Debug, clap::Args)]
pub(crate) struct UsageQuestion {
    /// Whose [default: that of all who used something]
    caller: Option<String>,
    /// From this day on, in UTC: 2026-11-20
    #[arg(long, value_name = "DAY", value_parser = day)]
    from: Option<Date>,
    /// Up to this day, and on it
    #[arg(long, value_name = "DAY", value_parser = day)]
    to: Option<Date>,
    /// Print CSV (RFC 4180): what was used, without what is left
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// Print JSON, the same in every version: see docs/callers.md
    #[arg(long)]
    json: bool,
    /// Ask the running gateway, and fail if none answers
    #[arg(long)]
    live: bool,
    /// Read the store in the state directory, whether a gateway runs or not
    #[arg(long, conflicts_with_all = ["live", "admin"])]
    offline: bool,
    #[command(flatten)]
    asking: Asking,
}

/// Rows that are asked for at once.
const PART: usize = 1000;

/// Tells it, from the running gateway or its store.
pub(crate) fn usage(file: &Path, question: UsageQuestion) -> Result<(), Failure> {
    let UsageQuestion { caller, from, to, csv, json, live, offline, asking } = question;
    in_order(from, to).map_err(Failure::Usage)?;
    let query = UsageQuery { caller, from, to, after: None, limit: PART };
    let mut printer = match (csv, json) {
        (true, _) => Printer::csv(),
        (_, true) => Printer::json(),
        (false, false) => Printer::text(),
    };
    if !offline {
        let must = live || asking.names_one();
        match asking.running(file) {
            Ok(running) => {
                if told_by(&running, query.clone(), &mut printer)? {
                    return Ok(());
                }
                if must {
                    return Err(Failure::CannotRun(format!("no gateway answers at {}", running.place())));
                }
            }
            Err(failure) if must => return Err(failure),
            Err(_) => {}
        }
    }
    let model = load(file)?.model;
    let source = Stored::at(&model.server.state);
    let unreadable = |error: NotRead| Failure::CannotRun(error.to_string());
    if !source.is_there().map_err(unreadable)? {
        note(&format!("no gateway has counted anything in {}", model.server.state.display()));
    }
    let mut query = query;
    loop {
        let page = UsagePage::of(&source, &model, &query, |_| None).map_err(unreadable)?;
        let next = page.next.clone();
        say_if_nobody(&query, &page);
        printer.print(page)?;
        match next {
            Some(next) => query.after = Some(next.parse().map_err(Failure::CannotRun)?),
            None => return printer.end(),
        }
    }
}

/// A name that was mistyped looks like somebody who used nothing.
fn say_if_nobody(query: &UsageQuery, page: &UsagePage) {
    if let UsageQuery { caller: Some(name), from, to, after: None, .. } = query
        && page.usage.is_empty()
        && page.callers.is_empty()
    {
        let days = if from.is_some() || to.is_some() { " for these days" } else { "" };
        note(&format!("there is no caller `{name}`, and nothing is on record of one{days}"));
    }
}

/// Prints what the running gateway tells; whether one answers.
fn told_by(running: &Running, mut query: UsageQuery, printer: &mut Printer) -> Result<bool, Failure> {
    let mut is_first = true;
    loop {
        let Some(told) = running.look(&format!("/v1/usage?{}", query.encode()))? else {
            // It was there for the first part.
            let gone = || Failure::CannotRun(format!("the gateway at {} is gone", running.place()));
            return if is_first { Ok(false) } else { Err(gone()) };
        };
        is_first = false;
        let page: UsagePage = told.read()?;
        let next = page.next.clone();
        say_if_nobody(&query, &page);
        printer.print(page)?;
        match next {
            Some(next) => query.after = Some(next.parse().map_err(Failure::CannotRun)?),
            None => return printer.end().map(|()| true),
        }
    }
}
