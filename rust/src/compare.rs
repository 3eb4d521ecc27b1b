//! Whether the chunks of one file are those of others, and the hashes of the chunks and of the file, in one pass.
//!
//! The file is read once, from its start to its end, by a thread of its own, and past the page cache where the file system
//! can do so: what is compared is what the disk holds. Each piece of a chunk is compared with the source and taken into
//! two hashes while it is in the processor's cache.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{Error, Result};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{sync_channel, Receiver, SyncSender};
use std::thread::JoinHandle;

use crate::scan::{no_thread, OpenFiles};
use crate::sha256::{Digest, Kernel, Sha256};

/// Bytes that are read from the file at a time.
const READ: usize = 4 << 20;
/// Bytes that are compared at a time: they stay in the second-level cache.
const PIECE: usize = 256 << 10;
/// Where memory and file places must be a multiple of this, nothing is in the way of reading past the page cache.
const ALIGNMENT: usize = 4096;
/// Blocks in memory: one is compared while the next is read.
const BLOCKS: usize = 2;

/// A chunk of the file, and the same number of bytes of a source that it is compared with.
#[derive(Debug, Clone, Copy)]
pub struct Pair {
    pub offset: u64,
    pub size: usize,
    /// Which of the sources.
    pub source: u32,
    pub source_offset: u64,
}

/// What came of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compared {
    /// False where bytes differ, and where those of the source cannot be read.
    pub same: bool,
    pub digest: Digest,
}

/// A pass over a file; dropping it ends it.
pub struct Comparison {
    kernel: Kernel,
    pairs: VecDeque<Pair>,
    sources: Vec<PathBuf>,
    open: OpenFiles,
    reading: Reading,
    /// What was read and is not used up: the block, and the place in it.
    block: Block,
    used: usize,
    /// Place in the file.
    place: u64,
    whole: Sha256,
    chunk: Sha256,
    same: bool,
    piece: Vec<u8>,
}

impl Comparison {
    /// Begins to read a file.
    ///
    /// # Errors
    /// It cannot be opened, the system has no thread to give, or the chunks are not in the order of the file, or overlap.
    pub fn start(path: &Path, pairs: Vec<Pair>, sources: Vec<PathBuf>, kernel: Kernel) -> Result<Self> {
        let mut end = 0;
        for pair in &pairs {
            if pair.offset < end || pair.source as usize >= sources.len() {
                return Err(Error::other("the chunks are not in the order of the file"));
            }
            let after = pair.offset.checked_add(pair.size as u64);
            end = after.ok_or_else(|| Error::other("a chunk lies beyond the end of any file"))?;
        }
        Ok(Self {
            kernel,
            pairs: pairs.into(),
            sources,
            open: OpenFiles::default(),
            reading: Reading::start(path)?,
            block: Block::default(),
            used: 0,
            place: 0,
            whole: Sha256::default(),
            chunk: Sha256::default(),
            same: true,
            piece: vec![0; PIECE],
        })
    }

    /// Compares the next chunk; None after the last.
    ///
    /// # Errors
    /// The file cannot be read, or ends inside a chunk.
    pub fn next_chunk(&mut self) -> Result<Option<Compared>> {
        let Some(pair) = self.pairs.pop_front() else {
            return Ok(None);
        };
        while self.place < pair.offset {
            let most = usize::try_from(pair.offset - self.place).unwrap_or(usize::MAX);
            if self.pass(most)? == 0 {
                return Err(Error::other("the file ends before a chunk"));
            }
        }
        self.same = true;
        let end = pair.offset + pair.size as u64;
        while self.place < end {
            let n = ((end - self.place) as usize).min(PIECE).min(self.fill()?);
            if n == 0 {
                return Err(Error::other("the file ends inside a chunk"));
            }
            let bytes = &self.block.bytes()[self.used..self.used + n];
            let from = pair.source_offset + (self.place - pair.offset);
            let source = self.open.get(pair.source, &self.sources[pair.source as usize]);
            let original = &mut self.piece[..n];
            self.same &= source.and_then(|file| file.read_exact_at(original, from)).is_ok() && original == bytes;
            Sha256::update_both(self.kernel, (&mut self.whole, bytes), (&mut self.chunk, bytes));
            self.used += n;
            self.place += n as u64;
        }
        let digest = std::mem::take(&mut self.chunk).finish(self.kernel);
        Ok(Some(Compared { same: self.same, digest }))
    }

