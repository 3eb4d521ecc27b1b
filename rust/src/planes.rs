//! Pixels as bit planes.
//!
//! bitshuffle stores n pixels as planes: bit 0 of all pixels (n / 8 bytes, the first pixel in the lowest bit), then
//! bit 1, and so on. Comparing 512 pixels with a threshold is then a few operations on 512-bit words for each plane.

use std::ops::Range;

use crate::pixel::Pixel;

/// Pixels that are compared at once, with one threshold.
pub const SEGMENT: usize = 512;
const WORDS: usize = SEGMENT / 64;

/// Which variant of the kernels runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cpu {
    Avx512,
    Avx2,
    Portable,
}

impl Cpu {
    /// The best variant of this machine; the environment variable HITSIEVE_CPU may ask for a lesser one.
    pub fn detect() -> Self {
        let asked = std::env::var("HITSIEVE_CPU").unwrap_or_default();
        let best = Self::best();
        match asked.as_str() {
            "portable" => Self::Portable,
            "avx2" if best == Self::Avx512 => Self::Avx2,
            _ => best,
        }
    }

    /// Asks for every feature that the kernels are compiled with: a virtual machine may hide any of them.
    #[cfg(target_arch = "x86_64")]
    fn best() -> Self {
        let bits = is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("lzcnt")
            && is_x86_feature_detected!("popcnt");
        if !bits || !is_x86_feature_detected!("avx2") {
            Self::Portable
        } else if is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
        {
            Self::Avx512
        } else {
            Self::Avx2
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn best() -> Self {
        Self::Portable
    }

    /// All variants that this machine can run.
    pub fn variants() -> Vec<Self> {
        match Self::best() {
            Self::Avx512 => vec![Self::Portable, Self::Avx2, Self::Avx512],
            Self::Avx2 => vec![Self::Portable, Self::Avx2],
            Self::Portable => vec![Self::Portable],
        }
    }

    /// The name of the variant.
    pub fn name(self) -> &'static str {
        match self {
            Self::Avx512 => "avx512",
            Self::Avx2 => "avx2",
            Self::Portable => "portable",
        }
    }
}

/// The bit planes of a block.
#[derive(Debug, Clone, Copy)]
pub struct Planes<'a> {
    pub bytes: &'a [u8],
    /// Bytes of a plane.
    pub stride: usize,
    /// First and behind last of consecutive planes that are known to be empty: counts are small, so most are.
    pub empty: (usize, usize),
}

impl<'a> Planes<'a> {
    /// Planes of `stride` bytes each, of which some bytes are known to be zero.
    pub fn new(bytes: &'a [u8], stride: usize, zeros: &Range<usize>) -> Self {
        let (first, last) = (zeros.start.div_ceil(stride), zeros.end / stride);
        Self { bytes, stride, empty: (first, last.max(first)) }
    }

    /// The planes of a range that may hold something.
    #[inline(always)]
    fn within(self, planes: Range<usize>) -> impl Iterator<Item = usize> {
        let (first, last) = self.empty;
        (planes.start..planes.end.min(first)).chain(planes.start.max(last)..planes.end)
    }

    /// One pixel.
    #[inline(always)]
    pub fn pixel<T: Pixel>(self, i: usize) -> T {
        let (byte, bit) = (i / 8, i % 8);
        let mut bits = 0;
        for plane in self.within(0..8 * T::SIZE) {
            bits |= u32::from(self.bytes[plane * self.stride + byte] >> bit & 1) << plane;
        }
        T::from_bits(bits)
    }
}

