//! SHA-256 of two things at once.
//!
//! A processor with instructions for SHA-256 waits for each of them: the next needs what the last one gave. Another hash,
//! of other bytes, fits into these waits, so that two cost little more than one.
//!
//! Specification: FIPS 180-4, <https://doi.org/10.6028/NIST.FIPS.180-4>.

/// Bytes that are taken at a time.
const BLOCK: usize = 64;
const START: [u32; 8] =
    [0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19];
#[rustfmt::skip]
const K: [u32; 64] = [
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
];

/// A hash.
pub type Digest = [u8; 32];

/// Which variant runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// The processor's own instructions.
    Instructions,
    Portable,
}

impl Kernel {
    /// The best variant of this machine; the environment variable HITSIEVE_CPU may ask for the portable one.
    pub fn detect() -> Self {
        match std::env::var("HITSIEVE_CPU").as_deref() {
            Ok("portable") => Self::Portable,
            _ => Self::best(),
        }
    }

    #[cfg(target_arch = "x86_64")]
    fn best() -> Self {
        if is_x86_feature_detected!("sha") && is_x86_feature_detected!("sse4.1") && is_x86_feature_detected!("ssse3") {
            Self::Instructions
        } else {
            Self::Portable
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn best() -> Self {
        Self::Portable
    }

    /// All variants that this machine can run.
    pub fn variants() -> Vec<Self> {
        match Self::best() {
            Self::Instructions => vec![Self::Portable, Self::Instructions],
            Self::Portable => vec![Self::Portable],
        }
    }
}

/// A hash under way.
#[derive(Debug, Clone)]
pub struct Sha256 {
    state: [u32; 8],
    /// Bytes that do not fill a block yet.
    rest: [u8; BLOCK],
    /// How many these are.
    waiting: usize,
    /// Bytes so far.
    length: u64,
}

impl Default for Sha256 {
    fn default() -> Self {
        Self { state: START, rest: [0; BLOCK], waiting: 0, length: 0 }
    }
}

impl Sha256 {
    /// Takes in bytes.
    pub fn update(&mut self, kernel: Kernel, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        self.take(kernel, bytes);
    }

    /// Takes bytes into two hashes; of what is as long in both, two blocks at a time.
    pub fn update_both(kernel: Kernel, (a, x): (&mut Self, &[u8]), (b, y): (&mut Self, &[u8])) {
        a.length += x.len() as u64;
        b.length += y.len() as u64;
        let (x, y) = (a.fill(kernel, x), b.fill(kernel, y));
        let both = x.len().min(y.len()) / BLOCK * BLOCK;
        compress_both(kernel, (&mut a.state, &x[..both]), (&mut b.state, &y[..both]));
        a.take(kernel, &x[both..]);
        b.take(kernel, &y[both..]);
    }

    /// The hash of all that was taken in.
    pub fn finish(mut self, kernel: Kernel) -> Digest {
        let mut end = [0; 2 * BLOCK];
        end[..self.waiting].copy_from_slice(&self.rest[..self.waiting]);
        end[self.waiting] = 0x80;
        let length = if self.waiting + 9 <= BLOCK { BLOCK } else { 2 * BLOCK };
        end[length - 8..length].copy_from_slice(&(8 * self.length).to_be_bytes());
        compress(kernel, &mut self.state, &end[..length]);
        let mut digest = [0; 32];
        for (bytes, word) in digest.chunks_exact_mut(4).zip(self.state) {
            bytes.copy_from_slice(&word.to_be_bytes());
        }
        digest
    }

    fn take(&mut self, kernel: Kernel, bytes: &[u8]) {
        let bytes = self.fill(kernel, bytes);
        let (whole, rest) = bytes.split_at(bytes.len() / BLOCK * BLOCK);
        compress(kernel, &mut self.state, whole);
        if !rest.is_empty() {
            self.rest[..rest.len()].copy_from_slice(rest);
            self.waiting = rest.len();
        }
    }

    /// Fills the block that has begun; gives the bytes that are left.
    fn fill<'a>(&mut self, kernel: Kernel, bytes: &'a [u8]) -> &'a [u8] {
        if self.waiting == 0 {
            return bytes;
        }
        let (these, left) = bytes.split_at(bytes.len().min(BLOCK - self.waiting));
        self.rest[self.waiting..self.waiting + these.len()].copy_from_slice(these);
        self.waiting += these.len();
        if self.waiting == BLOCK {
            compress(kernel, &mut self.state, &self.rest);
            self.waiting = 0;
        }
        left
    }
}

