//! An explanation as people read it, and as programs do: `gatepost why` prints it, the admin API answers with it.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use gatepost_gateway::{Decision, Explanation, Rule, Step, Verdict};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// An explanation. The names of its fields, and what they mean, stay as they are; more may be added.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) verdict: Answer,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// Of a refusal: what the client sees. Absent: it was not answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    decided_by: Vec<RuleReport>,
    steps: Vec<StepReport>,
    /// Of a decision on record that has no steps: why it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    unexplained: Option<String>,
    /// What a running gateway judged by.
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot: Option<SnapshotReport>,
}

/// What it comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    Admitted,
    Refused,
}

/// A configuration as it was put in force.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SnapshotReport {
    pub(crate) version: u64,
    /// Absent: it is in force no more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) age_seconds: Option<f64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct StepReport {
    step: String,
    verdict: StepVerdict,
    text: String,
    rules: Vec<RuleReport>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StepVerdict {
    Pass,
    Refuse,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct RuleReport {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    age_seconds: Option<u64>,
    file: String,
    line: usize,
    column: usize,
}

impl Report {
    pub(crate) fn of(explanation: &Explanation) -> Self {
        let Explanation { steps, verdict } = explanation;
        let decided_by = explanation.decided_by().into_iter().map(RuleReport::of).collect();
        let report = Self {
            decided_by,
            steps: steps.iter().map(StepReport::of).collect(),
            ..Self::without_steps(Answer::Admitted)
        };
        match verdict {
            Verdict::Admitted => report,
            Verdict::Refused { status, headers, body, reason, detail } => Self {
                verdict: Answer::Refused,
                reason: Some(reason.name().to_owned()),
                detail: detail.clone(),
                status: Some(status.as_u16()),
                headers: Some(
                    headers.iter().map(|(name, value)| (name.to_string(), text_of(value.as_bytes()))).collect(),
                ),
                body: Some(text_of(body)),
                ..report
            },
        }
    }

    /// Of a decision on record: as it was decided then.
    pub(crate) fn of_decision(decision: &Decision) -> Self {
        match &decision.explanation {
            Ok(explanation) => Self::of(explanation),
            Err(why) => Self {
                reason: Some(decision.summary.reason.name().to_owned()),
                detail: decision.detail.clone(),
                status: decision.summary.status.map(|status| status.as_u16()),
                unexplained: Some(why.to_string()),
                ..Self::without_steps(Answer::Refused)
            },
        }
    }

    fn without_steps(verdict: Answer) -> Self {
        Self {
            verdict,
            reason: None,
            detail: None,
            status: None,
            headers: None,
            body: None,
            decided_by: Vec::new(),
            steps: Vec::new(),
            unexplained: None,
            snapshot: None,
        }
    }

    /// Says what it was judged by.
    pub(crate) fn by(self, snapshot: SnapshotReport) -> Self {
        Self { snapshot: Some(snapshot), ..self }
    }

    /// For people: one line a step, the verdict last.
    pub(crate) fn text(&self) -> String {
        /// What is longer pushes its own places aside, and no others.
        const WIDEST: usize = 72;
        let names = self.steps.iter().map(|step| step.step.len()).max().unwrap_or(0);
        let texts = self.steps.iter().filter(|step| !step.rules.is_empty()).map(|step| step.text.chars().count());
        let texts = texts.filter(|length| *length <= WIDEST).max().unwrap_or(0);
        let lines = self.steps.iter().map(|StepReport { step: name, verdict, text, rules }| {
            let (verdict, places) = (verdict.name(), places(rules));
            let text = shown(text);
            format!("{verdict:6}  {name:names$}  {text:texts$}  {places}").trim_end().to_owned() + "\n"
        });
        let steps: String = lines.chain(self.unexplained.iter().map(|why| format!("no steps: {why}\n"))).collect();
        let snapshot = self.snapshot.as_ref().map(SnapshotReport::text).unwrap_or_default();
        format!("{steps}\n{}\n{snapshot}", self.conclusion())
    }

    /// For programs.
    pub(crate) fn json(&self) -> String {
        pretty(self)
    }

    fn conclusion(&self) -> String {
        let reason = self.reason.as_deref().unwrap_or_default();
        match (self.verdict, self.status) {
            (Answer::Admitted, _) => "admitted".to_owned(),
            (Answer::Refused, Some(status)) => {
                let body = self.body.as_deref().filter(|body| !body.is_empty()).unwrap_or("no body");
                format!("refused: {reason}, and the caller sees {status} with {body}")
            }
            (Answer::Refused, None) => format!("refused: {reason}, and the caller sees no answer"),
        }
    }
}

/// A decision on record, as the admin API tells it.
#[derive(Debug, Deserialize)]
pub(crate) struct Recorded {
    #[serde(flatten)]
    pub(crate) report: Report,
}

/// With its end.
pub(crate) fn pretty(value: &impl Serialize) -> String {
    // There is nothing in it that JSON cannot hold.
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

/// To the millisecond. A clock beyond the year 9999 counts as the epoch.
pub(crate) fn timestamp(time: SystemTime) -> Timestamp {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).ok().and_then(|since| Timestamp::from_millisecond(since).ok()).unwrap_or_default()
}

impl SnapshotReport {
    /// The one in force.
    pub(crate) fn in_force(version: u64, since: SystemTime) -> Self {
        let age = SystemTime::now().duration_since(since).unwrap_or_default();
        Self { version, since: Some(timestamp(since)), age_seconds: Some(age.as_millis() as f64 / 1000.0) }
    }

    fn text(&self) -> String {
        match (self.since, self.age_seconds) {
            (Some(since), Some(age)) => {
                format!("by snapshot {} of the running gateway, {age:.0} s old (since {since})\n", self.version)
            }
            _ => format!("by snapshot {}, which is in force no more\n", self.version),
        }
    }
}

impl StepVerdict {
    fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Refuse => "refuse",
        }
    }
}

impl StepReport {
    fn of(step: &Step) -> Self {
        let Step { check, passed, text, rules } = step;
        Self {
            step: check.name().to_owned(),
            verdict: if *passed { StepVerdict::Pass } else { StepVerdict::Refuse },
            text: text.clone(),
            rules: rules.iter().map(RuleReport::of).collect(),
        }
    }
}

impl RuleReport {
    fn of(rule: &Rule) -> Self {
        let Rule { name, network, age, place } = rule;
        Self {
            name: name.clone(),
            network: network.map(|network| network.to_string()),
            age_seconds: age.map(|age| age.as_secs()),
            file: place.file().to_owned(),
            line: place.line(),
            column: place.column(),
        }
    }
}

/// `gatepost.toml:3, gatepost.toml:9`.
fn places(rules: &[RuleReport]) -> String {
    let mut places: Vec<String> = rules.iter().map(|rule| format!("{}:{}", rule.file, rule.line)).collect();
    places.dedup();
    places.join(", ")
}

/// Terminals act on control characters, and strangers may have chosen them.
fn shown(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { '\u{FFFD}' } else { character }).collect()
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
