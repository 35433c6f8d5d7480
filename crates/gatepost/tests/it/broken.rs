//! Broken configurations: each is reported where its mistakes are, and none is served.

use std::path::{Path, PathBuf};

use gatepost_testkit::{PATIENCE, Process};

use crate::home::GATEPOST;

#[tokio::test]
async fn no_broken_configuration_starts_and_each_is_reported_at_its_lines() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/tests");
    let files = broken_files(&tests);
    assert!(files.len() >= 20, "only {} broken configurations", files.len());
    for file in files {
        let expected = std::fs::read_to_string(tests.join(&file).with_extension("snap")).unwrap();
        let places: Vec<&str> = expected.lines().filter_map(place_in).collect();
        for command in ["run", "check"] {
            let name = file.to_str().unwrap();
            let mut process = Process::start(GATEPOST, &tests, &[command, name]);
            assert_eq!(process.wait_exit(PATIENCE).await, 1, "{command} {name}:\n{}", process.said());
            assert_eq!(process.stdout(), [""; 0], "{name}");
            let said = process.stderr();
            let reported: Vec<&str> = said.iter().filter_map(|line| place_in(line)).collect();
            assert_eq!(reported, places, "{command} {name}:\n{}", process.said());
            assert!(!said.iter().any(|line| line.contains("listening on")), "{name}:\n{}", process.said());
        }
    }
}

/// The configurations below `golden/broken`, as they are named in its reports.
fn broken_files(tests: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(tests.join("golden/broken")).unwrap();
    let names = entries.map(|entry| Path::new("golden/broken").join(entry.unwrap().file_name()));
    let mut files: Vec<PathBuf> = names.filter(|name| name.extension().is_some_and(|kind| kind == "toml")).collect();
    files.sort();
    files
}

/// `gatepost.toml:12:8` of a report's line that points there.
fn place_in(line: &str) -> Option<&str> {
    line.trim_start().strip_prefix("--> ").or_else(|| line.trim_start().strip_prefix("::: "))
}