/// Hashes of many things, two at a time.
pub fn sha256_all(kernel: Kernel, things: &[&[u8]]) -> Vec<Digest> {
    let mut digests = vec![Digest::default(); things.len()];
    let mut waiting = things.iter().enumerate();
    let mut next = || waiting.next().map(|(number, bytes)| (number, Sha256::default(), *bytes));
    let (mut one, mut other) = (next(), next());
    while let (Some((_, a, x)), Some((_, b, y))) = (&mut one, &mut other) {
        let both = x.len().min(y.len());
        Sha256::update_both(kernel, (a, &x[..both]), (b, &y[..both]));
        (*x, *y) = (&x[both..], &y[both..]);
        for place in [&mut one, &mut other] {
            if let Some((number, done, _)) = place.take_if(|(_, _, left)| left.is_empty()) {
                digests[number] = done.finish(kernel);
                *place = next();
            }
        }
    }
    for (number, mut last, left) in one.into_iter().chain(other) {
        last.update(kernel, left);
        digests[number] = last.finish(kernel);
    }
    digests
}

fn compress(kernel: Kernel, state: &mut [u32; 8], blocks: &[u8]) {
    match kernel {
        // SAFETY: `Kernel::detect` gives this variant only where the processor has the instructions.
        #[cfg(target_arch = "x86_64")]
        Kernel::Instructions => unsafe { x86::compress([state], [blocks]) },
        _ => blocks.chunks_exact(BLOCK).for_each(|block| compress_block(state, block)),
    }
}

/// Blocks of two hashes, of the same length.
fn compress_both(kernel: Kernel, (a, x): (&mut [u32; 8], &[u8]), (b, y): (&mut [u32; 8], &[u8])) {
    match kernel {
        // SAFETY: as in `compress`.
        #[cfg(target_arch = "x86_64")]
        Kernel::Instructions => unsafe { x86::compress([a, b], [x, y]) },
        _ => {
            compress(kernel, a, x);
            compress(kernel, b, y);
        }
    }
}

