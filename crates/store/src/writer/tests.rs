use gatepost_meter::UnixSeconds;
use tempfile::TempDir;

use super::*;
use crate::reader::Reader;
use crate::rows::{Day, UsageDelta, UsageFilter};

fn writer(directory: &TempDir) -> Writer {
    Writer::new(schema::file_in(directory.path()), Arc::default()).expect("a store")
}

/// One request.
fn one() -> Counts {
    let mut counts = Counts::default();
    let delta = UsageDelta {
        caller: "acme".into(),
        api: "shop".into(),
        route: "GET /".into(),
        day: Day::at(UnixSeconds(0)),
        admitted: 1,
        refused: 0,
        bytes_out: 0,
    };
    counts.add_usage(delta).expect("room");
    counts
}

fn admitted(directory: &TempDir) -> u64 {
    let rows = Reader::open(directory.path()).expect("a store").usage(&UsageFilter::default()).expect("usage");
    rows.iter().map(|row| row.admitted).sum()
}

/// A try after which the writer thinks that it failed, written after all or not.
fn fail(writer: &mut Writer, written: bool) {
    writer.unwritten.push((writer.id + 1, one()));
    writer.id += 1;
    if let Some((mut connection, _)) = writer.connection.take().or_else(|| schema::open(&writer.path).ok())
        && written
    {
        let counts = writer.unwritten.iter().map(|(_, counts)| counts);
        batch::commit(&mut connection, counts, writer.id, &[]).expect("written");
    }
    writer.join_old_tries();
}

#[test]
fn a_commit_that_failed_and_was_written_after_all_is_not_repeated() {
    let directory = TempDir::new().unwrap();
    let mut writer = writer(&directory);
    for written in [false, true, true, false, true] {
        fail(&mut writer, written);
        writer.write(one(), &[]).expect("written");
        assert!(writer.unwritten.is_empty());
    }
    assert_eq!(admitted(&directory), 10);
}

#[test]
fn of_several_tries_those_are_repeated_that_were_not_written() {
    let directory = TempDir::new().unwrap();
    let mut writer = writer(&directory);
    fail(&mut writer, false);
    fail(&mut writer, true);
    fail(&mut writer, false);
    writer.write(Counts::default(), &[]).expect("written");
    assert_eq!(admitted(&directory), 3);
}

#[test]
fn many_tries_are_kept_in_little_room() {
    let directory = TempDir::new().unwrap();
    let mut writer = writer(&directory);
    for _ in 0..100 {
        fail(&mut writer, false);
    }
    assert_eq!(writer.unwritten.len(), MOST_TRIES);
    writer.write(Counts::default(), &[]).expect("written");
    assert_eq!(admitted(&directory), 100);
}
