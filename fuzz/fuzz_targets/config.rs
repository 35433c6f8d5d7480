//! Configurations: any text at all is a model or a report, and what a report says can be rendered.

#![no_main]

use std::path::Path;

use gatepost_config::load_text;
use gatepost_gateway::failed_examples;
use libfuzzer_sys::fuzz_target;

/// Without files: what is named is not there. Nothing is written, and no device is read.
const NOWHERE: &str = "/nonexistent/gatepost-fuzz";

fuzz_target!(|text: &str| {
    if names_a_real_file(text) {
        return;
    }
    match load_text("fuzz.toml", text, Path::new(NOWHERE)) {
        Ok(loaded) => {
            // A model is compiled without a complaint, and every example that fails says where it is.
            let failures = failed_examples(&loaded.model);
            assert!(failures.iter().all(|failure| failure.place().is_some()));
        }
        Err(report) => {
            assert!(!report.diagnostics().is_empty(), "refused without a reason");
            assert!(!report.render(false).is_empty());
            assert!(!report.render(true).is_empty());
            for diagnostic in report.diagnostics() {
                let Some(place) = diagnostic.place() else { continue };
                let span = place.span();
                assert!(text.get(span.clone()).is_some(), "{span:?} is no part of the text");
                assert!(place.line() <= text.split('\n').count(), "line {} is none of the text's", place.line());
            }
        }
    }
});

/// Only an absolute path leads out of a directory that does not exist; a backslash might spell one.
fn names_a_real_file(text: &str) -> bool {
    ["include", "file", "policy"].iter().any(|key| text.contains(key))
        && ["\"/", "'/", ":/", "\n/", "\\"].iter().any(|opening| text.contains(opening))
}
