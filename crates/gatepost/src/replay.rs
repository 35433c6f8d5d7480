//! `gatepost replay`: what would a configuration say of the requests that were?

mod report;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use gatepost_config::{Loaded, load};
use gatepost_gateway::{Judge, Judged, Judgement, RouteName};

use crate::cli;
use crate::exit::{Failure, REFUSED};
use crate::print;
use crate::recorded::{self, LoggedVerdict, Read, Recorded, printable};
use crate::top::Top;

/// A log, and what judges it.
#[derive(Debug, clap::Args)]
pub(crate) struct Again {
    /// The access log; `-` is standard input
    access_log: PathBuf,
    /// The configuration file [default: gatepost.toml]
    #[arg(conflicts_with = "config")]
    file: Option<PathBuf>,
    /// How much of each list is printed, the most frequent first
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    top: u16,
    /// Print JSON, the same in every version: see docs/diff-and-replay.md
    #[arg(long)]
    json: bool,
    /// End with 3 if a request would newly be admitted or refused
    #[arg(long)]
    exit_code: bool,
}

/// Judges every request again. The examples of the file are not judged.
pub(crate) fn replay(config: Option<PathBuf>, again: Again) -> Result<ExitCode, Failure> {
    let Again { access_log, file, top, json, exit_code } = again;
    let file = cli::file(config, file);
    let Loaded { model, .. } = load(&file)?;
    let judge = Judge::new(&model);
    let mut replayed = Replayed::default();
    replayed.read = recorded::read(&access_log, |record| replayed.take(record, &judge))?;
    let top = usize::from(top);
    print(&if json { report::json(&replayed, top) } else { report::text(&replayed, &file, top) })?;
    let changed = replayed.count(Turn::Admitted) + replayed.count(Turn::Refused) > 0;
    Ok(if exit_code && changed { ExitCode::from(REFUSED) } else { ExitCode::SUCCESS })
}

/// What came of it.
#[derive(Debug, Default)]
struct Replayed<'j> {
    read: Read,
    turns: [u64; Turn::ALL.len()],
    changes: Top<Change<'j>>,
    clients: Top<(Turn, IpAddr)>,
    examples: BTreeMap<Turn, Vec<Example>>,
    /// Refused for what depends on what was under way: how many would be admitted now, and how many refused.
    metered: BTreeMap<Box<str>, Metered>,
    /// What the log does not have enough of, by reason.
    apart: BTreeMap<Box<str>, u64>,
}

/// Requests that were refused by a meter, judged as if it had been full.
#[derive(Debug, Default, Clone, Copy)]
struct Metered {
    admitted: u64,
    refused: u64,
}

/// Which way a verdict changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Turn {
    /// It does not.
    Kept,
    Refused,
    Admitted,
    /// Refused before and after, with other answers.
    RefusedOtherwise,
    /// Let in before and after, by other routes.
    ServedOtherwise,
}

/// What changes for many requests alike.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Change<'j> {
    turn: Turn,
    before: Before,
    /// The judgement as text, which has an order.
    after: String,
    route: Option<RouteName<'j>>,
}

/// What became of a request when it was there.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Before {
    verdict: String,
    /// Its API and key.
    route: Option<(String, String)>,
}

/// One request, as people know it again.
#[derive(Debug)]
struct Example {
    time: String,
    id: String,
    request: String,
    before: String,
    after: String,
}

impl<'j> Replayed<'j> {
    fn take(&mut self, record: &Recorded<'_>, judge: &'j Judge<'_>) {
        let reason = record.reason.as_deref().filter(|_| record.verdict == LoggedVerdict::Refused);
        let judged = match reason.map_or(Ground::Known, Ground::of) {
            Ground::Known => record.judge(judge),
            Ground::Meter => return self.take_metered(record, judge),
            Ground::Unknown => None,
        };
        match judged {
            Some(judged) => self.take_judged(record, judged),
            None => self.set_apart(record),
        }
    }

    fn take_judged(&mut self, record: &Recorded<'_>, judged: Judged<'j>) {
        let turn = Turn::of(record, &judged);
        self.turns[turn as usize] += 1;
        if turn == Turn::Kept {
            return;
        }
        let before = Before::of(record);
        let examples = self.examples.entry(turn).or_default();
        if examples.len() < EXAMPLES {
            examples.push(Example {
                time: printable(&record.time),
                id: printable(&record.id),
                request: record.shown(),
                before: before.verdict.clone(),
                after: judged.judgement.to_string(),
            });
        }
        self.clients.add((turn, record.client));
        self.changes.add(Change { turn, before, after: judged.judgement.to_string(), route: judged.route });
    }