/// Marks the pixels of a block above the threshold of their segment.
///
/// Planes have a multiple of 64 bytes; `valid` has one bit a pixel; `thresholds` one
/// for each segment, -1 or more; `above` one bit a pixel. Negative pixels are never above.
/// Returns whether any pixel is.
pub fn compare<T: Pixel>(cpu: Cpu, planes: Planes<'_>, valid: &[u8], thresholds: &[i64], above: &mut [u64]) -> bool {
    let stride = valid.len();
    assert!(stride.is_multiple_of(SEGMENT / 8) && stride == planes.stride);
    assert!(planes.bytes.len() >= stride * 8 * T::SIZE);
    assert!(thresholds.len() == stride / (SEGMENT / 8) && above.len() == stride / 8);
    match cpu {
        // SAFETY: `Cpu::detect` gives these variants only where the machine has the features.
        #[cfg(target_arch = "x86_64")]
        Cpu::Avx512 => unsafe { compare_avx512::<T>(planes, valid, thresholds, above) },
        #[cfg(target_arch = "x86_64")]
        Cpu::Avx2 => unsafe { compare_avx2::<T>(planes, valid, thresholds, above) },
        _ => compare_body::<T>(planes, valid, thresholds, above),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,bmi1,bmi2,lzcnt,popcnt")]
fn compare_avx512<T: Pixel>(planes: Planes<'_>, valid: &[u8], thresholds: &[i64], above: &mut [u64]) -> bool {
    compare_body::<T>(planes, valid, thresholds, above)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn compare_avx2<T: Pixel>(planes: Planes<'_>, valid: &[u8], thresholds: &[i64], above: &mut [u64]) -> bool {
    compare_body::<T>(planes, valid, thresholds, above)
}

type Wide = [u64; WORDS];

#[inline(always)]
fn load(bytes: &[u8], at: usize) -> Wide {
    let bytes: &[u8; SEGMENT / 8] = bytes[at..at + SEGMENT / 8].try_into().expect("a segment");
    let mut wide = [0; WORDS];
    for (word, bytes) in wide.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
    }
    wide
}

#[inline(always)]
fn each(a: Wide, b: Wide, f: impl Fn(u64, u64) -> u64) -> Wide {
    let mut out = [0; WORDS];
    for i in 0..WORDS {
        out[i] = f(a[i], b[i]);
    }
    out
}

/// Bit-sliced comparison, from the highest plane down: a pixel is above as soon as it has a bit that the threshold lacks
/// while all higher bits are equal.
#[inline(always)]
fn compare_body<T: Pixel>(planes: Planes<'_>, valid: &[u8], thresholds: &[i64], above: &mut [u64]) -> bool {
    let stride = planes.stride;
    let n_planes = 8 * T::SIZE - usize::from(T::SIGNED);
    let mut any = 0;
    for (segment, (&threshold, above)) in thresholds.iter().zip(above.chunks_exact_mut(WORDS)).enumerate() {
        let at = segment * SEGMENT / 8;
        let mut equal = load(valid, at);
        if T::SIGNED {
            equal = each(equal, load(planes.bytes, n_planes * stride + at), |e, sign| e & !sign);
        }
        if threshold < 0 {
            above.copy_from_slice(&equal);
            any |= equal.iter().fold(0, |any, word| any | word);
            continue;
        }
        if threshold >= T::LARGEST {
            above.fill(0);
            continue;
        }
        let threshold = threshold as u64;
        let used = (64 - threshold.leading_zeros()) as usize;
        // Above the threshold's highest bit every set bit decides: a plain OR.
        let mut high = [0; WORDS];
        for plane in planes.within(used..n_planes) {
            high = each(high, load(planes.bytes, plane * stride + at), |h, x| h | x);
        }
        let mut greater = each(equal, high, |e, h| e & h);
        equal = each(equal, high, |e, h| e & !h);
        for plane in (0..used).rev() {
            let x = load(planes.bytes, plane * stride + at);
            if threshold >> plane & 1 == 1 {
                equal = each(equal, x, |e, x| e & x);
            } else {
                greater = each(greater, each(equal, x, |e, x| e & x), |g, n| g | n);
                equal = each(equal, x, |e, x| e & !x);
            }
        }
        above.copy_from_slice(&greater);
        any |= greater.iter().fold(0, |any, word| any | word);
    }
    any != 0
}

/// Turns bit planes back into pixels; there are `8 * stride` of them.
pub fn unshuffle<T: Pixel>(cpu: Cpu, planes: Planes<'_>, pixels: &mut [T]) {
    assert!(planes.bytes.len() >= planes.stride * 8 * T::SIZE && pixels.len() == planes.stride * 8);
    match cpu {
        // SAFETY: as in `compare`.
        #[cfg(target_arch = "x86_64")]
        Cpu::Avx512 => unsafe { unshuffle_avx512::<T>(planes, pixels) },
        #[cfg(target_arch = "x86_64")]
        Cpu::Avx2 => unsafe { unshuffle_avx2::<T>(planes, pixels) },
        _ => unshuffle_body::<T>(planes, pixels, bytes_of_rows),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,bmi1,bmi2,lzcnt,popcnt")]
fn unshuffle_avx512<T: Pixel>(planes: Planes<'_>, pixels: &mut [T]) {
    use std::arch::x86_64::{_mm512_mask_add_epi8, _mm512_set1_epi8, _mm512_setzero_si512, _mm512_storeu_si512};
    // With mask registers a plane is added to 64 pixels at a time.
    unshuffle_body(planes, pixels, |rows| {
        let mut sums = _mm512_setzero_si512();
        for (bit, row) in rows.into_iter().enumerate() {
            sums = _mm512_mask_add_epi8(sums, row, sums, _mm512_set1_epi8((1u8 << bit) as i8));
        }
        let mut bytes = [0u8; 64];
        // SAFETY: 64 bytes are there.
        unsafe { _mm512_storeu_si512(bytes.as_mut_ptr().cast(), sums) };
        bytes
    });
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn unshuffle_avx2<T: Pixel>(planes: Planes<'_>, pixels: &mut [T]) {
    unshuffle_body::<T>(planes, pixels, bytes_of_rows);
}

/// Takes 64 pixels at a time, and of these one byte after the other; `combine` makes bytes of eight rows of 64 bits.
#[inline(always)]
fn unshuffle_body<T: Pixel>(planes: Planes<'_>, pixels: &mut [T], combine: impl Fn([u64; 8]) -> [u8; 64]) {
    let Planes { bytes, stride, .. } = planes;
    let mut groups = pixels.chunks_exact_mut(64);
    for (group, pixels) in groups.by_ref().enumerate() {
        let mut bits = [0u32; 64];
        for byte in 0..T::SIZE {
            let mut rows = [0u64; 8];
            for plane in planes.within(8 * byte..8 * byte + 8) {
                let from = plane * stride + 8 * group;
                rows[plane % 8] = u64::from_le_bytes(bytes[from..from + 8].try_into().expect("eight bytes"));
            }
            if rows != [0; 8] {
                for (bits, value) in bits.iter_mut().zip(combine(rows)) {
                    *bits |= u32::from(value) << (8 * byte);
                }
            }
        }
        for (pixel, bits) in pixels.iter_mut().zip(bits) {
            *pixel = T::from_bits(bits);
        }
    }
    let done = stride / 8 * 64;
    for (i, pixel) in groups.into_remainder().iter_mut().enumerate() {
        *pixel = planes.pixel(done + i);
    }
}

#[inline(always)]
fn bytes_of_rows(rows: [u64; 8]) -> [u8; 64] {
    let mut bytes = [0; 64];
    for (bytes, word) in bytes.chunks_exact_mut(8).zip(transpose(rows)) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

/// Eight planes of 64 pixels to eight words of eight pixels: byte i of word g is pixel 8 g + i.
#[inline(always)]
fn transpose(rows: [u64; 8]) -> [u64; 8] {
    // Bytes first: word g gathers byte g of every plane.
    let mut words = [0u64; 8];
    for (g, word) in words.iter_mut().enumerate() {
        for (plane, row) in rows.iter().enumerate() {
            *word |= (row >> (8 * g) & 0xFF) << (8 * plane);
        }
    }
    // Then the 8 x 8 bits of each word (Hacker's Delight, 7-3).
    for x in &mut words {
        let t = (*x ^ (*x >> 7)) & 0x00AA_00AA_00AA_00AA;
        *x ^= t ^ (t << 7);
        let t = (*x ^ (*x >> 14)) & 0x0000_CCCC_0000_CCCC;
        *x ^= t ^ (t << 14);
        let t = (*x ^ (*x >> 28)) & 0x0000_0000_F0F0_F0F0;
        *x ^= t ^ (t << 28);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shuffle<T: Pixel>(pixels: &[T]) -> Vec<u8> {
        let stride = pixels.len() / 8;
        let mut planes = vec![0; stride * 8 * T::SIZE];
        for (i, pixel) in pixels.iter().enumerate() {
            for plane in 0..8 * T::SIZE {
                planes[plane * stride + i / 8] |= ((pixel.bits() >> plane & 1) as u8) << (i % 8);
            }
        }
        planes
    }

    fn check<T: Pixel + std::fmt::Debug>(bits: &[u32], mask: &[u8], thresholds: [i64; 2]) {
        let pixels: Vec<T> = bits.iter().map(|&b| T::from_bits(b)).collect();
        let bytes = shuffle(&pixels);
        let used = pixels.iter().fold(0, |used, pixel| used | pixel.bits());
        let stride = pixels.len() / 8;
        let first = (32 - used.leading_zeros()) as usize * stride;
        let planes = Planes::new(&bytes, stride, &(first.min(bytes.len())..bytes.len()));
        for cpu in Cpu::variants() {
            let mut back = vec![T::default(); pixels.len()];
            unshuffle(cpu, planes, &mut back);
            assert_eq!(back, pixels);
            let mut above = vec![0; pixels.len() / 64];
            compare::<T>(cpu, planes, mask, &thresholds, &mut above);
            for (i, pixel) in pixels.iter().enumerate() {
                assert_eq!(planes.pixel::<T>(i), *pixel);
                let valid = mask[i / 8] >> (i % 8) & 1 == 1;
                let expected = valid && pixel.value() >= 0 && pixel.value() > thresholds[i / SEGMENT];
                assert_eq!(above[i / 64] >> (i % 64) & 1 == 1, expected, "{cpu:?} {i} {pixel:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn comparing_planes_is_comparing_pixels(
            bits in prop::collection::vec(prop_oneof![0u32..40, any::<u32>()], 2 * SEGMENT),
            mask in prop::collection::vec(any::<u8>(), 2 * SEGMENT / 8),
            thresholds in [-1i64..300, -1i64..5_000_000_000],
        ) {
            let few: Vec<u32> = bits.iter().map(|bits| bits % 40).collect();
            check::<u16>(&few, &mask, thresholds);
            check::<i32>(&few, &mask, thresholds);
            check::<u8>(&bits, &mask, thresholds);
            check::<i8>(&bits, &mask, thresholds);
            check::<u16>(&bits, &mask, thresholds);
            check::<i16>(&bits, &mask, thresholds);
            check::<u32>(&bits, &mask, thresholds);
            check::<i32>(&bits, &mask, thresholds);
        }
    }
}
