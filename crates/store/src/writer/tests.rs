use std::sync::mpsc::sync_channel;

use gatepost_meter::UnixSeconds;
use tempfile::TempDir;

use super::*;
use crate::reader::Reader;
use crate::rows::{Day, UsageDelta, UsageFilter};

fn writer(directory: &TempDir) -> Writer {
    Writer::new(schema::file_in(directory.path()), Arc::default()).expect("a store")
}

fn delta() -> UsageDelta {
    UsageDelta {
        caller: "acme".into(),
        api: "shop".into(),
        route: "GET /".into(),
        day: Day::at(UnixSeconds(0)),
        admitted: 1,
        refused: 0,
        bytes_out: 0,
    }
}

/// One request.
fn one() -> Counts {
    let mut counts = Counts::default();
    counts.add_usage(delta()).expect("room");
    counts
}

fn admitted(directory: &TempDir) -> u64 {
    let rows = Reader::open(directory.path()).expect("a store").usage(&UsageFilter::default()).expect("usage");
    rows.iter().map(|row| row.admitted).sum()
}

/// A try after which the writer thinks that it failed, written after all or not.
fn fail(writer: &mut Writer, written: bool) {
    if writer.batch.is_none() {
        writer.begin(one());
    }
    let connection = writer.connection.take().or_else(|| schema::open(&writer.path).ok());
    if written && let Some((mut connection, _)) = connection {
        batch::commit(&mut connection, writer.batch.as_ref(), &[]).expect("written");
    }
}

fn work(counts: Counts) -> Work {
    Work { counts, ..Work::default() }
}

#[test]
fn a_commit_that_failed_and_was_written_after_all_is_not_repeated() {
    let directory = TempDir::new().unwrap();
    let mut writer = writer(&directory);
    for written in [false, true, true, false, true] {
        fail(&mut writer, written);
        assert!(writer.work(work(one())));
        assert!(!writer.has_left());
    }
    assert_eq!(admitted(&directory), 10);
}

#[test]
fn of_several_tries_that_failed_one_is_counted() {
    let directory = TempDir::new().unwrap();
    let mut writer = writer(&directory);
    for written in [false, true, false, true] {
        fail(&mut writer, written);
    }
    assert!(writer.work(work(one())));
    assert_eq!(admitted(&directory), 2);
}

#[test]
fn what_is_counted_after_a_restart_is_told_from_what_was_written_before() {
    let directory = TempDir::new().unwrap();
    let mut first = writer(&directory);
    assert!(first.work(work(one())) && first.work(work(one())));
    drop(first);
    let mut second = writer(&directory);
    fail(&mut second, false);
    assert!(second.work(work(one())));
    assert_eq!(admitted(&directory), 4);
}

#[test]
fn many_counts_are_written_part_by_part_and_at_the_end_at_once() {
    const PARTS: usize = 3;
    let directory = TempDir::new().unwrap();
    let mut writer = writer(&directory);
    let many = |route: &str| {
        let mut counts = Counts::default();
        for number in 0..PARTS * ROWS_AT_A_TIME {
            let route = format!("{route}/{number}").into();
            counts.add_usage(UsageDelta { route, ..delta() }).expect("room");
        }
        counts
    };
    let rows = u64::try_from(ROWS_AT_A_TIME).unwrap();
    let (flush, flushed) = sync_channel(1);
    assert!(writer.work(Work { counts: many("a"), flushes: vec![flush], ..Work::default() }));
    assert_eq!((admitted(&directory), flushed.try_recv().is_ok()), (rows, false));
    assert!(writer.work(Work::default()));
    assert_eq!((admitted(&directory), flushed.try_recv().is_ok()), (2 * rows, false));
    assert!(writer.work(Work::default()));
    assert_eq!((admitted(&directory), flushed.try_recv().is_ok()), (3 * rows, true));
    assert!(writer.work(Work { counts: many("b"), closing: true, ..Work::default() }));
    assert_eq!((admitted(&directory), writer.has_left()), (6 * rows, false));
}
