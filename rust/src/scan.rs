//! Many stored images, searched by worker threads, delivered in order.
//!
//! Workers take small units of consecutive images and read the bytes themselves (`pread`). A worker waits when it is more than a
//! window ahead of the reader, so memory is bounded whatever the number of images.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::chunk::{Codec, Stored};
use crate::find::{Finder, Found};
use crate::lz4::SLACK;
use crate::pixel::Pixel;
use crate::plan::Plan;
use crate::spots::Spot;

/// Images that a worker takes at a time, where that divides a batch.
const UNIT: usize = 4;
/// Images that workers may be ahead of the reader, so that they stay busy while it writes.
const AHEAD: usize = 256;
/// Files that a worker keeps open.
const OPEN_FILES: usize = 32;

/// A file that holds images.
#[derive(Debug, Clone)]
pub struct StoredFile {
    pub path: PathBuf,
    pub codec: Codec,
}

/// Where one image is stored.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// None for an image that is to be passed over.
    pub file: Option<u32>,
    pub offset: u64,
    pub size: usize,
}

/// Results of consecutive images.
#[derive(Debug, Default)]
pub struct Batch {
    pub images: Vec<Result<Found, String>>,
    pub spots: Vec<Spot>,
    /// Where the spots of each image end.
    pub ends: Vec<usize>,
}

impl Batch {
    fn append(&mut self, other: Self) {
        let before = self.spots.len();
        self.images.extend(other.images);
        self.spots.extend(other.spots);
        self.ends.extend(other.ends.into_iter().map(|end| before + end));
    }

    /// Adds an image whose spots are those behind the last end.
    pub fn close(&mut self, image: Result<Found, String>) {
        if image.is_err() {
            self.spots.truncate(self.ends.last().copied().unwrap_or(0));
        }
        self.images.push(image);
        self.ends.push(self.spots.len());
    }
}

struct Job {
    plan: Arc<Plan>,
    files: Vec<StoredFile>,
    places: Vec<Place>,
    unit: usize,
    window: usize,
    state: Mutex<Progress>,
    changed: Condvar,
}

#[derive(Default)]
struct Progress {
    /// First unit that no worker has taken.
    next: usize,
    /// First unit that was not delivered.
    delivered: usize,
    done: BTreeMap<usize, Batch>,
    stop: bool,
    /// What a worker said when it panicked.
    failure: Option<String>,
}

impl Job {
    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn units(&self) -> usize {
        self.places.len().div_ceil(self.unit)
    }

