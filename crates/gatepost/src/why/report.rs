//! An explanation as people read it, and as programs do.

use std::collections::BTreeMap;

use gatepost_gateway::{Explanation, Rule, Step, Verdict};
use serde::Serialize;

/// For people: one line a step, the verdict last.
pub(crate) fn text(explanation: &Explanation) -> String {
    /// What is longer pushes its own places aside, and no others.
    const WIDEST: usize = 72;
    let names = explanation.steps.iter().map(|step| step.check.name().len()).max().unwrap_or(0);
    let texts = explanation.steps.iter().filter(|step| !step.rules.is_empty()).map(|step| step.text.chars().count());
    let texts = texts.filter(|length| *length <= WIDEST).max().unwrap_or(0);
    let lines = explanation.steps.iter().map(|step| {
        let Step { check, passed, text, rules } = step;
        let (verdict, name, places) = (verdict_of(*passed), check.name(), places(rules));
        format!("{verdict:6}  {name:names$}  {text:texts$}  {places}").trim_end().to_owned() + "\n"
    });
    let steps: String = lines.collect();
    format!("{steps}\n{}\n", conclusion(&explanation.verdict))
}

/// For programs. The names of its fields, and what they mean, stay as they are; more may be added.
pub(crate) fn json(explanation: &Explanation) -> String {
    let report = Report {
        answer: Answer::of(&explanation.verdict),
        decided_by: explanation.decided_by().into_iter().map(RuleReport::of).collect(),
        steps: explanation.steps.iter().map(StepReport::of).collect(),
    };
    // There is nothing in it that JSON cannot hold.
    serde_json::to_string_pretty(&report).unwrap_or_default() + "\n"
}

fn verdict_of(passed: bool) -> &'static str {
    if passed { "pass" } else { "refuse" }
}

/// `gatepost.toml:3, gatepost.toml:9`.
fn places(rules: &[Rule]) -> String {
    let mut places: Vec<String> =
        rules.iter().map(|rule| format!("{}:{}", rule.place.file(), rule.place.line())).collect();
    places.dedup();
    places.join(", ")
}

fn conclusion(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Admitted => "admitted".to_owned(),
        Verdict::Refused { status, body, reason, .. } => {
            let body = if body.is_empty() { "no body".into() } else { String::from_utf8_lossy(body) };
            format!("refused: {}, and the caller sees {} with {body}", reason.name(), status.as_u16())
        }
    }
}

#[derive(Serialize)]
struct Report<'e> {
    #[serde(flatten)]
    answer: Answer<'e>,
    decided_by: Vec<RuleReport<'e>>,
    steps: Vec<StepReport<'e>>,
}

#[derive(Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
enum Answer<'e> {
    Admitted,
    Refused {
        reason: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        detail: Option<&'e str>,
        status: u16,
        headers: BTreeMap<&'e str, String>,
        body: String,
    },
}

#[derive(Serialize)]
struct StepReport<'e> {
    step: &'static str,
    verdict: &'static str,
    text: &'e str,
    rules: Vec<RuleReport<'e>>,
}

#[derive(Serialize)]
struct RuleReport<'e> {
    name: &'e str,
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    age_seconds: Option<u64>,
    file: &'e str,
    line: usize,
    column: usize,
}

impl<'e> Answer<'e> {
    fn of(verdict: &'e Verdict) -> Self {
        match verdict {
            Verdict::Admitted => Self::Admitted,
            Verdict::Refused { status, headers, body, reason, detail } => Self::Refused {
                reason: reason.name(),
                detail: detail.as_deref(),
                status: status.as_u16(),
                headers: headers
                    .iter()
                    .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
                    .collect(),
                body: String::from_utf8_lossy(body).into_owned(),
            },
        }
    }
}

impl<'e> StepReport<'e> {
    fn of(step: &'e Step) -> Self {
        Self {
            step: step.check.name(),
            verdict: verdict_of(step.passed),
            text: &step.text,
            rules: step.rules.iter().map(RuleReport::of).collect(),
        }
    }
}

impl<'e> RuleReport<'e> {
    fn of(rule: &'e Rule) -> Self {
        let Rule { name, network, age, place } = rule;
        let network = network.map(|network| network.to_string());
        let age_seconds = age.map(|age| age.as_secs());
        Self { name, network, age_seconds, file: place.file(), line: place.line(), column: place.column() }
    }
}