fn compress_block(state: &mut [u32; 8], block: &[u8]) {
    let mut w = [0; 64];
    for (word, bytes) in w.iter_mut().zip(block.chunks_exact(4)) {
        *word = u32::from_be_bytes(bytes.try_into().expect("four bytes"));
    }
    for t in 16..64 {
        let (s, e) = (w[t - 15], w[t - 2]);
        let small = s.rotate_right(7) ^ s.rotate_right(18) ^ (s >> 3);
        let large = e.rotate_right(17) ^ e.rotate_right(19) ^ (e >> 10);
        w[t] = small.wrapping_add(large).wrapping_add(w[t - 7]).wrapping_add(w[t - 16]);
    }
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
    for (word, k) in w.iter().zip(K) {
        let sum = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
        let one = h.wrapping_add(sum).wrapping_add((e & f) ^ (!e & g)).wrapping_add(k).wrapping_add(*word);
        let sum = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
        let two = sum.wrapping_add((a & b) ^ (a & c) ^ (b & c));
        (h, g, f, e, d, c, b, a) = (g, f, e, d.wrapping_add(one), c, b, a, one.wrapping_add(two));
    }
    for (word, value) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
        *word = word.wrapping_add(value);
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_blend_epi16, _mm_loadu_si128, _mm_set_epi64x, _mm_setzero_si128,
        _mm_sha256msg1_epu32, _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32, _mm_shuffle_epi32, _mm_shuffle_epi8,
        _mm_storeu_si128,
    };

    use super::{BLOCK, K};

    /// Takes blocks into `LANES` hashes at once.
    ///
    /// SAFETY: the processor must have the instructions.
    #[target_feature(enable = "sha,sse4.1,ssse3")]
    pub unsafe fn compress<const LANES: usize>(states: [&mut [u32; 8]; LANES], blocks: [&[u8]; LANES]) {
        assert!(blocks.iter().all(|these| these.len() == blocks[0].len() && these.len() % BLOCK == 0));
        let swap = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
        let mut abef = [_mm_setzero_si128(); LANES];
        let mut cdgh = abef;
        for lane in 0..LANES {
            (abef[lane], cdgh[lane]) = load(states[lane]);
        }
        for at in (0..blocks[0].len()).step_by(BLOCK) {
            let before = (abef, cdgh);
            let mut words = [[_mm_setzero_si128(); 4]; LANES];
            for lane in 0..LANES {
                for (i, four) in words[lane].iter_mut().enumerate() {
                    // SAFETY: the block ends at `at + BLOCK`, which is within the bytes.
                    let bytes = _mm_loadu_si128(blocks[lane].as_ptr().add(at + 16 * i).cast());
                    *four = _mm_shuffle_epi8(bytes, swap);
                }
            }
            macro_rules! rounds {
                ($($i:literal)*) => { $(
                    // SAFETY: there are 64 constants.
                    let k = _mm_loadu_si128(K.as_ptr().add(4 * $i).cast::<__m128i>());
                    for lane in 0..LANES {
                        let w = &mut words[lane];
                        let sum = _mm_add_epi32(w[$i % 4], k);
                        cdgh[lane] = _mm_sha256rnds2_epu32(cdgh[lane], abef[lane], sum);
                        abef[lane] = _mm_sha256rnds2_epu32(abef[lane], cdgh[lane], _mm_shuffle_epi32(sum, 0x0e));
                        if $i < 12 {
                            let (second, third, last) = (w[($i + 1) % 4], w[($i + 2) % 4], w[($i + 3) % 4]);
                            let early = _mm_sha256msg1_epu32(w[$i % 4], second);
                            let early = _mm_add_epi32(early, _mm_alignr_epi8(last, third, 4));
                            w[$i % 4] = _mm_sha256msg2_epu32(early, last);
                        }
                    }
                )* };
            }
            rounds!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
            for lane in 0..LANES {
                abef[lane] = _mm_add_epi32(abef[lane], before.0[lane]);
                cdgh[lane] = _mm_add_epi32(cdgh[lane], before.1[lane]);
            }
        }
        for (lane, state) in states.into_iter().enumerate() {
            store(state, abef[lane], cdgh[lane]);
        }
    }

    /// The words of a state in the order that the instructions want: f e b a, and h g d c.
    #[inline]
    #[target_feature(enable = "sse4.1,ssse3")]
    unsafe fn load(state: &[u32; 8]) -> (__m128i, __m128i) {
        let badc = _mm_shuffle_epi32(_mm_loadu_si128(state.as_ptr().cast()), 0xb1);
        let hgfe = _mm_shuffle_epi32(_mm_loadu_si128(state.as_ptr().add(4).cast()), 0x1b);
        (_mm_alignr_epi8(badc, hgfe, 8), _mm_blend_epi16(hgfe, badc, 0xf0))
    }

    #[inline]
    #[target_feature(enable = "sse4.1,ssse3")]
    unsafe fn store(state: &mut [u32; 8], abef: __m128i, cdgh: __m128i) {
        let feba = _mm_shuffle_epi32(abef, 0x1b);
        let dchg = _mm_shuffle_epi32(cdgh, 0xb1);
        _mm_storeu_si128(state.as_mut_ptr().cast(), _mm_blend_epi16(feba, dchg, 0xf0));
        _mm_storeu_si128(state.as_mut_ptr().add(4).cast(), _mm_alignr_epi8(dchg, feba, 8));
    }
}