    fn take_metered(&mut self, record: &Recorded<'_>, judge: &'j Judge<'_>) {
        let Some(judged) = record.judge(judge) else { return self.set_apart(record) };
        let reason = record.reason.as_deref().unwrap_or_default();
        let metered = self.metered.entry(reason.into()).or_default();
        if judged.judgement.is_admitted() { metered.admitted += 1 } else { metered.refused += 1 }
    }

    /// A log says anything: what is not ours is counted together.
    fn set_apart(&mut self, record: &Recorded<'_>) {
        const REASONS: usize = 100;
        let reason = record.reason.as_deref().unwrap_or("cut");
        let reason = if self.apart.len() < REASONS { printable(reason) } else { "other".to_owned() };
        *self.apart.entry(reason.into()).or_default() += 1;
    }

    fn count(&self, turn: Turn) -> u64 {
        self.turns[turn as usize]
    }
}

/// How many requests of each kind are shown.
const EXAMPLES: usize = 3;

/// What a logged verdict rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ground {
    /// What the log has.
    Known,
    /// What else was under way.
    Meter,
    /// What the log does not have: headers, bodies, certificates.
    Unknown,
}

/// The refusal of whoever is not listed, and what it is called in the log if the body was signed as it should be.
const NOT_LISTED: &str = "address_not_listed";
const SIGNED_BUT_NOT_LISTED: &str = "signed_but_not_listed";

impl Ground {
    fn of(reason: &str) -> Self {
        match reason {
            NOT_LISTED
            | SIGNED_BUT_NOT_LISTED
            | "no_route"
            | "method_not_allowed"
            | "policy_denied"
            | "credentials_missing"
            | "caller_not_listed" => Self::Known,
            "throttled" | "busy" => Self::Meter,
            _ => Self::Unknown,
        }
    }
}

impl Turn {
    const ALL: [Self; 5] = [Self::Kept, Self::Refused, Self::Admitted, Self::RefusedOtherwise, Self::ServedOtherwise];

    fn of(record: &Recorded<'_>, judged: &Judged<'_>) -> Self {
        // Whom no route has let in was only sent to `https`.
        let was_let_in = record.verdict == LoggedVerdict::Admitted && record.route.is_some();
        match (was_let_in, judged.judgement.is_admitted()) {
            (false, true) => Self::Admitted,
            (true, false) => Self::Refused,
            (true, true) => {
                let route = record.api.as_deref().zip(record.route.as_deref());
                let is_same = judged.route.map(|route| (route.api, route.key)) == route;
                if is_same { Self::Kept } else { Self::ServedOtherwise }
            }
            (false, false) => {
                if is_same_answer(record, judged.judgement) {
                    Self::Kept
                } else {
                    Self::RefusedOtherwise
                }
            }
        }
    }

    /// Its stable name.
    fn name(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Refused => "newly_refused",
            Self::Admitted => "newly_admitted",
            Self::RefusedOtherwise => "refused_otherwise",
            Self::ServedOtherwise => "served_otherwise",
        }
    }

    /// For people.
    fn text(self) -> &'static str {
        match self {
            Self::Kept => "keep their verdict",
            Self::Refused => "newly refused",
            Self::Admitted => "newly admitted",
            Self::RefusedOtherwise => "refused in another way",
            Self::ServedOtherwise => "admitted by another route",
        }
    }
}

/// Whether a request that was not let in would be answered as it was.
fn is_same_answer(record: &Recorded<'_>, judgement: Judgement) -> bool {
    let is_same = |status: u16| record.status == Some(status);
    match (record.verdict, judgement) {
        (LoggedVerdict::Admitted, Judgement::ToHttps(status)) => is_same(status.as_u16()),
        (LoggedVerdict::Refused, Judgement::Refused { status, reason }) => {
            // Signatures are not judged again.
            let was = match record.reason.as_deref() {
                Some(SIGNED_BUT_NOT_LISTED) => Some(NOT_LISTED),
                reason => reason,
            };
            is_same(status.as_u16()) && was == Some(reason.name())
        }
        (LoggedVerdict::Admitted | LoggedVerdict::Refused, _) => false,
    }
}

impl Before {
    fn of(record: &Recorded<'_>) -> Self {
        let verdict = match (record.verdict, record.status) {
            (LoggedVerdict::Admitted, Some(status)) if record.route.is_none() => format!("{status} to https"),
            (LoggedVerdict::Admitted, _) => "admitted".to_owned(),
            (LoggedVerdict::Refused, status) => {
                let status = status.map(|status| format!("{status} ")).unwrap_or_default();
                status + &printable(record.reason.as_deref().unwrap_or("refused"))
            }
        };
        let route = record.api.as_deref().zip(record.route.as_deref());
        Self { verdict, route: route.map(|(api, key)| (printable(api), printable(key))) }
    }
}
