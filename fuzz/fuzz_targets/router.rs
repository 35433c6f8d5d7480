//! Routes and requests: each line of the input is a route key, the last a method and a path. Whatever the routes are,
//! a request meets the same one whatever their order, and a path written as a route's key finds that route.

#![no_main]

use std::fmt::Write;
use std::path::Path;

use gatepost_config::{Loaded, load_text};
use gatepost_gateway::failed_examples;
use libfuzzer_sys::fuzz_target;

/// More routes tell nothing new, and cost time.
const MOST_ROUTES: usize = 8;

fuzz_target!(|input: &str| {
    let mut keys: Vec<&str> = input.lines().take(MOST_ROUTES + 1).collect();
    let Some((method, path)) = keys.pop().and_then(|request| request.split_once(' ')) else { return };
    if keys.is_empty() || !is_plain(input) {
        return;
    }
    let outcome = judged(&keys, method, path);
    keys.reverse();
    let reversed = judged(&keys, method, path);
    assert_eq!(outcome, reversed, "the order of the routes matters");
    if let Some(outcomes) = outcome {
        // One route serves it, or none does.
        assert!(outcomes.iter().filter(|(_, admitted)| *admitted).count() <= 1, "{outcomes:?}");
    }
});

/// For every route, whether it is the one that serves the request. Absent: that is no configuration, or no request.
fn judged(keys: &[&str], method: &str, path: &str) -> Option<Vec<(String, bool)>> {
    let mut outcomes = Vec::new();
    for (judge, key) in keys.iter().enumerate() {
        let loaded = load(keys, judge, method, path)?;
        outcomes.push(((*key).to_owned(), failed_examples(&loaded.model).is_empty()));
    }
    outcomes.sort();
    Some(outcomes)
}

/// The routes, of which one expects to admit the request.
fn load(keys: &[&str], judge: usize, method: &str, path: &str) -> Option<Loaded> {
    let mut text = String::from("listen = \"127.0.0.1:0\"\n");
    for (number, key) in keys.iter().enumerate() {
        let _ = writeln!(text, "[route.\"{key}\"]\nopen = true\nrespond = {{ status = 204 }}");
        if number == judge {
            let example =
                format!("from = \"192.0.2.1\", method = \"{method}\", path = \"{path}\", expect = \"admitted\"");
            let _ = writeln!(text, "example = [{{ {example} }}]");
        }
    }
    load_text("fuzz.toml", &text, Path::new("/nonexistent/gatepost-fuzz")).ok()
}

/// Whether it can stand between quotes as it is.
fn is_plain(input: &str) -> bool {
    input.chars().all(|character| !matches!(character, '"' | '\\') && (character == '\n' || !character.is_control()))
}
