//! What is read, and what is said when it cannot be.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use gatepost_config::model::Addresses;
use gatepost_config::{Diagnostic, Report, load, load_as_if, load_text};

const ROUTE: &str = "[route.\"GET /\"]\nopen = true\nrespond = {}\n";

#[test]
fn a_file_that_is_missing() {
    let report = load(Path::new("no-such-file.toml")).unwrap_err();
    assert_eq!(
        report.to_string(),
        "error: cannot read no-such-file.toml: No such file or directory\n |\n \
         = help: name the file to use; `examples/demo/gatepost.toml` is one to begin with\n"
    );
    assert!(report.files().paths().eq([Path::new("no-such-file.toml")]));
}

#[test]
fn a_file_that_is_no_text() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gatepost.toml");
    fs::write(&path, b"\xff\xfe").unwrap();
    let report = load(&path).unwrap_err();
    assert!(report.diagnostics()[0].message().ends_with("it is not UTF-8 text"), "{report}");
}

#[test]
fn a_report_knows_every_file_that_was_opened() {
    let directory = tempfile::tempdir().unwrap();
    let text = "include = [\"routes/*.toml\"]\n[addresses.office]\nfile = \"office.txt\"\n";
    fs::write(directory.path().join("gatepost.toml"), text).unwrap();
    fs::create_dir(directory.path().join("routes")).unwrap();
    fs::write(directory.path().join("routes/a.toml"), ROUTE).unwrap();
    let report = load(&directory.path().join("gatepost.toml")).unwrap_err();
    assert_eq!(report.diagnostics().len(), 1, "{report}");
    let names = report.files().paths().map(|file| file.strip_prefix(directory.path()).unwrap());
    assert_eq!(names.collect::<Vec<_>>(), ["gatepost.toml", "office.txt", "routes", "routes/a.toml"].map(Path::new));
}

#[test]
fn a_change_is_tried_without_being_made() {
    let directory = tempfile::tempdir().unwrap();
    let (file, included) = (directory.path().join("gatepost.toml"), directory.path().join("routes.toml"));
    fs::write(&file, "include = [\"routes.toml\"]\n").unwrap();
    fs::write(&included, ROUTE).unwrap();
    let two = format!("{ROUTE}{}", ROUTE.replace("GET", "PUT"));
    let loaded = load_as_if(&file, &included, &two).unwrap();
    assert_eq!(loaded.model.apis[0].routes.len(), 2);
    assert!(load_as_if(&file, &included, "[route").is_err());
    assert!(load_as_if(&file, &file, "").is_err());
    assert_eq!(fs::read_to_string(&included).unwrap(), ROUTE);
    assert_eq!(load(&file).unwrap().model.apis[0].routes.len(), 1);
}

#[test]
fn secrets_come_from_files_and_variables() {
    let directory = tempfile::tempdir().unwrap();
    for (written, held) in [("token", "token"), ("token\n", "token"), ("token\r\n", "token"), ("a\n\n", "a\n")] {
        fs::write(directory.path().join("secret"), written).unwrap();
        let text = format!("[server]\nadmin_token = \"file:secret\"\n{ROUTE}");
        let loaded = load_text("gatepost.toml", &text, directory.path()).unwrap();
        let secret = loaded.model.server.admin_token.unwrap();
        assert_eq!(secret.reveal(), held.as_bytes());
        assert!(loaded.files.paths().eq([directory.path().join("secret")]));
    }
    // Cargo sets this for every test.
    let text = format!("[server]\nadmin_token = \"env:CARGO_MANIFEST_DIR\"\n{ROUTE}");
    let loaded = load_text("gatepost.toml", &text, Path::new("")).unwrap();
    let secret = loaded.model.server.admin_token.unwrap();
    assert_eq!(secret.reveal(), env!("CARGO_MANIFEST_DIR").as_bytes());
    assert!(!format!("{:?}", loaded.model.log).contains(env!("CARGO_MANIFEST_DIR")));
    assert_eq!(secret.source(), "env:CARGO_MANIFEST_DIR");
}

#[test]
fn others_can_report_about_places_in_a_model() {
    let loaded = load_text("gatepost.toml", ROUTE, Path::new("")).unwrap();
    let place = loaded.model.apis[0].routes[0].place.clone();
    assert_eq!(place.describe(), "gatepost.toml:1:8");
    let report = Report::new(loaded, vec![Diagnostic::error(&place, "it rains").with_label("here")]);
    assert_eq!(
        report.to_string(),
        "error: it rains\n --> gatepost.toml:1:8\n  |\n1 | [route.\"GET /\"]\n  |        ^^^^^^^ here\n"
    );
    assert!(report.render(true).contains("\u{1b}["));
}

#[test]
fn a_set_is_shared_by_all_who_name_it() {
    let mut text = String::from("[addresses.big]\nfile = \"big.txt\"\n");
    for number in 0..2_000 {
        write!(text, "[route.\"GET /{number}/{{id}}\"]\nfrom = [\"big\"]\nrespond = {{}}\n").unwrap();
    }
    let list: String = (0..100_000_u32).map(|n| format!("10.{}.{}.{}\n", n >> 16, n >> 8 & 255, n & 255)).collect();
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("big.txt"), list).unwrap();
    let loaded = load_text("gatepost.toml", &text, directory.path()).unwrap();
    let sets = loaded.model.apis[0].routes.iter().map(|route| {
        let Some(rule) = route.entry.rules().and_then(|rules| rules.from.as_ref()) else {
            panic!("{} is open", route.key)
        };
        let Addresses::Set(set) = &rule.from[0].addresses else { panic!("{} names no set", route.key) };
        set
    });
    let sets: Vec<_> = sets.collect();
    assert_eq!(sets.len(), 2_000);
    assert_eq!(sets[0].source.fixed().len(), 100_000);
    assert!(sets.iter().all(|set| std::sync::Arc::ptr_eq(set, sets[0])));
}
