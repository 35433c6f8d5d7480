//! Whatever is written, loading it ends with a model or with a report that can be read.

#![expect(clippy::unwrap_used, reason = "a test ends where something is wrong")]

use std::path::Path;
use std::sync::LazyLock;

use gatepost_config::load_text;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// Pieces of every golden file: lines, and what stands between blanks.
static PIECES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut pieces: Vec<String> =
        ["\n", " ", "\"", "'''", "[", "]", "{", "}", "=", ",", "\u{e9}"].map(str::to_owned).to_vec();
    for directory in ["good", "broken"] {
        for entry in std::fs::read_dir(golden.join(directory)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|kind| kind == "toml") {
                let text = std::fs::read_to_string(path).unwrap();
                pieces.extend(text.lines().map(|line| format!("{line}\n")));
                pieces.extend(text.split(' ').map(str::to_owned));
            }
        }
    }
    pieces
});

/// Loads a text, and renders what is wrong with it.
fn load(text: &str) {
    // A directory that is not there: what the text names is not to be read.
    if let Err(report) = load_text("arbitrary.toml", text, Path::new("/nonexistent/golden")) {
        assert!(!report.diagnostics().is_empty(), "an error without a problem: {text:?}");
        assert!(report.render(true).len() >= report.render(false).len());
        for diagnostic in report.diagnostics() {
            let span = diagnostic.place().unwrap().span();
            assert!(text.get(span).is_some(), "{}: {text:?}", diagnostic.message());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn any_text(text in any::<String>()) {
        load(&text);
    }

    #[test]
    fn pieces_of_configurations(pieces in prop::collection::vec(select(&PIECES[..]), 0..60)) {
        load(&pieces.concat());
    }

    #[test]
    fn a_configuration_with_something_else_in_it(
        start in any::<Index>(),
        length in 1..20_usize,
        other in any::<String>(),
        cut in any::<Index>(),
    ) {
        let start = start.index(PIECES.len());
        let mut text = PIECES[start..].iter().take(length).cloned().collect::<String>();
        let at = text.floor_char_boundary(cut.index(text.len() + 1));
        text.insert_str(at, &other);
        load(&text);
    }
}
