//! Background of each bin by sigma clipping, on histograms of the sampled pixels.
//!
//! Clipping on a histogram gives the same sums as clipping on the pixels, and touches each pixel once. Sums are exact integers,
//! so the result does not depend on the order of the pixels.

use crate::pixel::Pixel;
use crate::plan::{Plan, NO_BIN, UNIT};

/// Counts below this are kept in the histogram, others in a list.
const LEVELS: usize = 64;
const CLIPPINGS: usize = 5;

/// Clipped statistics of a bin.
#[derive(Debug, Clone, Copy, Default)]
pub struct Statistics {
    pub n: u64,
    pub mean: f64,
    pub sigma: f64,
    /// A pixel above it is strong; `i64::MAX` without a sample.
    pub threshold: i64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Sums {
    n: u64,
    first: i128,
    second: i128,
}

impl Sums {
    fn add(&mut self, value: i64, times: u64) {
        let (value, times) = (i128::from(value), i128::from(times));
        self.n += times as u64;
        self.first += value * times;
        self.second += value * value * times;
    }

    fn mean(&self) -> f64 {
        self.first as f64 / self.n as f64
    }

    fn sigma(&self) -> f64 {
        spread(self.n, self.first, self.second)
    }
}

/// Standard deviation from exact sums.
pub fn spread(n: u64, first: i128, second: i128) -> f64 {
    ((i128::from(n) * second - first * first) as f64).sqrt() / n as f64
}

/// Background of one image; reused from image to image.
#[derive(Debug, Default)]
pub struct Background {
    /// One for each bin.
    pub bins: Vec<Statistics>,
    /// Mean counts in the background bins; NaN without a pixel.
    pub level: f64,
    /// Largest good value that was sampled; -1 without one.
    pub largest: i64,
    /// One row of `LEVELS` for each bin, and one for pixels without a bin.
    histogram: Vec<u32>,
    /// Values outside the histogram, with their bin.
    others: Vec<(u16, i64)>,
}

impl Background {
    /// Forgets the previous image.
    pub fn start(&mut self, plan: &Plan) {
        self.histogram.clear();
        self.histogram.resize((plan.n_bins + 1) * LEVELS, 0);
        self.others.clear();
        self.largest = -1;
    }

    /// Background and thresholds of an unpacked image.
    pub fn take<T: Pixel>(&mut self, plan: &Plan, image: &[T]) {
        self.start(plan);
        for &unit in &plan.sample {
            let first = unit as usize * UNIT;
            self.add(plan, first, &image[first..(first + UNIT).min(image.len())]);
        }
        self.finish(plan);
    }

    /// Takes in the pixels of a sampled unit that starts at pixel `first`.
    pub fn add<T: Pixel>(&mut self, plan: &Plan, first: usize, pixels: &[T]) {
        let bins = &plan.bins[first..first + pixels.len()];
        let settings = &plan.settings;
        let level = |value: Option<i64>| value.is_some_and(|v| (0..LEVELS as i64).contains(&v));
        if settings.underload > 0 || level(settings.saturation) || level(settings.error_value) {
            for (&bin, &pixel) in bins.iter().zip(pixels) {
                self.add_other(plan, bin, pixel.value());
            }
            return;
        }
        // Neighbours often share bin and value; going through four quarters in turn keeps one counter from waiting for itself.
        let quarter = pixels.len() / 4;
        for i in 0..quarter {
            for k in 0..4 {
                self.count(plan, bins[k * quarter + i], pixels[k * quarter + i]);
            }
        }
        for i in 4 * quarter..pixels.len() {
            self.count(plan, bins[i], pixels[i]);
        }
    }

    #[inline(always)]
    fn count<T: Pixel>(&mut self, plan: &Plan, bin: u16, pixel: T) {
        let bits = pixel.bits() as usize;
        if bits < LEVELS {
            let row = (bin as usize).min(plan.n_bins);
            self.histogram[row * LEVELS + bits] += 1;
        } else {
            self.add_other(plan, bin, pixel.value());
        }
    }

    fn add_other(&mut self, plan: &Plan, bin: u16, value: i64) {
        if bin == NO_BIN || !plan.settings.good(value) {
            return;
        }
        self.largest = self.largest.max(value);
        if !plan.settings.saturated(value) {
            self.others.push((bin, value));
        }
    }

    /// Clips, and sets the thresholds.
    pub fn finish(&mut self, plan: &Plan) {
        self.others.sort_unstable();
        self.bins.clear();
        let (mut n, mut first) = (0, 0);
        let mut rest = self.others.as_slice();
        for bin in 0..plan.n_bins {
            let mine = rest.partition_point(|&(b, _)| usize::from(b) == bin);
            let (others, behind) = rest.split_at(mine);
            rest = behind;
            let row: &[u32; LEVELS] = self.histogram[bin * LEVELS..][..LEVELS].try_into().expect("a row");
            if let Some(top) = row.iter().rposition(|&n| n > 0) {
                self.largest = self.largest.max(top as i64);
            }
            let sums = clip(row, others, plan.settings.snr);
            if plan.background[bin] {
                n += sums.n;
                first += sums.first;
            }
            self.bins.push(statistics(&sums, plan));
        }
        self.level = if n > 0 { first as f64 / n as f64 } else { f64::NAN };
    }
}

fn statistics(sums: &Sums, plan: &Plan) -> Statistics {
    let settings = &plan.settings;
    if sums.n == 0 {
        return Statistics { threshold: i64::MAX, ..Statistics::default() };
    }
    let (mean, sigma) = (sums.mean(), sums.sigma());
    let noise = sigma.max(mean.max(0.0).sqrt());
    let threshold = ((mean + settings.snr * noise).floor() as i64).max(settings.min_count - 1);
    let threshold = settings.saturation.map_or(threshold, |limit| threshold.min(limit - 1));
    Statistics { n: sums.n, mean, sigma, threshold }
}

/// Sums over the pixels that are not far above the mean, five rounds at most.
fn clip(row: &[u32; LEVELS], others: &[(u16, i64)], snr: f64) -> Sums {
    let mut sums = sums_up_to(row, others, i64::MAX);
    for _ in 0..CLIPPINGS {
        if sums.n == 0 {
            break;
        }
        let limit = (sums.mean() + snr * sums.sigma()).floor() as i64;
        let clipped = sums_up_to(row, others, limit);
        let settled = clipped.n == sums.n;
        sums = clipped;
        if settled {
            break;
        }
    }
    sums
}

fn sums_up_to(row: &[u32; LEVELS], others: &[(u16, i64)], limit: i64) -> Sums {
    let levels = (limit.saturating_add(1)).clamp(0, LEVELS as i64) as u64;
    let (mut n, mut first, mut second) = (0u64, 0u64, 0u64);
    for (value, &times) in (0..levels).zip(row) {
        let times = u64::from(times);
        n += times;
        first += value * times;
        second += value * value * times;
    }
    let mut sums = Sums { n, first: first.into(), second: second.into() };
    for &(_, value) in others.iter().take_while(|&&(_, value)| value <= limit) {
        sums.add(value, 1);
    }
    sums
}
