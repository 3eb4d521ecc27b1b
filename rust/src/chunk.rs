//! The stored form of an image: a header, then blocks.
//!
//! bitshuffle (HDF5 filter 32008): total size (u64, big endian), block size in bytes (u32), then for each block its
//! packed length (u32) and its bytes; pixels past the last multiple of eight follow as they are.
//! LZ4 (HDF5 filter 32004): the same header and blocks, not shuffled; a block as long as what it unpacks to is not packed.
//! Specifications: bitshuffle `src/bshuf_h5filter.c`; HDF5 registered filters 32004 and 32008.

use std::ops::Range;

use crate::lz4::{self, SLACK};
use crate::memory::ask_for;
use crate::planes::Cpu;

/// Bytes of a block where bitshuffle chooses by itself.
const DEFAULT_BLOCK: usize = 8192;
/// How far ahead of the block lengths that are read bytes are asked for.
const AHEAD: usize = 16 << 10;

/// How an image is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    BitshuffleLz4,
    BitshuffleZstd,
    Lz4,
}

impl Codec {
    /// The codec of that name, if there is one.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "bslz4" => Some(Self::BitshuffleLz4),
            "bszstd" => Some(Self::BitshuffleZstd),
            "lz4" => Some(Self::Lz4),
            _ => None,
        }
    }

    /// Whether blocks are stored as bit planes.
    pub fn shuffled(self) -> bool {
        self != Self::Lz4
    }
}

/// The bytes of an image as stored; more bytes may stand behind them, and blocks near the end of all bytes are copied first.
#[derive(Clone, Copy)]
pub struct Stored<'a> {
    pub bytes: &'a [u8],
    /// Those of the image.
    pub size: usize,
    pub codec: Codec,
}

/// Why a stored image cannot be unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChunkError {
    /// The chunk is shorter than its header.
    NoHeader(usize),
    /// The header states a size that is not the image's.
    WrongSize { stated: u64, expected: usize },
    /// The header states a block size that cannot be.
    WrongBlockSize(u32),
    /// The chunk ends inside a block.
    Truncated { block: usize, blocks: usize },
    /// A block does not unpack.
    Block { block: usize, blocks: usize, why: String },
}

impl std::fmt::Display for ChunkError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoHeader(n) => write!(f, "the stored image has only {n} bytes"),
            Self::WrongSize { stated, expected } => {
                write!(f, "the stored image says that it has {stated} bytes, not {expected}")
            }
            Self::WrongBlockSize(n) => write!(f, "the stored image has an impossible block size of {n} bytes"),
            Self::Truncated { block, blocks } => {
                write!(f, "the stored image ends early, in block {block} of {blocks}")
            }
            Self::Block { block, blocks, why } => write!(f, "block {block} of {blocks}: {why}"),
        }
    }
}

/// One block: where its packed bytes are, and which pixels it holds.
#[derive(Debug, Clone, Copy)]
pub struct Block {
    from: usize,
    to: usize,
    /// Its first pixel.
    pub first: usize,
    /// Its number of pixels.
    pub len: usize,
    /// Stored as it is.
    raw: bool,
    /// Unpacked, it is bit planes (else pixels).
    pub planes: bool,
}

/// The blocks of one stored image; reused from image to image.
#[derive(Debug, Default)]
pub struct Blocks {
    blocks: Vec<Block>,
    /// Pixels of each block but the last ones.
    pub pixels_per_block: usize,
    pixel_size: usize,
}

/// Working memory of the block decoders.
#[derive(Default)]
pub struct Unpacker {
    zstd: Option<zstd_safe::DCtx<'static>>,
    /// A block without the slack that its decoder needs behind it.
    last: Vec<u8>,
}

