//! LZ4 block decoder for small blocks.
//!
//! The blocks of a bitshuffled chunk are 8 KiB, so the cost lies in the tokens, not in the bytes. Copies are therefore
//! done in whole pieces of 8 to 64 bytes that may run past the end of what is asked for: the caller lends `SLACK` bytes of
//! room behind both buffers, and only positions, never single bytes, are checked.
//!
//! Format: LZ4 block format description, <https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md>.

use std::ops::Range;
use std::ptr;

use crate::planes::Cpu;

/// Bytes that must be readable behind the source and writable behind the destination.
pub const SLACK: usize = 64;

/// Why a block cannot be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lz4Error {
    /// The block ends inside a token, a length or its literals.
    Truncated,
    /// A match reaches before the start of the output.
    BadOffset,
    /// The output would be longer than the block may be.
    TooLong,
    /// The output is shorter than the block must be.
    TooShort,
}

impl std::fmt::Display for Lz4Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Truncated => "its LZ4 data end early",
            Self::BadOffset => "its LZ4 data point before the block",
            Self::TooLong => "its LZ4 data unpack to too much",
            Self::TooShort => "its LZ4 data unpack to too little",
        })
    }
}

/// Decodes `source[from..to]` into the first `size` bytes of `out`, and returns the longest run of zeros that was one match
/// (empty without one). The empty bit planes of a block are most of its bytes: who knows where they are need not look at them.
///
/// # Panics
/// If `source` or `out` lack `SLACK` bytes behind `to` and `size`.
pub fn decode(
    cpu: Cpu,
    source: &[u8],
    (from, to): (usize, usize),
    out: &mut [u8],
    size: usize,
) -> Result<Range<usize>, Lz4Error> {
    assert!(from <= to && to + SLACK <= source.len() && size + SLACK <= out.len());
    // SAFETY: the assertion above is the contract of `decode_body`; `Cpu::detect` gives the variants only where the machine
    // has the features.
    unsafe {
        let ip = source.as_ptr().add(from);
        let end = source.as_ptr().add(to);
        match cpu {
            #[cfg(target_arch = "x86_64")]
            Cpu::Avx512 | Cpu::Avx2 => decode_avx2(ip, end, out.as_mut_ptr(), size),
            _ => decode_body::<Portable>(ip, end, out.as_mut_ptr(), size),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
unsafe fn decode_avx2(ip: *const u8, end: *const u8, start: *mut u8, size: usize) -> Result<Range<usize>, Lz4Error> {
    decode_body::<Shuffled>(ip, end, start, size)
}

/// SAFETY: `SLACK` bytes behind `end` must be readable, and `size + SLACK` bytes from `start` writable.
#[inline(always)]
unsafe fn decode_body<P: Patterns>(
    mut ip: *const u8,
    end: *const u8,
    start: *mut u8,
    size: usize,
) -> Result<Range<usize>, Lz4Error> {
    let mut op = start;
    let out_end = start.add(size);
    let mut zeros = 0..0;
    loop {
        if ip >= end {
            return Err(Lz4Error::Truncated);
        }
        let token = *ip as usize;
        ip = ip.add(1);

        let mut literals = token >> 4;
        if literals == 15 {
            literals += extension(&mut ip, end)?;
        }
        if literals > end.offset_from(ip) as usize {
            return Err(Lz4Error::Truncated);
        }
        if literals > out_end.offset_from(op) as usize {
            return Err(Lz4Error::TooLong);
        }
        // Most runs of literals are short: one piece, no loop.
        ptr::copy_nonoverlapping(ip, op, 16);
        if literals > 16 {
            copy_apart(ip.add(16), op.add(16), literals - 16);
        }
        ip = ip.add(literals);
        op = op.add(literals);
        if ip == end {
            return if op == out_end { Ok(zeros) } else { Err(Lz4Error::TooShort) };
        }

        if end.offset_from(ip) < 2 {
            return Err(Lz4Error::Truncated);
        }
        let offset = u16::from_le(ptr::read_unaligned(ip.cast::<u16>())) as usize;
        ip = ip.add(2);
        if offset == 0 || offset > op.offset_from(start) as usize {
            return Err(Lz4Error::BadOffset);
        }
        let mut length = (token & 15) + 4;
        if length == 19 {
            length += extension(&mut ip, end)?;
        }
        if length > out_end.offset_from(op) as usize {
            return Err(Lz4Error::TooLong);
        }
        // Half of all matches are short and of any offset: their first piece is written without asking which.
        let from = op.sub(offset).cast_const();
        let pattern = P::pattern(from, offset);
        ptr::copy_nonoverlapping(pattern.as_ptr(), op, 16);
        if length > 16 {
            if offset < 16 && length > 128 && pattern == [0; 16] {
                ptr::write_bytes(op, 0, length);
                if length > zeros.len() {
                    let at = op.offset_from(start) as usize;
                    zeros = at..at + length;
                }
            } else {
                copy_rest(op, offset, length, pattern);
            }
        }
        op = op.add(length);
    }
}

/// Reads the bytes that extend a length of 15: each adds its value, the first below 255 is the last.
#[inline(always)]
unsafe fn extension(ip: &mut *const u8, end: *const u8) -> Result<usize, Lz4Error> {
    let mut sum = 0;
    loop {
        if *ip >= end {
            return Err(Lz4Error::Truncated);
        }
        let byte = **ip;
        *ip = ip.add(1);
        sum += byte as usize;
        if byte != 255 {
            return Ok(sum);
        }
    }
}

/// Copies `length` bytes in 32-byte pieces; the last may run 31 bytes over.
#[inline(always)]
unsafe fn copy_apart(mut from: *const u8, mut to: *mut u8, length: usize) {
    let end = to.add(length);
    while to < end {
        ptr::copy_nonoverlapping(from, to, 32);
        from = from.add(32);
        to = to.add(32);
    }
}

/// Writes a match behind its first 16 bytes, which are `pattern`.
#[inline(always)]
unsafe fn copy_rest(op: *mut u8, offset: usize, length: usize, pattern: [u8; 16]) {
    if offset >= 32 {
        copy_apart(op.add(16).sub(offset).cast_const(), op.add(16), length - 16);
    } else if offset >= 16 {
        let (mut to, end) = (op.add(16), op.add(length));
        while to < end {
            ptr::copy_nonoverlapping(to.sub(offset).cast_const(), to, 16);
            to = to.add(16);
        }
    } else {
        // Moved by whole periods the pattern stays the same: stores only, no loads that wait for stores.
        let step = 16 - 16 % offset;
        let mut done = step;
        while done < length {
            ptr::copy_nonoverlapping(pattern.as_ptr(), op.add(done), 16);
            done += step;
        }
    }
}

/// How the first 16 bytes of a match are made.
trait Patterns {
    /// The 16 bytes from `from` on where only `offset` bytes are there yet, repeated as often as needed.
    ///
    /// SAFETY: 16 bytes must be readable.
    unsafe fn pattern(from: *const u8, offset: usize) -> [u8; 16];
}

struct Portable;

impl Patterns for Portable {
    #[inline(always)]
    unsafe fn pattern(from: *const u8, offset: usize) -> [u8; 16] {
        let mut pattern = ptr::read_unaligned(from.cast::<[u8; 16]>());
        if offset < 16 {
            let mut bits = u128::from_le_bytes(pattern) & (u128::MAX >> (128 - 8 * offset));
            let mut shift = 8 * offset;
            while shift < 128 {
                bits |= bits << shift;
                shift *= 2;
            }
            pattern = bits.to_le_bytes();
        }
        pattern
    }
}

/// One byte shuffle makes the pattern, whatever the offset.
#[cfg(target_arch = "x86_64")]
struct Shuffled;

#[cfg(target_arch = "x86_64")]
impl Patterns for Shuffled {
    #[inline(always)]
    unsafe fn pattern(from: *const u8, offset: usize) -> [u8; 16] {
        use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_shuffle_epi8};
        let bytes = _mm_loadu_si128(from.cast::<__m128i>());
        let order = _mm_loadu_si128(ORDERS[offset.min(16)].as_ptr().cast::<__m128i>());
        std::mem::transmute(_mm_shuffle_epi8(bytes, order))
    }
}

/// Row n counts 0 to n - 1 over and over.
#[cfg(target_arch = "x86_64")]
const ORDERS: [[u8; 16]; 17] = {
    let mut orders = [[0; 16]; 17];
    let mut offset = 1;
    while offset <= 16 {
        let mut i = 0;
        while i < 16 {
            orders[offset][i] = (i % offset) as u8;
            i += 1;
        }
        offset += 1;
    }
    orders
};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn unpack(packed: &[u8], size: usize) -> Result<Vec<u8>, Lz4Error> {
        let mut source = packed.to_vec();
        source.resize(packed.len() + SLACK, 0xAA);
        let mut results = Cpu::variants().into_iter().map(|cpu| {
            let mut out = vec![0x55; size + SLACK];
            let zeros = decode(cpu, &source, (0, packed.len()), &mut out, size)?;
            assert!(out[zeros].iter().all(|&byte| byte == 0));
            out.truncate(size);
            Ok(out)
        });
        let first = results.next().expect("the portable variant");
        assert!(results.all(|result| result == first));
        first
    }

    proptest! {
        #[test]
        fn equals_what_was_packed(
            runs in prop::collection::vec((prop::collection::vec(any::<u8>(), 1..40), 1usize..60), 0..60)
        ) {
            let plain: Vec<u8> = runs.iter().flat_map(|(run, times)| run.repeat(*times)).collect();
            let packed = lz4_flex::block::compress(&plain);
            prop_assert_eq!(unpack(&packed, plain.len()).unwrap(), plain);
        }

        #[test]
        fn agrees_with_another_decoder_on_any_bytes(
            packed in prop::collection::vec(any::<u8>(), 0..300), size in 0usize..400
        ) {
            let theirs = lz4_flex::block::decompress(&packed, size);
            if let Ok(ours) = unpack(&packed, size) {
                prop_assert_eq!(theirs.unwrap(), ours);
            } else if let Ok(plain) = theirs {
                prop_assert!(plain.len() < size);
            }
        }

        #[test]
        fn damage_never_escapes_the_buffers(
            plain in prop::collection::vec(0u8..4, 0..2000), at in any::<prop::sample::Index>(), bit in 0u8..8,
        ) {
            let mut packed = lz4_flex::block::compress(&plain);
            let i = at.index(packed.len());
            packed[i] ^= 1 << bit;
            let mut source = packed.clone();
            source.resize(packed.len() + SLACK, 0);
            for cpu in Cpu::variants() {
                let mut out = vec![0x55; plain.len() + SLACK + 8];
                let _ = decode(cpu, &source, (0, packed.len()), &mut out, plain.len());
                prop_assert_eq!(&out[plain.len() + SLACK..], &[0x55; 8]);
            }
        }
    }

    proptest! {
        #[test]
        fn long_runs_of_zeros(
            plain in prop::collection::vec(0u8..3, 0..400), zeros in 0usize..4000, end in prop::collection::vec(0u8..2, 0..3)
        ) {
            let plain = [plain, vec![0; zeros], end].concat();
            prop_assert_eq!(unpack(&lz4_flex::block::compress(&plain), plain.len()).unwrap(), plain);
        }
    }

    #[test]
    fn every_small_offset_repeats_its_pattern() {
        for offset in 1..40usize {
            for length in 4..200usize {
                let pattern: Vec<u8> = (0..offset as u8).collect();
                let mut packed = vec![0xF0 | 15.min(length - 4) as u8];
                if offset >= 15 {
                    packed.push((offset - 15) as u8);
                } else {
                    packed[0] = (offset as u8) << 4 | 15.min(length - 4) as u8;
                }
                packed.extend(&pattern);
                packed.extend((offset as u16).to_le_bytes());
                if length >= 19 {
                    packed.push((length - 19) as u8);
                }
                packed.push(0x00);
                let expected: Vec<u8> = (0..offset + length).map(|i| (i % offset) as u8).collect();
                assert_eq!(unpack(&packed, offset + length).unwrap(), expected, "{offset} {length}");
            }
        }
    }
}