    /// Reads what is left of the file behind its last chunk; the hash of all of it.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn finish(&mut self) -> Result<Digest> {
        while self.pass(usize::MAX)? > 0 {}
        Ok(std::mem::take(&mut self.whole).finish(self.kernel))
    }

    /// Takes up to `most` bytes that belong to no chunk; how many, 0 at the end.
    fn pass(&mut self, most: usize) -> Result<usize> {
        let n = self.fill()?.min(most);
        self.whole.update(self.kernel, &self.block.bytes()[self.used..self.used + n]);
        self.used += n;
        self.place += n as u64;
        Ok(n)
    }

    /// Sees that there are bytes; how many, 0 at the end of the file.
    fn fill(&mut self) -> Result<usize> {
        if self.used == self.block.length {
            self.block = self.reading.next(std::mem::take(&mut self.block))?;
            self.used = 0;
        }
        Ok(self.block.length - self.used)
    }
}

/// Memory for one block, at an address that the disk can write to.
#[derive(Default)]
struct Block {
    memory: Vec<u8>,
    start: usize,
    length: usize,
}

impl Block {
    fn new() -> Self {
        let memory = vec![0; READ + ALIGNMENT];
        let start = memory.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        Self { memory, start, length: 0 }
    }

    fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.length]
    }

    /// Reads a block of a file, less at its end.
    fn read(&mut self, file: &mut OpenFile, at: u64) -> Result<()> {
        self.length = 0;
        while self.length < READ {
            let free = &mut self.memory[self.start + self.length..self.start + READ];
            match file.read(free, at + self.length as u64)? {
                0 => break,
                n => self.length += n,
            }
        }
        Ok(())
    }
}

/// The file, read past the page cache where that is possible.
struct OpenFile {
    path: PathBuf,
    file: File,
    direct: bool,
}

impl OpenFile {
    fn open(path: &Path) -> Result<Self> {
        let (path, direct) =
            (path.to_path_buf(), OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(path));
        Ok(match direct {
            Ok(file) => Self { path, file, direct: true },
            Err(_) => Self { file: File::open(&path)?, path, direct: false },
        })
    }

    fn read(&mut self, bytes: &mut [u8], at: u64) -> Result<usize> {
        let aligned = at.is_multiple_of(ALIGNMENT as u64) && bytes.len().is_multiple_of(ALIGNMENT);
        if self.direct && aligned {
            match self.file.read_at(bytes, at) {
                Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => {}
                read => return read,
            }
        }
        if self.direct {
            // Behind the last whole page of a file, and where the file system wants another alignment.
            (self.file, self.direct) = (File::open(&self.path)?, false);
        }
        self.file.read_at(bytes, at)
    }
}

/// Reads blocks ahead, in a thread of its own.
struct Reading {
    blocks: Option<Receiver<Result<Block>>>,
    free: Option<SyncSender<Block>>,
    thread: Option<JoinHandle<()>>,
}

impl Reading {
    fn start(path: &Path) -> Result<Self> {
        let mut file = OpenFile::open(path)?;
        let (to, blocks) = sync_channel(BLOCKS);
        let (free, used) = sync_channel::<Block>(BLOCKS);
        for _ in 0..BLOCKS {
            let _ = free.send(Block::new());
        }
        let thread = std::thread::Builder::new().spawn(move || {
            let mut at = 0;
            while let Ok(mut block) = used.recv() {
                let read = block.read(&mut file, at);
                at += block.length as u64;
                let last = block.length < READ || read.is_err();
                if to.send(read.map(|()| block)).is_err() || last {
                    return;
                }
            }
        });
        let thread = thread.map_err(|error| no_thread(&error))?;
        Ok(Self { blocks: Some(blocks), free: Some(free), thread: Some(thread) })
    }

    /// The next block, empty behind the last; the one before is read into again.
    fn next(&mut self, before: Block) -> Result<Block> {
        if let (Some(free), false) = (&self.free, before.memory.is_empty()) {
            let _ = free.try_send(before);
        }
        self.blocks.as_ref().and_then(|blocks| blocks.recv().ok()).unwrap_or_else(|| Ok(Block::default()))
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        (self.blocks, self.free) = (None, None);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
