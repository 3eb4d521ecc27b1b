//! Drawing of simulated images: exact Poisson noise at the speed of memory.
//!
//! Every pixel belongs to a level, and every level has a mean for the image at hand. A byte of randomness looks
//! the count up in the level's guide table; the few bytes whose interval holds a step of the distribution take 56
//! more bits and a search, so that counts follow the Poisson distribution to 2^-64.

use crate::pixel::Pixel;

/// Levels that an image can have; the last one is that of blind pixels.
pub const LEVELS: usize = 2048;
/// Level of pixels that see nothing (gaps).
pub const BLIND: u16 = LEVELS as u16 - 1;

const SEARCH: u8 = 255;

/// xoshiro256++ (Blackman and Vigna, ACM Trans. Math. Softw. 47 (2021) 36).
pub struct Random([u64; 4]);

impl Random {
    /// State spread from one number by splitmix64.
    pub fn new(seed: u64) -> Self {
        let mut z = seed;
        Self(std::array::from_fn(|_| {
            z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut m = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            m = (m ^ (m >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            m ^ (m >> 31)
        }))
    }

    #[inline(always)]
    pub fn bits(&mut self) -> u64 {
        let s = &mut self.0;
        let out = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        out
    }

    /// Uniform in (0, 1).
    fn unit(&mut self) -> f64 {
        ((self.bits() >> 12) as f64 + 0.5) / (1u64 << 52) as f64
    }

    /// Two independent normal deviates (Box and Muller).
    fn normals(&mut self) -> (f64, f64) {
        let r = (-2.0 * self.unit().ln()).sqrt();
        let (sin, cos) = (std::f64::consts::TAU * self.unit()).sin_cos();
        (r * cos, r * sin)
    }
}

/// One Poisson distribution: counts from `first` on, and the thresholds that part them on the scale of 2^64.
struct Steps {
    first: u32,
    thresholds: Vec<u64>,
}

impl Steps {
    fn new(mean: f64) -> Self {
        if mean <= 0.0 {
            return Self { first: 0, thresholds: Vec::new() };
        }
        // Relative to the mode, so that no mean underflows; 1e-24 of it is far below 2^-64.
        let mode = mean.floor();
        let mut below = Vec::new();
        let (mut p, mut k) = (1.0, mode);
        while k > 0.0 && p > 1e-24 {
            p *= k / mean;
            k -= 1.0;
            below.push(p);
        }
        let first = k;
        let mut weights: Vec<f64> = below.into_iter().rev().collect();
        let (mut p, mut k) = (1.0, mode);
        while p > 1e-24 {
            weights.push(p);
            k += 1.0;
            p *= mean / k;
        }
        Self { first: first as u32, thresholds: thresholds(&weights) }
    }

    #[inline]
    fn count(&self, u: u64) -> u32 {
        self.first + self.thresholds.partition_point(|&t| t <= u) as u32
    }
}

/// Upper ends of the intervals of all weights but the last. Each is summed from its nearer end: far tails stay exact.
fn thresholds(weights: &[f64]) -> Vec<u64> {
    const WHOLE: f64 = 18_446_744_073_709_551_616.0;
    let total: f64 = weights.iter().rev().sum();
    let mut out = vec![0u64; weights.len() - 1];
    let mut sum = 0.0;
    for (t, w) in out.iter_mut().zip(weights) {
        sum += w;
        *t = (sum / total * WHOLE) as u64;
    }
    sum = 0.0;
    for (t, w) in out.iter_mut().zip(&weights[1..]).rev() {
        sum += w;
        if sum >= 0.5 * total {
            break;
        }
        *t = u64::MAX - (sum / total * WHOLE) as u64;
    }
    out
}

/// Guide tables of all levels for one image.
struct Noise {
    guide: Box<[u8; LEVELS << 8]>,
    steps: Vec<Steps>,
}

impl Noise {
    fn new(means: &[f64]) -> Self {
        let mut guide: Box<[u8; LEVELS << 8]> =
            vec![0u8; LEVELS << 8].into_boxed_slice().try_into().expect("its length is the type's");
        let mut steps: Vec<Steps> = means.iter().map(|&mean| Steps::new(mean)).collect();
        for (cells, step) in guide.chunks_exact_mut(256).zip(&steps) {
            let mut low = step.count(0);
            for (b, cell) in cells.iter_mut().enumerate() {
                let high = step.count((b as u64) << 56 | ((1 << 56) - 1));
                *cell = if low == high && low < SEARCH as u32 { low as u8 } else { SEARCH };
                low = if b < 255 { step.count((b as u64 + 1) << 56) } else { high };
            }
        }
        steps.resize_with(LEVELS, || Steps::new(0.0));
        Self { guide, steps }
    }

    #[inline(always)]
    fn quick(&self, level: u16, byte: u64) -> u8 {
        self.guide[((level & BLIND) as usize) << 8 | (byte & 255) as usize]
    }

    #[inline(never)]
    fn slow(&self, level: u16, byte: u64, random: &mut Random) -> u32 {
        self.steps[(level & BLIND) as usize].count((byte & 255) << 56 | random.bits() >> 8)
    }

    fn fill<T: Pixel>(&self, out: &mut [T], levels: &[u16], most: i64, random: &mut Random) {
        for (pixels, levels) in out.chunks_mut(8).zip(levels.chunks(8)) {
            let bits = random.bits();
            let mut search = false;
            for (k, (pixel, &level)) in pixels.iter_mut().zip(levels).enumerate() {
                let count = self.quick(level, bits >> (8 * k));
                search |= count == SEARCH;
                *pixel = pixel_of((count as i64).min(most));
            }
            if search {
                for (k, (pixel, &level)) in pixels.iter_mut().zip(levels).enumerate() {
                    let byte = bits >> (8 * k);
                    if self.quick(level, byte) == SEARCH {
                        *pixel = pixel_of((self.slow(level, byte, random) as i64).min(most));
                    }
                }
            }
        }
    }
}

/// The pixel of a value that the caller keeps in range.
#[inline(always)]
fn pixel_of<T: Pixel>(value: i64) -> T {
    T::from_bits(value as u32)
}

/// A spot: photons that fall around (x, y), in pixels, with standard deviation `sigma` along both axes.
#[derive(Clone, Copy, Debug)]
pub struct Spot {
    pub x: f64,
    pub y: f64,
    pub sigma: f64,
    pub photons: u64,
}

/// What all images of a run share.
pub struct Painter {
    levels: Vec<u16>,
    width: usize,
    /// Runs of blind pixels: (first, length).
    blind: Vec<(usize, usize)>,
    blind_value: i64,
    most: i64,
}

impl Painter {
    /// `levels` in raster order, BLIND for gaps; `most` is the largest count that a pixel can hold.
    pub fn new(mut levels: Vec<u16>, width: usize, blind_value: i64, most: i64) -> Self {
        let mut blind: Vec<(usize, usize)> = Vec::new();
        for (i, level) in levels.iter_mut().enumerate() {
            *level = (*level).min(BLIND);
            if *level == BLIND {
                match blind.last_mut() {
                    Some((first, length)) if *first + *length == i => *length += 1,
                    _ => blind.push((i, 1)),
                }
            }
        }
        Self { levels, width, blind, blind_value, most }
    }

    pub fn len(&self) -> usize {
        self.levels.len()
    }

    pub fn is_empty(&self) -> bool {
        self.levels.is_empty()
    }

    /// Draw an image: noise, then spots, then `extra` counts on single pixels. Gives the photons of each spot that
    /// landed on sensitive pixels.
    pub fn paint<T: Pixel>(
        &self,
        out: &mut [T],
        seed: u64,
        means: &[f64],
        spots: &[Spot],
        extra: &[(usize, i64)],
    ) -> Vec<u32> {
        let most = self.most.min(T::LARGEST);
        let mut random = Random::new(seed);
        Noise::new(means).fill(out, &self.levels, most, &mut random);
        let landed = spots.iter().map(|spot| self.splat(out, spot, most, &mut random)).collect();
        for &(pixel, counts) in extra {
            self.add(out, pixel, counts, most);
        }
        let blind = T::nearest(self.blind_value);
        for &(first, length) in &self.blind {
            out[first..first + length].fill(blind);
        }
        landed
    }

    /// Photons fall one by one: this is the Gaussian integrated over each pixel, with its Poisson noise.
    fn splat<T: Pixel>(&self, out: &mut [T], spot: &Spot, most: i64, random: &mut Random) -> u32 {
        let height = self.levels.len() / self.width.max(1);
        let mut landed = 0;
        for _ in 0..spot.photons {
            let (dx, dy) = random.normals();
            let (x, y) = ((spot.x + spot.sigma * dx).floor(), (spot.y + spot.sigma * dy).floor());
            if x >= 0.0 && y >= 0.0 && x < self.width as f64 && y < height as f64 {
                landed += u32::from(self.add(out, y as usize * self.width + x as usize, 1, most));
            }
        }
        landed
    }

    fn add<T: Pixel>(&self, out: &mut [T], pixel: usize, counts: i64, most: i64) -> bool {
        let sees = self.levels.get(pixel).is_some_and(|&level| level != BLIND);
        if sees {
            out[pixel] = pixel_of(out[pixel].value().saturating_add(counts).min(most));
        }
        sees
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frequencies of counts at one mean over `n` pixels.
    fn histogram(mean: f64, n: usize, seed: u64) -> Vec<u64> {
        let painter = Painter::new(vec![0; 1 << 20], 1 << 10, 0, i64::from(i32::MAX));
        let mut out = vec![0i32; 1 << 20];
        let mut counts = Vec::new();
        for i in 0..n.div_ceil(1 << 20) {
            painter.paint(&mut out, seed + i as u64, &[mean], &[], &[]);
            for &c in &out {
                let c = c as usize;
                if c >= counts.len() {
                    counts.resize(c + 1, 0);
                }
                counts[c] += 1;
            }
        }
        counts
    }

    fn poisson(mean: f64, k: usize) -> f64 {
        let log = (1..=k).map(|j| (j as f64).ln()).sum::<f64>();
        (k as f64 * mean.ln() - mean - log).exp()
    }

    #[test]
    fn counts_follow_poisson() {
        for (mean, seed) in [(0.02, 1), (0.7, 2), (5.0, 3), (100.0, 4), (1000.0, 5)] {
            let counts = histogram(mean, 1 << 23, seed);
            let n: u64 = counts.iter().sum();
            let (mut chi, mut freedom) = (0.0, -1.0);
            let (mut rest_seen, mut rest_expected) = (n as f64, n as f64);
            for (k, &seen) in counts.iter().enumerate() {
                let expected = n as f64 * poisson(mean, k);
                if expected >= 10.0 {
                    chi += (seen as f64 - expected).powi(2) / expected;
                    freedom += 1.0;
                    rest_seen -= seen as f64;
                    rest_expected -= expected;
                }
            }
            chi += (rest_seen - rest_expected).powi(2) / rest_expected.max(1.0);
            freedom += 1.0;
            assert!(chi < freedom + 5.0 * f64::sqrt(2.0 * freedom) + 5.0, "mean {mean}: {chi} for {freedom}");
        }
    }

    #[test]
    fn thresholds_are_exact_far_in_the_tail() {
        for mean in [0.05, 0.7, 3.0, 40.0, 900.0] {
            let steps = Steps::new(mean);
            let mut upper = 0.0;
            let last = (mean + 30.0 * mean.sqrt() + 60.0) as usize;
            for k in (mean as usize + 1..=last).rev() {
                upper += poisson(mean, k);
                if upper > 1e-15 && upper < 0.4 {
                    let t = steps.thresholds[k - 1 - steps.first as usize];
                    let seen = (u64::MAX - t) as f64 / 18_446_744_073_709_551_616.0;
                    assert!(
                        (seen / upper - 1.0).abs() < 1e-3 * 1e-15 / upper + 1e-9,
                        "mean {mean}, k {k}: {seen} {upper}"
                    );
                }
            }
        }
    }

    #[test]
    fn gaps_keep_their_value_and_counts_saturate() {
        let mut levels = vec![0; 64];
        levels[10] = u16::MAX;
        let painter = Painter::new(levels, 8, -1, 100);
        let mut out = [0i16; 64];
        let spot = Spot { x: 2.5, y: 1.5, sigma: 0.0, photons: 50 };
        let landed = painter.paint(&mut out, 7, &[1e4], &[spot], &[(10, 5), (11, 5)]);
        assert_eq!((out[10], out[11], landed[0]), (-1, 100, 0));
    }

    #[test]
    fn spots_keep_their_photons() {
        let painter = Painter::new(vec![0; 10_000], 100, 0, 1 << 40);
        let mut out = [0u32; 10_000];
        let spot = Spot { x: 50.5, y: 40.5, sigma: 0.9, photons: 100_000 };
        assert_eq!(painter.paint(&mut out, 3, &[0.0], &[spot], &[])[0], 100_000);
        assert_eq!(out.iter().sum::<u32>(), 100_000);
        let centre = f64::from(out[4050]) / 1e5;
        // erf(0.5 / (0.9 sqrt 2))^2
        assert!((centre - 0.1779).abs() < 0.005, "{centre}");
    }
}
