//! `gatepost diff`: what does a change of the configuration change?

mod report;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use gatepost_config::{Loaded, load};
use gatepost_gateway::{Difference, Judge, Judgement, RouteName, Sides, VerdictChange, diff as compare};

use crate::exit::{Failure, REFUSED};
use crate::print;
use crate::recorded::{self, Read};
use crate::top::Top;

/// Two configurations.
#[derive(Debug, clap::Args)]
pub(crate) struct Comparison {
    /// The configuration as it is
    old: PathBuf,
    /// The configuration as it would be
    new: PathBuf,
    /// An access log: whose requests in it would be judged otherwise? `-` is standard input
    #[arg(long, value_name = "ACCESS_LOG")]
    log: Option<PathBuf>,
    /// How much of each list is printed, the largest first
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    top: u16,
    /// Print JSON, the same in every version: see docs/diff-and-replay.md
    #[arg(long)]
    json: bool,
    /// End with 3 if somebody may newly enter, or no longer; also if that cannot be told
    #[arg(long)]
    exit_code: bool,
}

/// Compares the files. Their examples are not judged.
pub(crate) fn diff(comparison: &Comparison) -> Result<ExitCode, Failure> {
    let Comparison { old, new, log, top, json, exit_code } = comparison;
    let Loaded { model: old, .. } = load(old)?;
    let Loaded { model: new, .. } = load(new)?;
    let judges = Sides { old: Judge::new(&old), new: Judge::new(&new) };
    let difference = compare(&judges.old, &judges.new);
    let hit = log.as_deref().map(|log| Hit::read(log, &judges)).transpose()?;
    let top = usize::from(*top);
    print(&match json {
        true => report::json(&difference, hit.as_ref(), top),
        false => report::text(&difference, hit.as_ref(), top),
    })?;
    Ok(if *exit_code && difference.changes_who_may_enter() { ExitCode::from(REFUSED) } else { ExitCode::SUCCESS })
}

/// What becomes of the requests of a log that both configurations judge differently.
struct Hit<'j> {
    read: Read,
    /// How many were judged by both.
    judged: u64,
    /// How many would newly be admitted, and how many refused.
    admitted: u64,
    refused: u64,
    clients: Top<HitClient<'j>>,
}

/// A client whose requests to one route are judged otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct HitClient<'j> {
    turn: Turn,
    client: IpAddr,
    /// By the configuration that admits them.
    route: Option<RouteName<'j>>,
}

/// Which way a verdict changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Turn {
    Admitted,
    Refused,
    /// Refused before and after, or sent elsewhere.
    Other,
}

impl Turn {
    fn of(judgement: Sides<Judgement>) -> Self {
        match (judgement.old.is_admitted(), judgement.new.is_admitted()) {
            (false, true) => Self::Admitted,
            (true, false) => Self::Refused,
            (true, true) | (false, false) => Self::Other,
        }
    }

    /// The changes of this kind, the largest first.
    fn among<'d, 'm>(self, difference: &'d Difference<'m>) -> Vec<&'d VerdictChange<'m>> {
        difference.verdicts.iter().filter(|change| Self::of(change.judgement) == self).collect()
    }
}

impl<'j> Hit<'j> {
    fn read(log: &Path, judges: &'j Sides<Judge<'_>>) -> Result<Self, Failure> {
        let mut hit = Self { read: Read::default(), judged: 0, admitted: 0, refused: 0, clients: Top::default() };
        hit.read = recorded::read(log, |record| {
            let (Some(old), Some(new)) = (record.judge(&judges.old), record.judge(&judges.new)) else { return };
            hit.judged += 1;
            let turn = Turn::of(Sides { old: old.judgement, new: new.judgement });
            let route = match turn {
                Turn::Admitted => new.route,
                Turn::Refused => old.route,
                Turn::Other => return,
            };
            match turn {
                Turn::Admitted => hit.admitted += 1,
                Turn::Refused | Turn::Other => hit.refused += 1,
            }
            hit.clients.add(HitClient { turn, client: record.client, route });
        })?;
        Ok(hit)
    }
}