    /// The next unit, or None when there is none left.
    fn take(&self) -> Option<usize> {
        let mut progress = self.lock();
        loop {
            if progress.stop || progress.next == self.units() {
                return None;
            }
            if progress.next < progress.delivered + self.window {
                progress.next += 1;
                return Some(progress.next - 1);
            }
            progress = self.changed.wait(progress).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// A search under way; dropping it stops the workers.
pub struct Scan {
    job: Arc<Job>,
    workers: Vec<JoinHandle<()>>,
    batch: usize,
}

/// What to do next after waiting for a batch.
pub enum Waited {
    Batch(Batch),
    Finished,
    /// Nothing yet: the caller may look after its signals, and wait again.
    NotYet,
}

impl Scan {
    /// Starts the workers; a batch has `batch` images. Where the system has fewer threads to give, those do it.
    ///
    /// # Errors
    /// The system gives none.
    pub fn start<T: Pixel>(
        plan: Arc<Plan>,
        files: Vec<StoredFile>,
        places: Vec<Place>,
        workers: usize,
        batch: usize,
    ) -> std::io::Result<Self> {
        let batch = batch.max(1);
        let unit = if batch.is_multiple_of(UNIT) { UNIT } else { 1 };
        let window = batch.max(AHEAD).div_ceil(unit) + 4 * workers;
        let state = Mutex::default();
        let job = Arc::new(Job { plan, files, places, unit, window, state, changed: Condvar::new() });
        let mut scan = Self { job, workers: Vec::new(), batch };
        for _ in 0..workers.max(1) {
            let job = Arc::clone(&scan.job);
            match std::thread::Builder::new().spawn(move || work::<T>(&job)) {
                Ok(worker) => scan.workers.push(worker),
                Err(error) if scan.workers.is_empty() => return Err(no_thread(&error)),
                Err(_) => break,
            }
        }
        Ok(scan)
    }

    /// Waits up to `patience` for the next batch.
    ///
    /// # Errors
    /// What a worker said when it panicked.
    pub fn wait(&self, patience: Duration) -> Result<Waited, String> {
        let mut progress = self.job.lock();
        if progress.delivered == self.job.units() {
            return Ok(Waited::Finished);
        }
        let wanted = (self.batch / self.job.unit).min(self.job.units() - progress.delivered);
        // Units may finish out of order, but the map is sorted: enough of them from the next one on are a batch.
        let ready = |progress: &Progress| {
            progress.done.keys().take(wanted).zip(progress.delivered..).filter(|(k, unit)| *k == unit).count() == wanted
        };
        if progress.failure.is_none() && !ready(&progress) {
            progress = self.job.changed.wait_timeout(progress, patience).unwrap_or_else(PoisonError::into_inner).0;
        }
        if let Some(failure) = &progress.failure {
            return Err(failure.clone());
        }
        if !ready(&progress) {
            return Ok(Waited::NotYet);
        }
        let mut batch = Batch::default();
        for _ in 0..wanted {
            let unit = progress.delivered;
            batch.append(progress.done.remove(&unit).unwrap_or_default());
            progress.delivered += 1;
        }
        drop(progress);
        self.job.changed.notify_all();
        Ok(Waited::Batch(batch))
    }
}

impl Drop for Scan {
    fn drop(&mut self) {
        self.job.lock().stop = true;
        self.job.changed.notify_all();
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
    }
}

/// What to say where the system refuses a thread.
pub fn no_thread(error: &std::io::Error) -> std::io::Error {
    std::io::Error::other(format!("the system has no thread to give: {error}"))
}

fn work<T: Pixel>(job: &Job) {
    let mut reader = Reader::default();
    let mut finder = Finder::<T>::default();
    while let Some(unit) = job.take() {
        let images = unit * job.unit..((unit + 1) * job.unit).min(job.places.len());
        let search = std::panic::AssertUnwindSafe(|| {
            let mut batch = Batch::default();
            for image in images.clone() {
                let found = search(job, job.places[image], &mut reader, &mut finder, &mut batch.spots);
                batch.close(found);
            }
            batch
        });
        let result = std::panic::catch_unwind(search);
        let mut progress = job.lock();
        match result {
            Ok(batch) => {
                progress.done.insert(unit, batch);
            }
            Err(panic) => {
                let what = panic.downcast_ref::<String>().cloned();
                let what = what.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
                progress.failure = Some(format!("images {images:?}: {}", what.unwrap_or_default()));
                progress.stop = true;
            }
        }
        drop(progress);
        job.changed.notify_all();
    }
}

fn search<T: Pixel>(
    job: &Job,
    place: Place,
    reader: &mut Reader,
    finder: &mut Finder<T>,
    spots: &mut Vec<Spot>,
) -> Result<Found, String> {
    let Some(number) = place.file else {
        return Err(String::new());
    };
    let file = &job.files[number as usize];
    // A stored image is rarely larger than the image: a size far beyond is a lie that must not become memory.
    let most = 4 * job.plan.n_pixels() * T::SIZE + (1 << 20);
    let found = if place.size > most {
        Err(format!("the file says that the stored image has {} bytes", place.size))
    } else if let Err(error) = reader.read(file, number, place) {
        Err(error.to_string())
    } else {
        let stored = Stored { bytes: &reader.bytes, size: place.size, codec: file.codec };
        finder.find_stored(&job.plan, stored, spots).map_err(|error| error.to_string())
    };
    found.map_err(|error| format!("{}: {error}", file.path.display()))
}

/// The files that were read last, kept open.
#[derive(Default)]
pub struct OpenFiles(Vec<(u32, File)>);

impl OpenFiles {
    /// The file of that number, opened where it is not.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn get(&mut self, number: u32, path: &Path) -> std::io::Result<&File> {
        let at = match self.0.iter().position(|(open, _)| *open == number) {
            Some(at) => at,
            None => {
                if self.0.len() == OPEN_FILES {
                    self.0.remove(0);
                }
                self.0.push((number, File::open(path)?));
                self.0.len() - 1
            }
        };
        Ok(&self.0[at].1)
    }
}

/// Reads stored images.
#[derive(Default)]
struct Reader {
    open: OpenFiles,
    bytes: Vec<u8>,
}

impl Reader {
    /// Reads the bytes of an image into `bytes`, with slack behind them.
    fn read(&mut self, file: &StoredFile, number: u32, place: Place) -> std::io::Result<()> {
        let source = self.open.get(number, &file.path)?;
        if self.bytes.len() < place.size + SLACK {
            // A size that lies must not make us ask for memory that the file cannot fill.
            let length = source.metadata()?.len();
            if place.offset.checked_add(place.size as u64).is_none_or(|end| end > length) {
                return Err(std::io::Error::other("the file ends inside the stored image"));
            }
            self.bytes.resize(place.size + SLACK, 0);
        }
        source.read_exact_at(&mut self.bytes[..place.size], place.offset).map_err(|error| {
            if error.kind() == std::io::ErrorKind::UnexpectedEof {
                std::io::Error::other("the file ends inside the stored image")
            } else {
                error
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Algorithm, Settings};
    use std::time::Instant;

    fn plan() -> Arc<Plan> {
        let settings = Settings {
            algorithm: Algorithm::Radial,
            snr: 5.0,
            min_count: 5,
            min_pixels: 1,
            max_pixels: 50,
            spot_snr: 5.0,
            ring_width: 3,
            max_spots: 10,
            underload: 0,
            saturation: None,
            error_value: None,
        };
        Arc::new(Plan::new(settings, (1, 8), vec![0; 8], &[true; 8], Vec::new(), vec![true]))
    }

    #[test]
    fn workers_never_run_further_ahead_than_the_window() {
        for (workers, batch) in [(1, 4), (2, 1), (4, 600)] {
            let places = vec![Place { file: None, offset: 0, size: 0 }; 5000];
            let scan = Scan::start::<u8>(plan(), Vec::new(), places, workers, batch).expect("threads");
            let check = |progress: &Progress| {
                assert!(
                    progress.next <= progress.delivered + scan.job.window && progress.done.len() <= scan.job.window
                );
            };
            // Nobody reads: all the window is searched, and not a unit more.
            let late = Instant::now() + Duration::from_secs(60);
            while scan.job.lock().done.len() < scan.job.window {
                assert!(Instant::now() < late, "the window never fills");
                check(&scan.job.lock());
                std::thread::yield_now();
            }
            let mut images = 0;
            loop {
                check(&scan.job.lock());
                match scan.wait(Duration::from_secs(1)).expect("no panic") {
                    Waited::Batch(batch) => images += batch.images.len(),
                    Waited::NotYet => {}
                    Waited::Finished => break,
                }
            }
            assert_eq!(images, 5000);
        }
    }

    #[test]
    fn a_panic_of_a_worker_reaches_the_reader() {
        let places = vec![Place { file: Some(7), offset: 0, size: 0 }; 40];
        let scan = Scan::start::<u8>(plan(), Vec::new(), places, 2, 4).expect("threads");
        let failure = loop {
            match scan.wait(Duration::from_secs(1)) {
                Ok(Waited::NotYet) => {}
                Ok(_) => panic!("there is no file 7"),
                Err(failure) => break failure,
            }
        };
        assert!(failure.starts_with("images ") && failure.contains("index out of bounds"), "{failure}");
    }
}
