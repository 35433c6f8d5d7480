//! What came of a log, as people read it, and as programs do.

use std::collections::BTreeMap;
use std::fmt::{Arguments, Write};
use std::net::IpAddr;
use std::path::Path;

use gatepost_gateway::RouteName;
use serde::Serialize;

use crate::replay::{Before, Change, Example, Metered, Replayed, Turn};

/// For people: at most `top` of each list.
pub(crate) fn text(replayed: &Replayed<'_>, file: &Path, top: usize) -> String {
    let mut text = String::new();
    let judged: u64 = replayed.turns.iter().sum();
    line(&mut text, format_args!("{judged} requests, judged again by {}", file.display()));
    for turn in Turn::ALL {
        line(&mut text, format_args!("{:>10}  {}", replayed.count(turn), turn.text()));
    }
    apart_text(replayed, &mut text);
    changes_text(replayed, top, &mut text);
    clients_text(replayed, top, &mut text);
    examples_text(replayed, &mut text);
    text + "\nThe log has no headers, queries and bodies: they counted as absent, and signatures as good.\n"
}

fn line(text: &mut String, line: Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{line}");
}

fn apart_text(replayed: &Replayed<'_>, text: &mut String) {
    let Replayed { read, metered, apart, .. } = replayed;
    if !metered.is_empty() || !apart.is_empty() || read.unknown > 0 || read.ends_early {
        line(text, format_args!("\nset apart"));
    }
    for (reason, Metered { admitted, refused }) in metered {
        let all = admitted + refused;
        line(
            text,
            format_args!("{all:>10}  {reason} at the time; with full meters {admitted} admitted, {refused} refused"),
        );
    }
    for (reason, count) in apart {
        let why = if &**reason == "cut" {
            "too long for the log to have them whole"
        } else {
            "that hangs on more than the log has"
        };
        line(text, format_args!("{count:>10}  {reason}: {why}"));
    }
    if read.unknown > 0 {
        line(text, format_args!("{:>10}  lines that are not of an access log", read.unknown));
    }
    if read.ends_early {
        line(text, format_args!("{:>10}  last line that is not whole", 1));
    }
}

fn changes_text(replayed: &Replayed<'_>, top: usize, text: &mut String) {
    let changes = replayed.changes.most(top);
    if changes.is_empty() {
        return;
    }
    line(text, format_args!("\nby route"));
    for (Change { turn, before, after, route }, count) in &changes {
        let old = before.route.as_ref().map(|(api, key)| RouteName { api, key });
        let name = match (old, *route) {
            (Some(old), Some(new)) if old == new => new.to_string(),
            (Some(old), Some(new)) => format!("{old} -> {new}"),
            (Some(only), None) | (None, Some(only)) => only.to_string(),
            (None, None) => "no route".to_owned(),
        };
        let verdicts = format!("{} -> {after}", before.verdict);
        line(text, format_args!("{count:>10}  {:25}  {name}: {verdicts}", turn.text()));
    }
    more(text, replayed.changes.len(), changes.len());
}

fn clients_text(replayed: &Replayed<'_>, top: usize, text: &mut String) {
    let clients = replayed.clients.most(top);
    if clients.is_empty() {
        return;
    }
    line(text, format_args!("\nby client"));
    for ((turn, client), count) in &clients {
        line(text, format_args!("{count:>10}  {:25}  {client}", turn.text()));
    }
    more(text, replayed.clients.len(), clients.len());
    if !replayed.clients.is_exact() {
        line(text, format_args!("            too many clients to count each: those with few requests are left out"));
    }
}

fn examples_text(replayed: &Replayed<'_>, text: &mut String) {
    if replayed.examples.is_empty() {
        return;
    }
    line(text, format_args!("\nfor example"));
    for Example { time, id, request, before, after } in replayed.examples.values().flatten() {
        line(text, format_args!("  {time} {id}  {request}: {before} -> {after}"));
    }
}

