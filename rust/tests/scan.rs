//! Many images by worker threads: in order, the same whatever the workers, one bad image no harm to the others.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use _core::chunk::Codec;
use _core::find::Finder;
use _core::plan::{Algorithm, Plan, Settings};
use _core::scan::{Batch, Place, Scan, StoredFile, Waited};

use crate::case::{Case, CODECS};
use crate::stored::{encode, find_stored};

/// Files of stored images, gone at the end.
struct Files {
    folder: PathBuf,
    files: Vec<StoredFile>,
    places: Vec<Place>,
    chunks: Vec<(Vec<u8>, Codec)>,
    plan: Arc<Plan>,
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn settings() -> Settings {
    Settings {
        algorithm: Algorithm::Radial,
        snr: 4.0,
        min_count: 3,
        min_pixels: 1,
        max_pixels: 50,
        spot_snr: 3.0,
        ring_width: 2,
        max_spots: 100,
        underload: 0,
        saturation: None,
        error_value: None,
    }
}

/// `images` small images, image i in file i % 3, each file with a codec of its own.
fn files(name: &str, images: usize) -> Files {
    let shape = (33, 21);
    let (ring, panels, masked, mean, spots, odd) = (9, false, 9, 2, 60, 1000);
    let case = Case { shape, settings: settings(), ring, panels, masked, mean, spots, odd, seed: 7 };
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let mut bytes = vec![b"head".to_vec(); 3];
    let mut places = Vec::new();
    let mut chunks = Vec::new();
    for image in 0..images {
        let (file, codec) = (image % 3, CODECS[image % 3]);
        let chunk = encode(&case.image::<u16>(image as u64), codec, 256);
        places.push(Place { file: Some(file as u32), offset: bytes[file].len() as u64, size: chunk.len() });
        bytes[file].extend(&chunk);
        chunks.push((chunk, codec));
    }
    let mut files = Vec::new();
    for (i, bytes) in bytes.iter().enumerate() {
        let path = folder.join(format!("{i}.bin"));
        fs::write(&path, bytes).expect("a file");
        files.push(StoredFile { path, codec: CODECS[i] });
    }
    Files { folder, files, places, chunks, plan: Arc::new(case.plan()) }
}

impl Files {
    fn scan(&self, workers: usize, batch: usize) -> Scan {
        Scan::start::<u16>(Arc::clone(&self.plan), self.files.clone(), self.places.clone(), workers, batch)
            .expect("threads")
    }

    /// Asserts that the image is what it is on its own.
    fn check(&self, image: usize, batch: &Batch, number: usize) {
        let (chunk, codec) = &self.chunks[image];
        let expected = find_stored(&mut Finder::<u16>::default(), &self.plan, chunk, *codec, 0).expect("a good chunk");
        let found = batch.images[number].as_ref().expect("a good image");
        assert_eq!(
            (found.n_spots, found.n_strong, found.largest),
            (expected.numbers.0, expected.numbers.1, expected.numbers.3)
        );
        let from = if number == 0 { 0 } else { batch.ends[number - 1] };
        let spots = &batch.spots[from..batch.ends[number]];
        let bits: Vec<_> = spots.iter().map(|spot| (spot.x.to_bits(), spot.intensity.to_bits())).collect();
        let expected: Vec<_> = expected.spots.iter().map(|spot| (spot.0[0], spot.0[2])).collect();
        assert_eq!(bits, expected);
    }
}

fn next(scan: &Scan) -> Option<Batch> {
    loop {
        match scan.wait(Duration::from_secs(1)).expect("no panic") {
            Waited::Batch(batch) => return Some(batch),
            Waited::Finished => return None,
            Waited::NotYet => {}
        }
    }
}

#[test]
fn every_image_once_and_in_order() {
    let files = files("order", 103);
    for workers in 1..5 {
        for batch in [1, 4, 6, 8, 40, 1000] {
            let scan = files.scan(workers, batch);
            let mut image = 0;
            while let Some(got) = next(&scan) {
                assert_eq!(got.images.len(), batch.min(103 - image));
                assert_eq!((got.images.len(), got.ends.last()), (got.ends.len(), Some(&got.spots.len())));
                for number in 0..got.images.len() {
                    files.check(image, &got, number);
                    image += 1;
                }
            }
            assert_eq!(image, 103);
            assert!(next(&scan).is_none());
        }
    }
}

#[test]
fn images_of_these_tests_have_spots() {
    let files = files("spots", 40);
    let batch = next(&files.scan(2, 40)).expect("a batch");
    assert!(batch.spots.len() > 40);
}

#[test]
fn nothing_to_do_is_finished() {
    let mut files = files("nothing", 1);
    files.places.clear();
    assert!(next(&files.scan(2, 4)).is_none());
}

#[test]
fn dropping_early_stops_the_workers() {
    let files = files("drop", 9);
    let many = files.places.iter().copied().cycle().take(90_000).collect();
    for taken in 0..3 {
        let scan =
            Scan::start::<u16>(Arc::clone(&files.plan), files.files.clone(), Vec::clone(&many), 3, 8).expect("threads");
        for _ in 0..taken {
            assert!(next(&scan).is_some());
        }
        // Waits for the workers: it would not come back if one went on waiting for a reader.
        drop(scan);
        assert_eq!(Arc::strong_count(&files.plan), 1);
    }
}

#[test]
fn a_bad_image_is_an_answer_and_no_harm() {
    let mut files = files("bad", 60);
    let path = files.files[1].path.clone();
    let mut bytes = fs::read(&path).expect("the file");
    // Image 4 has a header that lies; the file ends inside image 58, its last.
    bytes[files.places[4].offset as usize] ^= 0x80;
    bytes.pop();
    fs::write(&path, bytes).expect("the file");
    fs::remove_file(&files.files[2].path).expect("the file");
    files.places[6].file = None;
    files.places[9].size = 5;
    files.places[12].size = 1 << 50;
    files.places[15].offset = u64::MAX - 3;
    files.places[18].offset = 1 << 40;
    files.places[21].size = 500_000;
    let reasons = [
        (4, "1.bin: the stored image says that it has 9223372036854777194 bytes, not 1386"),
        (6, ""),
        (9, "has only 5 bytes"),
        (12, "0.bin: the file says that the stored image has 1125899906842624 bytes"),
        (15, "0.bin: "),
        (18, "the file ends inside the stored image"),
        (21, "0.bin: the file ends inside the stored image"),
        (58, "the file ends inside the stored image"),
    ];
    for workers in 1..4 {
        let batch = next(&files.scan(workers, 60)).expect("a batch");
        for image in 0..60 {
            if let Some((_, reason)) = reasons.iter().find(|(bad, _)| *bad == image) {
                let why = batch.images[image].as_ref().expect_err("a bad image");
                assert!(why.contains(reason) && why.is_empty() == reason.is_empty(), "{image}: {why}");
            } else if image % 3 == 2 {
                let why = batch.images[image].as_ref().expect_err("its file is gone");
                assert!(why.contains("2.bin: No such file"), "{image}: {why}");
            } else {
                files.check(image, &batch, image);
            }
        }
    }
}
