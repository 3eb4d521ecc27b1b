//! Chunks of a file against those of others: the same bytes, other bytes, and files that end too early.

use std::fs;
use std::path::PathBuf;

use _core::compare::{Comparison, Pair};
use _core::sha256::{sha256_all, Kernel};

/// Two files, gone at the end.
struct Files {
    folder: PathBuf,
    kept: PathBuf,
    source: PathBuf,
    bytes: Vec<u8>,
    pairs: Vec<Pair>,
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A file of chunks of these sizes with a few bytes before each and behind all, and a source with the same chunks in reverse order.
fn files(name: &str, sizes: &[usize]) -> Files {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let (kept, source) = (folder.join("kept"), folder.join("source"));
    let (mut bytes, mut original, mut pairs) = (Vec::new(), vec![1; 5], Vec::new());
    let mut state = 1u64;
    for &size in sizes {
        bytes.extend_from_slice(b"between");
        pairs.push(Pair { offset: bytes.len() as u64, size, source: 0, source_offset: 0 });
        bytes.extend((0..size).map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        }));
    }
    bytes.extend_from_slice(b"end");
    for pair in pairs.iter_mut().rev() {
        pair.source_offset = original.len() as u64;
        original.extend_from_slice(&bytes[pair.offset as usize..][..pair.size]);
    }
    fs::write(&kept, &bytes).expect("a file");
    fs::write(&source, original).expect("a file");
    Files { folder, kept, source, bytes, pairs }
}

/// Which chunks are the same; panics where a hash is wrong.
fn compare(files: &Files, kernel: Kernel) -> Vec<bool> {
    let sources = vec![files.source.clone()];
    let mut comparison = Comparison::start(&files.kept, files.pairs.clone(), sources, kernel).expect("a pass");
    let mut same = Vec::new();
    while let Some(compared) = comparison.next_chunk().expect("a chunk") {
        let pair = files.pairs[same.len()];
        let chunk = &files.bytes[pair.offset as usize..][..pair.size];
        assert_eq!(compared.digest, sha256_all(Kernel::Portable, &[chunk])[0]);
        same.push(compared.same);
    }
    let whole = comparison.finish().expect("a hash");
    assert_eq!(whole, sha256_all(Kernel::Portable, &[&files.bytes])[0]);
    same
}

#[test]
fn chunks_are_compared_and_hashed_whatever_their_size() {
    // Larger than what is read at a time, than what is compared at a time, and none at all.
    let files = files("compare", &[9 << 20, 300_000, 0, 64, 1, 4097]);
    for kernel in Kernel::variants() {
        assert_eq!(compare(&files, kernel), [true; 6]);
    }
}

#[test]
fn a_byte_that_differs_is_that_of_its_chunk_alone() {
    let files = files("differs", &[1000, 1000, 1000]);
    let mut original = fs::read(&files.source).expect("a file");
    let place = files.pairs[1].source_offset as usize + 999;
    original[place] ^= 1;
    fs::write(&files.source, original).expect("a file");
    assert_eq!(compare(&files, Kernel::detect()), [true, false, true]);
}

#[test]
fn a_source_that_ends_early_is_not_the_same() {
    let files = files("short", &[1000, 1000]);
    let original = fs::read(&files.source).expect("a file");
    fs::write(&files.source, &original[..original.len() - 1]).expect("a file");
    assert_eq!(compare(&files, Kernel::detect()), [false, true]);
    fs::remove_file(&files.source).expect("it is there");
    assert_eq!(compare(&files, Kernel::detect()), [false, false]);
}

#[test]
fn a_kept_file_that_ends_early_is_an_error() {
    let files = files("cut", &[1000, 1000]);
    fs::write(&files.kept, &files.bytes[..1500]).expect("a file");
    let sources = vec![files.source.clone()];
    let mut comparison =
        Comparison::start(&files.kept, files.pairs.clone(), sources.clone(), Kernel::detect()).expect("a pass");
    assert!(comparison.next_chunk().expect("the first is whole").expect("a chunk").same);
    assert!(comparison.next_chunk().is_err());
    let missing = files.folder.join("missing");
    assert!(Comparison::start(&missing, files.pairs.clone(), sources.clone(), Kernel::detect()).is_err());
    let backwards = files.pairs.iter().rev().copied().collect();
    assert!(Comparison::start(&files.kept, backwards, sources, Kernel::detect()).is_err());
}
