//! LZ4 block decoder for small blocks.
//!
//! The blocks of a bitshuffled chunk are 8 KiB, so the cost lies in the tokens, not in the bytes. Copies are therefore
//! done in whole pieces of 8 to 64 bytes that may run past the end of what is asked for: the caller lends `SLACK` bytes of
//! room behind both buffers, and only positions, never single bytes, are checked.
//!
//! Format: LZ4 block format description, <https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md>.

use std::ptr;

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

/// Decodes `source[from..to]` into the first `size` bytes of `out`.
///
/// # Panics
/// If `source` or `out` lack `SLACK` bytes behind `to` and `size`.
pub fn decode(source: &[u8], from: usize, to: usize, out: &mut [u8], size: usize) -> Result<(), Lz4Error> {
    assert!(from <= to && to + SLACK <= source.len() && size + SLACK <= out.len());
    // SAFETY: the assertion above is the contract of `decode_raw`.
    unsafe {
        let start = source.as_ptr();
        decode_raw(start.add(from), start.add(to), out.as_mut_ptr(), size)
    }
}

/// SAFETY: `SLACK` bytes behind `end` must be readable, and `size + SLACK` bytes from `start` writable.
#[inline(always)]
unsafe fn decode_raw(mut ip: *const u8, end: *const u8, start: *mut u8, size: usize) -> Result<(), Lz4Error> {
    let mut op = start;
    let out_end = start.add(size);
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
            return if op == out_end { Ok(()) } else { Err(Lz4Error::TooShort) };
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
        copy_match(op, offset, length);
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

/// Repeats what was written `offset` bytes before `op`, `length` bytes of it.
#[inline(always)]
unsafe fn copy_match(op: *mut u8, offset: usize, length: usize) {
    let from = op.sub(offset).cast_const();
    if length > 64 && offset < 64 {
        fill(from, op, offset, length);
    } else if offset >= 16 {
        // Most matches are short: one piece.
        ptr::copy_nonoverlapping(from, op, 16);
        let (mut done, to) = (16, op);
        while done < length {
            ptr::copy_nonoverlapping(from.add(done), to.add(done), 16);
            done += 16;
        }
    } else if offset >= 8 {
        let mut done = 0;
        while done < length {
            ptr::copy_nonoverlapping(from.add(done), op.add(done), 8);
            done += 8;
        }
    } else {
        // The pattern repeated over eight bytes stays the same pattern when it moves by whole periods.
        let pattern = ptr::read_unaligned(from.cast::<u64>()).to_le() & (u64::MAX >> (64 - 8 * offset));
        let pattern = pattern.wrapping_mul(REPEAT[offset]);
        let step = 8 - 8 % offset;
        let mut done = 0;
        while done < length {
            ptr::write_unaligned(op.add(done).cast::<u64>(), pattern.to_le());
            done += step;
        }
    }
}

/// Factor that repeats a pattern of so many bytes over eight bytes.
const REPEAT: [u64; 8] = {
    let mut factors = [0; 8];
    let mut offset = 1;
    while offset < 8 {
        let mut at = 0;
        while at < 8 {
            factors[offset] |= 1 << (8 * at);
            at += offset;
        }
        offset += 1;
    }
    factors
};

/// A long match of a short pattern, such as all empty bit planes together: stores from registers, no loads that wait for stores.
#[inline(never)]
unsafe fn fill(from: *const u8, op: *mut u8, offset: usize, length: usize) {
    let mut pattern = [0u8; 128];
    ptr::copy_nonoverlapping(from, pattern.as_mut_ptr(), offset);
    let mut filled = offset;
    while filled < 64 {
        pattern.copy_within(0..filled, filled);
        filled *= 2;
    }
    let pattern: &[u8; 64] = pattern.first_chunk().expect("64 bytes");
    if pattern == &[0; 64] {
        ptr::write_bytes(op, 0, length);
        return;
    }
    let step = 64 - 64 % offset;
    let mut done = 0;
    while done < length {
        ptr::copy_nonoverlapping(pattern.as_ptr(), op.add(done), 64);
        done += step;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn unpack(packed: &[u8], size: usize) -> Result<Vec<u8>, Lz4Error> {
        let mut source = packed.to_vec();
        source.resize(packed.len() + SLACK, 0xAA);
        let mut out = vec![0x55; size + SLACK];
        decode(&source, 0, packed.len(), &mut out, size)?;
        out.truncate(size);
        Ok(out)
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
            let mut out = vec![0x55; plain.len() + SLACK + 8];
            let _ = decode(&source, 0, packed.len(), &mut out, plain.len());
            prop_assert_eq!(&out[plain.len() + SLACK..], &[0x55; 8]);
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
