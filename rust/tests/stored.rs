//! Images and their stored form: an encoder, and a decoder so plain that it can be judged by reading. The fuzz target uses it too.

use _core::chunk::{Codec, Stored};
use _core::find::Finder;
use _core::lz4::SLACK;
use _core::pixel::Pixel;
use _core::plan::Plan;
use _core::spots::Spot;

/// What bitshuffle takes where its header says 0.
const DEFAULT_BLOCK: usize = 8192;

/// Stores an image as the HDF5 filters do; `block_bytes` goes into the header.
pub fn encode<T: Pixel>(pixels: &[T], codec: Codec, block_bytes: u32) -> Vec<u8> {
    let mut stored = ((pixels.len() * T::SIZE) as u64).to_be_bytes().to_vec();
    stored.extend(block_bytes.to_be_bytes());
    let block_bytes = if block_bytes == 0 { DEFAULT_BLOCK } else { block_bytes as usize };
    let packed = if codec == Codec::Lz4 { pixels.len() } else { pixels.len() / 8 * 8 };
    for block in pixels[..packed].chunks(block_bytes / T::SIZE) {
        let bytes = pack(block, codec);
        stored.extend((bytes.len() as u32).to_be_bytes());
        stored.extend(bytes);
    }
    stored.extend(plain_bytes(&pixels[packed..]));
    stored
}

fn pack<T: Pixel>(block: &[T], codec: Codec) -> Vec<u8> {
    match codec {
        Codec::Lz4 => {
            let plain = plain_bytes(block);
            let packed = lz4_flex::block::compress(&plain);
            if packed.len() < plain.len() {
                packed
            } else {
                plain
            }
        }
        Codec::BitshuffleLz4 => lz4_flex::block::compress(&shuffle(block)),
        Codec::BitshuffleZstd => {
            let plain = shuffle(block);
            let mut packed = vec![0; zstd_safe::compress_bound(plain.len())];
            let n = zstd_safe::compress(packed.as_mut_slice(), &plain, 3).expect("room for the packed block");
            packed.truncate(n);
            packed
        }
    }
}

fn plain_bytes<T: Pixel>(pixels: &[T]) -> Vec<u8> {
    pixels.iter().flat_map(|pixel| pixel.bits().to_le_bytes().into_iter().take(T::SIZE)).collect()
}

fn shuffle<T: Pixel>(pixels: &[T]) -> Vec<u8> {
    let stride = pixels.len() / 8;
    let mut planes = vec![0; pixels.len() * T::SIZE];
    for (i, pixel) in pixels.iter().enumerate() {
        for bit in 0..8 * T::SIZE {
            planes[bit * stride + i / 8] |= ((pixel.bits() >> bit & 1) as u8) << (i % 8);
        }
    }
    planes
}

/// The image in a stored chunk; None where the chunk breaks a rule.
pub fn decode<T: Pixel>(stored: &[u8], codec: Codec, n_pixels: usize) -> Option<Vec<T>> {
    let header = stored.get(..12)?;
    let size = n_pixels * T::SIZE;
    if u64::from_be_bytes(header[..8].try_into().ok()?) != size as u64 {
        return None;
    }
    let mut block_bytes = u32::from_be_bytes(header[8..].try_into().ok()?) as usize;
    let unit = if codec == Codec::Lz4 { T::SIZE } else { 8 * T::SIZE };
    if codec == Codec::Lz4 {
        block_bytes = if block_bytes < size { block_bytes } else { size };
    } else if block_bytes == 0 {
        block_bytes = DEFAULT_BLOCK;
    }
    if block_bytes == 0 || !block_bytes.is_multiple_of(unit) {
        return None;
    }
    let packed = size / unit * unit;
    let mut pixels = Vec::new();
    let mut rest = &stored[12..];
    while pixels.len() * T::SIZE < packed {
        let wanted = block_bytes.min(packed - pixels.len() * T::SIZE);
        let length = u32::from_be_bytes(rest.get(..4)?.try_into().ok()?) as usize;
        let block = rest.get(4..4 + length)?;
        rest = &rest[4 + length..];
        let plain = unpack(block, codec, wanted)?;
        if plain.len() != wanted {
            return None;
        }
        if codec == Codec::Lz4 {
            pixels.extend(pixels_of::<T>(&plain));
        } else {
            pixels.extend(unshuffle::<T>(&plain));
        }
    }
    pixels.extend(pixels_of::<T>(rest.get(..size - packed)?));
    Some(pixels)
}

fn unpack(block: &[u8], codec: Codec, wanted: usize) -> Option<Vec<u8>> {
    match codec {
        Codec::Lz4 if block.len() == wanted => Some(block.to_vec()),
        Codec::Lz4 | Codec::BitshuffleLz4 => lz4_flex::block::decompress(block, wanted).ok(),
        Codec::BitshuffleZstd => {
            let mut plain = vec![0; wanted];
            let n = zstd_safe::decompress(plain.as_mut_slice(), block).ok()?;
            plain.truncate(n);
            Some(plain)
        }
    }
}

fn pixels_of<T: Pixel>(bytes: &[u8]) -> Vec<T> {
    let word = |bytes: &[u8]| bytes.iter().rev().fold(0, |word, &byte| word << 8 | u32::from(byte));
    bytes.chunks(T::SIZE).map(|bytes| T::from_bits(word(bytes))).collect()
}

fn unshuffle<T: Pixel>(planes: &[u8]) -> Vec<T> {
    let n = planes.len() / T::SIZE;
    let bit = |i: usize, bit: usize| u32::from(planes[bit * n / 8 + i / 8] >> (i % 8) & 1) << bit;
    (0..n).map(|i| T::from_bits((0..8 * T::SIZE).fold(0, |bits, k| bits | bit(i, k)))).collect()
}

/// All that the finder says of an image, to the last bit.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub numbers: (usize, usize, usize, i64, u64),
    pub spots: Vec<([u64; 5], u32, i64, u8)>,
}

fn answer(found: _core::find::Found, spots: &[Spot]) -> Answer {
    let bits = |spot: &Spot| [spot.x, spot.y, spot.intensity, spot.background, spot.snr].map(f64::to_bits);
    Answer {
        numbers: (found.n_spots, found.n_strong, found.n_saturated, found.largest, found.background.to_bits()),
        spots: spots.iter().map(|spot| (bits(spot), spot.n_pixels, spot.peak, spot.flags)).collect(),
    }
}

/// Searches an image of pixels.
pub fn find<T: Pixel>(finder: &mut Finder<T>, plan: &Plan, image: &[T]) -> Answer {
    let mut spots = Vec::new();
    let found = finder.find(plan, image, &mut spots);
    answer(found, &spots)
}

/// Searches a stored image with `slack` in each byte behind it, in a buffer not a byte larger than it must be; where that
/// is 0, the answer must be that on the image alone.
pub fn find_stored<T: Pixel>(
    finder: &mut Finder<T>,
    plan: &Plan,
    chunk: &[u8],
    codec: Codec,
    slack: u8,
) -> Result<Answer, String> {
    let mut bytes = Vec::with_capacity(chunk.len() + SLACK);
    bytes.extend_from_slice(chunk);
    bytes.resize(chunk.len() + SLACK, slack);
    let mut search = |bytes: &[u8]| {
        let mut spots = Vec::new();
        let found = finder.find_stored(plan, Stored { bytes, size: chunk.len(), codec }, &mut spots);
        found.map(|found| answer(found, &spots)).map_err(|error| error.to_string())
    };
    let found = search(&bytes);
    if slack == 0 {
        assert_eq!(search(chunk), found);
    }
    found
}
