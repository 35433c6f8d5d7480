//! Usage as it is printed, page after page.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

use crate::exit::Failure;
use crate::print;
use crate::usage::csv;
use crate::usage::page::{CallerLevels, Level, UsagePage};
use crate::usage::source::UsageRow;
use crate::why::report::pretty;

/// Prints pages as they come, and what is told once in the end.
#[derive(Debug)]
pub(super) struct Printer {
    form: Form,
    is_first: bool,
    has_rows: bool,
    callers: BTreeMap<String, CallerLevels>,
}

#[derive(Debug)]
enum Form {
    Csv,
    /// All rows: one document has them.
    Json(Vec<UsageRow>),
    Text(Widths),
}

/// Of the columns, as wide as any page so far needed.
type Widths = [usize; 7];

#[derive(Serialize)]
struct Document {
    usage: Vec<UsageRow>,
    callers: Vec<CallerLevels>,
}

const COLUMNS: [&str; 7] = ["day", "caller", "api", "route", "admitted", "refused", "bytes out"];
const LEVEL_COLUMNS: [&str; 8] = ["caller", "", "per", "window", "used", "limit", "left", "until"];

impl Printer {
    pub(super) fn csv() -> Self {
        Self::new(Form::Csv)
    }

    pub(super) fn json() -> Self {
        Self::new(Form::Json(Vec::new()))
    }

    pub(super) fn text() -> Self {
        Self::new(Form::Text(COLUMNS.map(str::len)))
    }

    fn new(form: Form) -> Self {
        Self { form, is_first: true, has_rows: false, callers: BTreeMap::new() }
    }

    /// Prints a page, or keeps it.
    pub(super) fn print(&mut self, page: UsagePage) -> Result<(), Failure> {
        let UsagePage { usage, callers, .. } = page;
        let is_first = std::mem::take(&mut self.is_first);
        self.has_rows |= !usage.is_empty();
        if !matches!(self.form, Form::Csv) {
            self.callers.extend(callers.into_iter().map(|levels| (levels.caller.clone(), levels)));
        }
        match &mut self.form {
            Form::Csv => print(&(if is_first { csv::HEADER.to_owned() } else { String::new() } + &csv::lines(&usage))),
            Form::Json(rows) => {
                rows.extend(usage);
                Ok(())
            }
            Form::Text(_) if usage.is_empty() => Ok(()),
            Form::Text(widths) => {
                let mut lines: Vec<[String; 7]> = usage.iter().map(cells).collect();
                if is_first {
                    lines.insert(0, COLUMNS.map(str::to_owned));
                }
                print(&table(&lines, widths, 4))
            }
        }
    }

    /// Prints what there is to be said of callers.
    pub(super) fn end(&mut self) -> Result<(), Failure> {
        let callers: Vec<CallerLevels> = std::mem::take(&mut self.callers).into_values().collect();
        match &mut self.form {
            Form::Csv => Ok(()),
            Form::Json(rows) => print(&pretty(&Document { usage: std::mem::take(rows), callers })),
            Form::Text(_) => {
                let mut lines: Vec<[String; 8]> = callers.iter().flat_map(level_cells).collect();
                if lines.is_empty() {
                    return Ok(());
                }
                lines.insert(0, LEVEL_COLUMNS.map(str::to_owned));
                let gap = if self.has_rows { "\n" } else { "" };
                print(&format!("{gap}{}", table(&lines, &mut [0; 8], 4)))
            }
        }
    }
}

fn cells(row: &UsageRow) -> [String; 7] {
    let UsageRow { day, caller, api, route, admitted, refused, bytes_out } = row;
    let numbers = [admitted, refused, bytes_out].map(u64::to_string);
    let [admitted, refused, bytes_out] = numbers;
    [day.to_string(), caller.clone(), api.clone(), route.clone(), admitted, refused, bytes_out]
}

fn level_cells(levels: &CallerLevels) -> Vec<[String; 8]> {
    let CallerLevels { caller, quota, budget } = levels;
    let quota = quota.as_ref().map(|level| level_line(caller, "quota", level, ""));
    let budget = budget.as_ref().map(|money| level_line(caller, "budget", &money.level, &money.currency));
    quota.into_iter().chain(budget).collect()
}

fn level_line<N: ToString>(caller: &str, kind: &str, level: &Level<N>, unit: &str) -> [String; 8] {
    let Level { per, window, limit, used, remaining, resets_at } = level;
    let amount = |number: &N| format!("{} {unit}", number.to_string()).trim_end().to_owned();
    [
        caller.to_owned(),
        kind.to_owned(),
        per.clone(),
        window.clone(),
        amount(used),
        amount(limit),
        amount(remaining),
        resets_at.strftime("%Y-%m-%d %H:%M UTC").to_string(),
    ]
}

/// Columns side by side; those from `numbers` on to the right, but the last one where it is text.
fn table<const N: usize>(lines: &[[String; N]], widths: &mut [usize; N], numbers: usize) -> String {
    for line in lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = String::new();
    for line in lines {
        let mut text = String::new();
        for (place, (cell, width)) in line.iter().zip(&*widths).enumerate() {
            let is_number = (numbers..7).contains(&place);
            let _ = match is_number {
                true => write!(text, "{cell:>width$}  "),
                false => write!(text, "{cell:<width$}  "),
            };
        }
        let _ = writeln!(out, "{}", text.trim_end());
    }
    out
}