fn more(text: &mut String, all: usize, shown: usize) {
    if all > shown {
        line(text, format_args!("            … and {} more", all - shown));
    }
}

/// For programs. The names of its fields, and what they mean, stay as they are; more may be added.
pub(crate) fn json(replayed: &Replayed<'_>, top: usize) -> String {
    let Replayed { read, metered, apart, changes, clients, examples, .. } = replayed;
    let report = Report {
        requests: replayed.turns.iter().sum(),
        turns: Turn::ALL.into_iter().map(|turn| (turn.name(), replayed.count(turn))).collect(),
        metered: metered
            .iter()
            .map(|(reason, metered)| {
                (&**reason, MeteredReport { would_be_admitted: metered.admitted, would_be_refused: metered.refused })
            })
            .collect(),
        not_judged: apart.iter().map(|(reason, count)| (&**reason, *count)).collect(),
        unknown_lines: read.unknown,
        ends_early: read.ends_early,
        changes: List {
            total: changes.len(),
            exact: changes.is_exact(),
            first: changes.most(top).into_iter().map(|(change, count)| ChangeReport::of(change, count)).collect(),
        },
        clients: List {
            total: clients.len(),
            exact: clients.is_exact(),
            first: clients
                .most(top)
                .into_iter()
                .map(|((turn, client), requests)| ClientReport { client: *client, turn: turn.name(), requests })
                .collect(),
        },
        examples: examples
            .iter()
            .flat_map(|(turn, examples)| examples.iter().map(|example| ExampleReport::of(*turn, example)))
            .collect(),
    };
    // There is nothing in it that JSON cannot hold.
    serde_json::to_string_pretty(&report).unwrap_or_default() + "\n"
}

#[derive(Serialize)]
struct Report<'r> {
    requests: u64,
    #[serde(flatten)]
    turns: BTreeMap<&'static str, u64>,
    metered: BTreeMap<&'r str, MeteredReport>,
    not_judged: BTreeMap<&'r str, u64>,
    unknown_lines: u64,
    ends_early: bool,
    changes: List<ChangeReport<'r>>,
    clients: List<ClientReport>,
    examples: Vec<ExampleReport<'r>>,
}

/// The most frequent of many.
#[derive(Serialize)]
struct List<T> {
    total: usize,
    /// Whether none was left out of the count.
    exact: bool,
    first: Vec<T>,
}

#[derive(Serialize)]
struct MeteredReport {
    would_be_admitted: u64,
    would_be_refused: u64,
}

#[derive(Serialize)]
struct ChangeReport<'r> {
    turn: &'static str,
    before: &'r str,
    after: &'r str,
    old_route: Option<NameReport<'r>>,
    new_route: Option<NameReport<'r>>,
    requests: u64,
}

#[derive(Serialize)]
struct NameReport<'r> {
    api: &'r str,
    key: &'r str,
}

#[derive(Serialize)]
struct ClientReport {
    client: IpAddr,
    turn: &'static str,
    requests: u64,
}

#[derive(Serialize)]
struct ExampleReport<'r> {
    turn: &'static str,
    time: &'r str,
    id: &'r str,
    request: &'r str,
    before: &'r str,
    after: &'r str,
}

impl<'r> ChangeReport<'r> {
    fn of(change: &'r Change<'_>, requests: u64) -> Self {
        let Change { turn, before: Before { verdict, route: old }, after, route: new } = change;
        Self {
            turn: turn.name(),
            before: verdict,
            after,
            old_route: old.as_ref().map(|(api, key)| NameReport { api, key }),
            new_route: new.map(|RouteName { api, key }| NameReport { api, key }),
            requests,
        }
    }
}

impl<'r> ExampleReport<'r> {
    fn of(turn: Turn, example: &'r Example) -> Self {
        let Example { time, id, request, before, after } = example;
        Self { turn: turn.name(), time, id, request, before, after }
    }
}