impl Blocks {
    /// Reads the header and the block lengths; unpacks nothing. Bytes behind the last block are let be, as HDF5 does.
    pub fn walk(&mut self, stored: Stored<'_>, n_pixels: usize, pixel_size: usize) -> Result<(), ChunkError> {
        let Stored { bytes: stored, size, codec } = stored;
        if size < 12 {
            return Err(ChunkError::NoHeader(size));
        }
        let expected = n_pixels * pixel_size;
        let stated = u64::from_be_bytes(stored[..8].try_into().expect("eight bytes"));
        if stated != expected as u64 {
            return Err(ChunkError::WrongSize { stated, expected });
        }
        self.pixel_size = pixel_size;
        self.pixels_per_block = pixels_per_block(u32_at(stored, 8), codec, n_pixels, pixel_size)?;
        self.blocks.clear();
        let planes = codec.shuffled();
        let packed = if planes { n_pixels - n_pixels % 8 } else { n_pixels };
        let blocks = packed.div_ceil(self.pixels_per_block);
        let mut at = 12;
        for block in 0..blocks {
            if size - at < 4 {
                return Err(ChunkError::Truncated { block, blocks });
            }
            let length = u32_at(stored, at) as usize;
            at += 4;
            if length > size - at {
                return Err(ChunkError::Truncated { block, blocks });
            }
            // Where a block begins is known only from the one before: without this, each is waited for in turn.
            let (from, to) = ((at + AHEAD).min(size), (at + AHEAD + length + 4).min(size));
            ask_for(&stored[from..to]);
            let first = block * self.pixels_per_block;
            let len = self.pixels_per_block.min(packed - first);
            let raw = !planes && length == len * pixel_size;
            self.blocks.push(Block { from: at, to: at + length, first, len, raw, planes });
            at += length;
        }
        let rest = n_pixels - packed;
        if rest * pixel_size > size - at {
            return Err(ChunkError::Truncated { block: blocks, blocks });
        }
        if rest > 0 {
            let to = at + rest * pixel_size;
            self.blocks.push(Block { from: at, to, first: packed, len: rest, raw: true, planes: false });
        }
        Ok(())
    }

    /// The blocks in order.
    pub fn all(&self) -> &[Block] {
        &self.blocks
    }

    /// Unpacks a block into `out`, which must have `SLACK` bytes more than the block. Returns bytes that are known to be zero.
    pub fn unpack(
        &self,
        cpu: Cpu,
        stored: Stored<'_>,
        block: usize,
        out: &mut [u8],
        unpacker: &mut Unpacker,
    ) -> Result<Range<usize>, ChunkError> {
        let Block { from, to, len, raw, .. } = self.blocks[block];
        let size = len * self.pixel_size;
        let fail = |why: String| ChunkError::Block { block, blocks: self.blocks.len(), why };
        if raw {
            out[..size].copy_from_slice(&stored.bytes[from..to]);
        } else if stored.codec == Codec::BitshuffleZstd {
            let context = unpacker.zstd.get_or_insert_with(zstd_safe::DCtx::create);
            let n = context
                .decompress(&mut out[..size], &stored.bytes[from..to])
                .map_err(|code| fail(format!("its zstd data do not unpack ({})", zstd_safe::get_error_name(code))))?;
            if n != size {
                return Err(fail("its zstd data unpack to too little".into()));
            }
        } else {
            let zeros = if to + SLACK <= stored.bytes.len() {
                lz4::decode(cpu, stored.bytes, (from, to), out, size)
            } else {
                let last = &mut unpacker.last;
                last.clear();
                last.extend_from_slice(&stored.bytes[from..to]);
                last.resize(to - from + SLACK, 0);
                lz4::decode(cpu, last, (0, to - from), out, size)
            };
            return zeros.map_err(|error| fail(error.to_string()));
        }
        Ok(0..0)
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn pixels_per_block(block_bytes: u32, codec: Codec, n_pixels: usize, pixel_size: usize) -> Result<usize, ChunkError> {
    let wrong = ChunkError::WrongBlockSize(block_bytes);
    let bytes = block_bytes as usize;
    let unit = if codec.shuffled() { 8 * pixel_size } else { pixel_size };
    if codec == Codec::Lz4 && bytes >= n_pixels * pixel_size {
        return Ok(n_pixels.max(1));
    }
    // bitshuffle writes 0 where it chose the block size by itself.
    let bytes = if codec.shuffled() && bytes == 0 { DEFAULT_BLOCK } else { bytes };
    if bytes == 0 || bytes % unit != 0 {
        return Err(wrong);
    }
    Ok((bytes / pixel_size).min(n_pixels.next_multiple_of(8).max(8)))
}

/// Room for the largest block of an image, with slack.
pub fn room(pixels: usize, pixel_size: usize) -> usize {
    pixels * pixel_size + SLACK
}
