//! Chunks that lie. The finder must neither panic nor touch a byte that is not its own, and must say the same as the plain
//! decoder: an error where that finds one, else the answer of the very pixels that it finds.

use _core::chunk::{room, Blocks, Codec, Stored, Unpacker};
use _core::find::Finder;
use _core::lz4::SLACK;
use _core::pixel::Pixel;
use _core::planes::Cpu;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::case::{block_bytes, case, for_every_pixel, Case, CODECS};
use crate::stored::{decode, encode, find, find_stored};

/// One way to spoil a chunk.
#[derive(Debug, Clone)]
enum Damage {
    Flip(Index, u8),
    Set(Index, u8),
    Truncate(Index),
    Cut(Index, Index),
    Insert(Index, Vec<u8>),
    /// Goes on as another chunk of the same image does.
    Splice(Index, Index),
    ImageSize(u64),
    BlockSize(u32),
    /// The length of a block.
    Length(Index, u32),
    LengthBy(Index, i32),
}

fn damage() -> impl Strategy<Value = Damage> {
    let index = any::<Index>;
    prop_oneof![
        4 => (index(), 0u8..8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        2 => (index(), any::<u8>()).prop_map(|(at, byte)| Damage::Set(at, byte)),
        1 => index().prop_map(Damage::Truncate),
        1 => (index(), index()).prop_map(|(a, b)| Damage::Cut(a, b)),
        1 => (index(), prop::collection::vec(any::<u8>(), 1..40)).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        1 => (index(), index()).prop_map(|(a, b)| Damage::Splice(a, b)),
        1 => prop_oneof![any::<u64>(), 0u64..70_000].prop_map(Damage::ImageSize),
        1 => prop_oneof![any::<u32>(), 0u32..9000, (0u32..2000).prop_map(|n| 32 * n)].prop_map(Damage::BlockSize),
        1 => (index(), prop_oneof![any::<u32>(), 0u32..9000]).prop_map(|(at, length)| Damage::Length(at, length)),
        2 => (index(), -3i32..4).prop_map(|(at, by)| Damage::LengthBy(at, by)),
    ]
}

/// Where the block lengths of a good chunk are.
fn lengths(chunk: &[u8], blocks: usize) -> Vec<usize> {
    let mut at = 12;
    let mut places = Vec::new();
    while places.len() < blocks && at + 4 <= chunk.len() {
        places.push(at);
        at += 4 + u32::from_be_bytes(chunk[at..at + 4].try_into().expect("four bytes")) as usize;
    }
    places
}

fn restate(chunk: &mut [u8], at: usize, length: impl Fn(u32) -> u32) {
    if let Some(bytes) = chunk.get_mut(at..at + 4) {
        let old = u32::from_be_bytes((&*bytes).try_into().expect("four bytes"));
        bytes.copy_from_slice(&length(old).to_be_bytes());
    }
}

fn spoil(chunk: &mut Vec<u8>, other: &[u8], lengths: &[usize], damage: &Damage) {
    let spot = |index: &Index, chunk: &Vec<u8>| index.index(chunk.len() + 1);
    match damage {
        Damage::Flip(at, bit) if !chunk.is_empty() => {
            let i = at.index(chunk.len());
            chunk[i] ^= 1 << bit;
        }
        Damage::Set(at, byte) if !chunk.is_empty() => {
            let i = at.index(chunk.len());
            chunk[i] = *byte;
        }
        Damage::Truncate(at) => chunk.truncate(spot(at, chunk)),
        Damage::Cut(a, b) => {
            let (a, b) = (spot(a, chunk), spot(b, chunk));
            chunk.drain(a.min(b)..a.max(b));
        }
        Damage::Insert(at, bytes) => {
            let at = spot(at, chunk);
            chunk.splice(at..at, bytes.iter().copied());
        }
        Damage::Splice(a, b) => {
            chunk.truncate(spot(a, chunk));
            chunk.extend(&other[b.index(other.len())..]);
        }
        Damage::ImageSize(size) if chunk.len() >= 8 => chunk[..8].copy_from_slice(&size.to_be_bytes()),
        Damage::BlockSize(size) if chunk.len() >= 12 => chunk[8..12].copy_from_slice(&size.to_be_bytes()),
        Damage::Length(at, length) if !lengths.is_empty() => {
            restate(chunk, lengths[at.index(lengths.len())], |_| *length)
        }
        Damage::LengthBy(at, by) if !lengths.is_empty() => {
            restate(chunk, lengths[at.index(lengths.len())], |length| length.wrapping_add_signed(*by));
        }
        _ => {}
    }
}

/// Unpacks every block that the walker gives, between bytes that must stay as they are.
fn unpack_between_guards<T: Pixel>(chunk: &[u8], codec: Codec, n_pixels: usize) {
    const GUARD: usize = 256;
    let mut bytes = chunk.to_vec();
    bytes.resize(chunk.len() + SLACK, 0x55);
    let stored = Stored { bytes: &bytes, size: chunk.len(), codec };
    let mut blocks = Blocks::default();
    if blocks.walk(stored, n_pixels, T::SIZE).is_err() {
        return;
    }
    let pixels: usize = blocks.all().iter().map(|block| block.len).sum();
    assert_eq!(pixels, n_pixels);
    let size = room(blocks.pixels_per_block, T::SIZE);
    assert!(blocks.all().iter().all(|block| room(block.len, T::SIZE) <= size));
    for cpu in Cpu::variants() {
        let mut unpacker = Unpacker::default();
        for (number, block) in blocks.all().iter().enumerate() {
            let used = room(block.len, T::SIZE);
            let mut out = vec![0xA5; used + GUARD];
            if let Ok(zeros) = blocks.unpack(cpu, stored, number, &mut out, &mut unpacker) {
                assert!(out[..used - SLACK][zeros].iter().all(|&byte| byte == 0));
            }
            assert!(out[used..].iter().all(|&byte| byte == 0xA5), "{codec:?} block {number} of {cpu:?}");
        }
    }
}

fn same_as_plain_decoder<T: Pixel>(case: &Case, good: &[u8], chunk: &[u8], codec: Codec) {
    unpack_between_guards::<T>(chunk, codec, case.n_pixels());
    let mut plan = case.plan();
    let expected = decode::<T>(chunk, codec, case.n_pixels()).map(|image| find(&mut Finder::default(), &plan, &image));
    let afterwards = decode::<T>(good, codec, case.n_pixels()).map(|image| find(&mut Finder::default(), &plan, &image));
    for cpu in Cpu::variants() {
        plan.cpu = cpu;
        // The bytes behind a chunk are read, but must not count; nor must what a bad chunk left behind.
        let mut finder = Finder::<T>::default();
        for slack in [0, 0xFF] {
            let answer = find_stored(&mut finder, &plan, chunk, codec, slack);
            assert_eq!(answer.clone().ok(), expected, "{codec:?} {cpu:?} {answer:?}");
        }
        assert_eq!(find_stored(&mut finder, &plan, good, codec, 0).ok(), afterwards);
    }
}

fn spoilt<T: Pixel>(case: &Case, choice: u32, damages: &[Damage]) {
    for codec in CODECS {
        let image = case.image::<T>(0);
        let good = encode(&image, codec, block_bytes(codec, T::SIZE, choice));
        let other = encode(&case.image::<T>(1), CODECS[choice as usize % 3], block_bytes(codec, T::SIZE, choice / 3));
        let lengths = lengths(&good, image.len());
        let mut chunk = good.clone();
        for damage in damages {
            spoil(&mut chunk, &other, &lengths, damage);
        }
        same_as_plain_decoder::<T>(case, &good, &chunk, codec);
    }
}

/// Any bytes, but for a header that lets them in.
fn any_bytes<T: Pixel>(case: &Case, choice: u32, bytes: &[u8], honest: usize) {
    for codec in CODECS {
        let block = block_bytes(codec, T::SIZE, choice);
        let good = encode(&case.image::<T>(0), codec, block);
        let chunk = [&good[..honest.min(good.len())], bytes].concat();
        same_as_plain_decoder::<T>(case, &good, &chunk, codec);
    }
}

fn small(mut case: Case) -> Case {
    case.shape = (case.shape.0.min(60), case.shape.1.min(60));
    case
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.min(200)))]

    #[test]
    fn spoilt_chunks(case in case().prop_map(small), choice: u32, damages in prop::collection::vec(damage(), 1..4)) {
        for_every_pixel!(spoilt(&case, choice, &damages));
    }

    #[test]
    fn any_bytes_at_all(
        case in case().prop_map(small), choice: u32, bytes in prop::collection::vec(any::<u8>(), 0..600),
        honest in prop_oneof![Just(0usize), Just(8), Just(12), Just(16), 16usize..300],
    ) {
        for_every_pixel!(any_bytes(&case, choice, &bytes, honest));
    }
}

fn every_prefix<T: Pixel>(case: &Case) {
    for codec in CODECS {
        let image = case.image::<T>(0);
        let good = encode(&image, codec, 16 * T::SIZE as u32);
        let plan = case.plan();
        let mut finder = Finder::<T>::default();
        for length in 0..good.len() {
            let answer = find_stored(&mut finder, &plan, &good[..length], codec, 0);
            assert!(answer.is_err(), "{codec:?} {length} of {}", good.len());
        }
        assert!(find_stored(&mut finder, &plan, &good, codec, 0).is_ok());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn no_prefix_passes_for_the_image(case in case()) {
        let case = Case { shape: (case.shape.0.min(9), case.shape.1.min(11)), ..case };
        for_every_pixel!(every_prefix(&case));
    }
}
