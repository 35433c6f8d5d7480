use std::fs;

use super::*;
use crate::tests::feed;

struct Home {
    state: tempfile::TempDir,
    feed: Feed,
}

impl Home {
    fn new() -> Self {
        Self { state: tempfile::tempdir().unwrap(), feed: feed("http://127.0.0.1/list") }
    }

    fn open(&self) -> LiveSet {
        LiveSet::open(self.state.path(), &"office".into(), &self.feed)
    }

    fn copy(&self) -> PathBuf {
        copy::path_of(self.state.path(), "office")
    }
}

fn take(set: &LiveSet, list: &str) -> Outcome {
    set.take(list.as_bytes(), true, Validators::default())
}

fn finds(set: &LiveSet, address: &str) -> Option<bool> {
    set.find(address.parse().unwrap())
}

#[test]
fn a_set_knows_nothing_until_it_is_loaded_and_never_forgets_again() {
    let home = Home::new();
    let set = home.open();
    assert_eq!(set.report().state, SetState::NeverLoaded);
    assert_eq!((finds(&set, "192.0.2.7"), set.age()), (None, None));
    assert_eq!(take(&set, "192.0.2.0/24"), Outcome::Updated);
    assert_eq!(set.report().state, SetState::Fresh);
    for (nonsense, outcome) in [
        ("", Outcome::Refused),
        ("# none", Outcome::Refused),
        ("<html>", Outcome::Refused),
        ("192.0.2.0/24\nx", Outcome::Refused),
        ("0.0.0.0/0", Outcome::Refused),
        ("192.0.2.0/24\n10.0.0.0/8", Outcome::Held),
        ("192.0.2.0/26", Outcome::Held),
        ("127.0.0.0/24", Outcome::Held),
    ] {
        assert_eq!(take(&set, nonsense), outcome, "{nonsense}");
        assert_eq!((finds(&set, "192.0.2.200"), finds(&set, "10.0.0.1")), (Some(true), Some(false)), "{nonsense}");
    }
    assert_eq!(set.fail("nobody there"), Outcome::Failed);
    let report = set.report();
    assert_eq!((report.state, report.networks, report.extent.four), (SetState::Held, 1, 256));
    assert_eq!(report.last_error.as_deref(), Some("nobody there"));
    assert_eq!(report.fetches, [1, 0, 3, 5, 1]);
    assert_eq!(take(&set, "192.0.2.0/24"), Outcome::Unchanged);
    assert_eq!(set.report().state, SetState::Fresh);
}

#[test]
fn a_text_of_unknown_length_is_not_taken() {
    let home = Home::new();
    let set = home.open();
    assert_eq!(set.take(b"192.0.2.0/24", false, Validators::default()), Outcome::Refused);
    assert!(!set.is_loaded());
}

#[test]
fn the_last_good_copy_is_there_after_a_restart() {
    let home = Home::new();
    let version = Validators { etag: Some("\"1\"".to_owned()), last_modified: None };
    assert_eq!(home.open().take(b"192.0.2.0/24", true, version.clone()), Outcome::Updated);
    let again = home.open();
    assert_eq!(finds(&again, "192.0.2.7"), Some(true));
    assert_eq!(again.validators(), Some(version));
    assert!(again.age().unwrap() < Duration::from_secs(60));

    fs::write(home.copy(), "{").unwrap();
    assert!(!home.open().is_loaded());
}

#[test]
fn who_deletes_the_copy_lets_a_list_that_is_held_in() {
    let home = Home::new();
    let set = home.open();
    take(&set, "192.0.2.0/24");
    assert_eq!(take(&set, "198.51.100.0/22"), Outcome::Held);
    fs::remove_file(home.copy()).unwrap();
    assert_eq!(take(&set, "0.0.0.0/0"), Outcome::Refused);
    assert_eq!(take(&set, "198.51.100.0/22"), Outcome::Updated);
    assert_eq!(finds(&set, "198.51.100.1"), Some(true));
    assert!(home.copy().exists());
}

#[test]
fn bounds_hold_when_it_is_not_the_copy_alone_that_is_gone() {
    let home = Home::new();
    let set = home.open();
    take(&set, "192.0.2.0/24");
    let directory = home.copy().parent().unwrap().to_owned();
    fs::remove_dir_all(&directory).unwrap();
    assert_eq!(take(&set, "198.51.100.0/22"), Outcome::Held);
    // Something that is no directory, where nobody can tell whether there is a copy.
    fs::write(&directory, "").unwrap();
    assert_eq!(take(&set, "198.51.100.0/22"), Outcome::Held);
    assert_eq!(finds(&set, "192.0.2.7"), Some(true));
}

#[test]
fn wider_bounds_let_a_list_that_was_held_in() {
    let home = Home::new();
    let set = home.open();
    take(&set, "192.0.2.0/24");
    assert_eq!(take(&set, "192.0.0.0/22"), Outcome::Held);
    set.adopt(&Feed { grow: 4.0, ..home.feed.clone() });
    assert_eq!(take(&set, "192.0.0.0/22"), Outcome::Updated);
}

#[test]
fn a_copy_that_nobody_confirms_becomes_stale_and_still_counts() {
    let home = Home::new();
    let set = home.open();
    take(&set, "192.0.2.0/24");
    let mut copy: serde_json::Value = serde_json::from_slice(&fs::read(home.copy()).unwrap()).unwrap();
    copy["fetched"] = "2001-01-01T00:00:00Z".into();
    copy["confirmed"] = "2001-01-02T00:00:00Z".into();
    fs::write(home.copy(), copy.to_string()).unwrap();
    let again = home.open();
    assert_eq!((again.report().state, again.report().is_stale), (SetState::Stale, true));
    assert_eq!(finds(&again, "192.0.2.7"), Some(true));
    assert_eq!(again.confirm(), Outcome::Unchanged);
    assert_eq!(again.report().state, SetState::Fresh);
    assert_eq!(home.open().report().state, SetState::Fresh, "the confirmation is kept too");
}
