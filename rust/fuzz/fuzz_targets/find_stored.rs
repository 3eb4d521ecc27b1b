//! Any bytes as a stored image. The finder must say what the plain decoder of the tests says, whatever the kernels.
//!
//! The first six bytes choose pixel type, codec, shape, block size and how much of the chunk is given: all of it is the input;
//! or the header is right; or the block lengths are right as well, so that the input is what the block decoders see.

#![no_main]

use libfuzzer_sys::fuzz_target;

use _core::chunk::Codec;
use _core::find::Finder;
use _core::pixel::Pixel;
use _core::plan::{Algorithm, Plan, Settings};
use _core::planes::Cpu;

#[allow(dead_code)]
#[path = "../../tests/stored.rs"]
mod stored;
use stored::{decode, encode, find, find_stored};

struct Choice {
    codec: Codec,
    shape: (usize, usize),
    block_bytes: u32,
    given: u8,
    plan: u8,
}

fuzz_target!(|input: &[u8]| {
    let Some((&[kind, slow, fast, block, given, plan], body)) = input.split_first_chunk::<6>() else { return };
    let codec = [Codec::BitshuffleLz4, Codec::BitshuffleZstd, Codec::Lz4][usize::from(kind / 6) % 3];
    let shape = (usize::from(slow) % 24 + 1, usize::from(fast) % 72 + 1);
    let choice = |size: u32| {
        let unit = if codec == Codec::Lz4 { size } else { 8 * size };
        let block_bytes = if block.is_multiple_of(4) { 512 * size } else { unit * u32::from(block) };
        Choice { codec, shape, block_bytes, given, plan }
    };
    match kind % 6 {
        0 => run::<u8>(&choice(1), body),
        1 => run::<i8>(&choice(1), body),
        2 => run::<u16>(&choice(2), body),
        3 => run::<i16>(&choice(2), body),
        4 => run::<u32>(&choice(4), body),
        _ => run::<i32>(&choice(4), body),
    }
});

fn run<T: Pixel>(choice: &Choice, body: &[u8]) {
    let mut plan = plan(choice);
    let n = plan.n_pixels();
    let chunk = match choice.given % 4 {
        0 => body.to_vec(),
        1 => [header::<T>(n, choice.block_bytes), body.to_vec()].concat(),
        2 => with_lengths::<T>(n, choice, body),
        _ => encode(&pixels::<T>(n, body), choice.codec, choice.block_bytes),
    };
    let image = decode::<T>(&chunk, choice.codec, n);
    assert!(choice.given % 4 < 3 || choice.block_bytes == 0 || image.as_ref() == Some(&pixels::<T>(n, body)));
    let expected = image.map(|image| find(&mut Finder::default(), &plan, &image));
    for cpu in Cpu::variants() {
        plan.cpu = cpu;
        let answer = find_stored(&mut Finder::<T>::default(), &plan, &chunk, choice.codec, choice.given);
        assert!(answer.as_ref().ok() == expected.as_ref(), "{cpu:?}: {answer:?}, not {expected:?}");
    }
}

fn header<T: Pixel>(n: usize, block_bytes: u32) -> Vec<u8> {
    let mut header = ((n * T::SIZE) as u64).to_be_bytes().to_vec();
    header.extend(block_bytes.to_be_bytes());
    header
}

/// The input in as many pieces as there are blocks.
fn with_lengths<T: Pixel>(n: usize, choice: &Choice, body: &[u8]) -> Vec<u8> {
    let mut chunk = header::<T>(n, choice.block_bytes);
    let packed = if choice.codec == Codec::Lz4 { n } else { n / 8 * 8 };
    let (body, tail) = body.split_at(body.len().saturating_sub((n - packed) * T::SIZE));
    let blocks = (packed * T::SIZE).div_ceil(choice.block_bytes.max(1) as usize).max(1);
    for piece in body.chunks(body.len().div_ceil(blocks).max(1)) {
        chunk.extend((piece.len() as u32).to_be_bytes());
        chunk.extend(piece);
    }
    chunk.extend(tail);
    chunk
}

/// The input as pixels, over and over.
fn pixels<T: Pixel>(n: usize, body: &[u8]) -> Vec<T> {
    let byte = |i: usize| if body.is_empty() { 0 } else { u32::from(body[i % body.len()]) };
    (0..n).map(|i| T::from_bits(byte(2 * i) ^ byte(2 * i + 1) << (8 * (i % T::SIZE)))).collect()
}

fn plan(choice: &Choice) -> Plan {
    let (slow, fast) = choice.shape;
    let bit = |bit: u8| choice.plan >> bit & 1 == 1;
    let settings = Settings {
        algorithm: if choice.plan >= 224 { Algorithm::Dispersion } else { Algorithm::Radial },
        snr: 3.0,
        min_count: 2,
        min_pixels: 1,
        max_pixels: 100,
        spot_snr: 1.0,
        ring_width: 2,
        max_spots: 20,
        underload: if bit(0) { i64::MIN } else { 0 },
        saturation: bit(1).then_some(200),
        error_value: bit(2).then_some(255),
    };
    let n = slow * fast;
    let bins = (0..n).map(|i| (i % fast / 16) as u16).collect();
    let valid: Vec<bool> = (0..n).map(|i| !bit(3) || i % 37 > 0).collect();
    let panels = if bit(4) { (0..n).map(|i| u16::from(i % fast < 20)).collect() } else { Vec::new() };
    Plan::new(settings, choice.shape, bins, &valid, panels, vec![true; 5])
}
