use std::future::poll_fn;

use tempfile::TempDir;

use super::*;

fn spool(directory: &TempDir, memory: u64, disk: u64) -> Arc<Spool> {
    Spool::new(directory.path().join("state/spool"), Budgets { memory, disk })
}

/// Bytes that are unlike each other wherever one looks.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|place| (place * 31 + place / 251 + place / 65_521) as u8).collect()
}

async fn keep(spool: &Arc<Spool>, body: &[u8], piece: usize) -> Result<Kept, SpoolError> {
    let mut keeper = Keeper::new(Arc::clone(spool));
    for piece in body.chunks(piece) {
        keeper.keep(piece).await?;
    }
    keeper.finish().await
}

async fn read(mut kept: Kept) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(piece) = poll_fn(|cx| kept.poll_piece(cx)).await.unwrap() {
        body.extend_from_slice(&piece);
    }
    body
}

fn assert_empty(spool: &Spool) {
    assert_eq!((spool.memory.taken(), spool.disk.taken()), (0, 0));
}

#[tokio::test]
async fn a_body_comes_out_as_it_went_in_whatever_its_length_and_its_pieces() {
    let directory = TempDir::new().unwrap();
    let spool = spool(&directory, 1 << 20, 64 << 20);
    for length in [0, 1, SMALLEST, SMALLEST + 1, IN_MEMORY - 1, IN_MEMORY, IN_MEMORY + 1, PIECE, 3 * PIECE + 7] {
        let body = pattern(length);
        for piece in [977, 16 * 1024, usize::MAX / 2] {
            let kept = keep(&spool, &body, piece).await.unwrap();
            assert_eq!(kept.left(), length as u64);
            assert!(spool.memory.taken() <= PIECE as u64, "{}", spool.memory.taken());
            assert_eq!(spool.disk.taken(), if length > IN_MEMORY { length as u64 } else { 0 });
            assert!(read(kept).await == body, "{length} bytes in pieces of {piece}");
            assert_empty(&spool);
        }
    }
}

#[tokio::test]
async fn a_file_has_no_name() {
    let directory = TempDir::new().unwrap();
    let spool = spool(&directory, 1 << 20, 64 << 20);
    let kept = keep(&spool, &pattern(PIECE), PIECE).await.unwrap();
    let made = directory.path().join("state/spool");
    assert_eq!(std::fs::read_dir(&made).unwrap().count(), 0);
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&made).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o700);
    drop(kept);
    assert_empty(&spool);
}

#[tokio::test]
async fn with_little_memory_it_takes_longer_and_with_none_it_is_refused() {
    let directory = TempDir::new().unwrap();
    let spool = spool(&directory, SMALLEST as u64 + 1, 64 << 20);
    let body = pattern(PIECE);
    let kept = keep(&spool, &body, PIECE).await.unwrap();
    assert!(matches!(keep(&spool, b"a", 1).await, Err(SpoolError::Memory)));
    assert!(read(kept).await == body);
    assert_empty(&spool);
    assert_eq!(read(keep(&spool, b"a", 1).await.unwrap()).await, b"a");
}

#[tokio::test]
async fn what_does_not_fit_the_disk_is_refused_and_leaves_nothing() {
    let directory = TempDir::new().unwrap();
    let spool = spool(&directory, 1 << 20, PIECE as u64);
    assert!(matches!(keep(&spool, &pattern(PIECE + 1), PIECE).await, Err(SpoolError::Disk)));
    assert_empty(&spool);
    assert!(keep(&spool, &pattern(PIECE), PIECE).await.is_ok());
    // Short ones need no disk.
    assert!(keep(&spool, b"short", 5).await.is_ok());
    assert_empty(&spool);
}

#[tokio::test]
async fn a_disk_that_cannot_be_written_refuses_what_needs_it() {
    let directory = TempDir::new().unwrap();
    std::fs::write(directory.path().join("state"), "no directory").unwrap();
    let spool = spool(&directory, 1 << 20, 64 << 20);
    assert!(matches!(keep(&spool, &pattern(PIECE), PIECE).await, Err(SpoolError::Io(_))));
    assert_empty(&spool);
}

#[tokio::test]
async fn a_piece_is_read_when_the_one_before_was_let_go_of() {
    let directory = TempDir::new().unwrap();
    let spool = spool(&directory, 1 << 20, 64 << 20);
    let mut kept = keep(&spool, &pattern(2 * PIECE), PIECE).await.unwrap();
    let piece = poll_fn(|cx| kept.poll_piece(cx)).await.unwrap().unwrap();
    let soon = tokio::time::timeout(std::time::Duration::from_millis(50), poll_fn(|cx| kept.poll_piece(cx))).await;
    assert!(soon.is_err());
    let first = piece.len();
    drop(piece);
    let piece = poll_fn(|cx| kept.poll_piece(cx)).await.unwrap().unwrap();
    assert!(piece.as_ref() == &pattern(2 * PIECE)[first..first + piece.len()]);
    drop(kept);
    drop(piece);
    assert_empty(&spool);
}
