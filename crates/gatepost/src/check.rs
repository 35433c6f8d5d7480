//! `gatepost check`: is this file one that would run?

use std::path::Path;

use gatepost_config::{Loaded, Report, load};
use gatepost_gateway::{JudgedExamples, doubtful_domains, doubtful_secrets, judge_examples, unusable_certificates};

use crate::exit::Failure;
use crate::print;

/// Reports every mistake, or says that there is none.
pub(crate) fn check(file: &Path) -> Result<(), Failure> {
    let (Loaded { model, .. }, unjudged) = judge_all(load(file)?)?;
    let routes: usize = model.apis.iter().map(|api| api.routes.len()).sum();
    let examples: usize = model.apis.iter().flat_map(|api| &api.routes).map(|route| route.examples.len()).sum();
    print(&format!(
        "{} is fine: {}, {} passed\n",
        file.display(),
        counted(routes, "route"),
        counted(examples - unjudged, "example"),
    ))
}

/// Loads the file and judges its examples by the gateway's own admission: what `run` and a reload accept, and `check`
/// calls fine.
pub(crate) fn load_and_judge(file: &Path) -> Result<Loaded, Report> {
    judge(load(file)?)
}

/// Judges certificates and examples. Certificates and secrets that can be used but should not be are told in the log, and
/// so are policies that say something else than they seem to, and examples that nobody can judge yet.
pub(crate) fn judge(loaded: Loaded) -> Result<Loaded, Report> {
    judge_all(loaded).map(|(loaded, _)| loaded)
}

/// The same, and how many examples nobody can judge yet.
fn judge_all(loaded: Loaded) -> Result<(Loaded, usize), Report> {
    let Loaded { model, .. } = &loaded;
    let mut failures = unusable_certificates(model);
    let JudgedExamples { failed, unjudged } = judge_examples(model);
    failures.extend(failed);
    let doubts = doubtful_domains(model).into_iter().chain(doubtful_secrets(model)).chain(model.doubtful_policies());
    for doubt in doubts {
        tracing::warn!("{doubt}");
    }
    for example in &unjudged {
        tracing::warn!("{example}");
    }
    if failures.is_empty() { Ok((loaded, unjudged.len())) } else { Err(Report::new(loaded, failures)) }
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
