//! What is fixed for a run: mask, bins, the background sample, and the limits of a spot.

use crate::planes::{Cpu, SEGMENT};

/// Pixels of a unit of the background sample.
pub const UNIT: usize = 4096;
/// A bin wants this many sampled pixels.
const WANTED: u32 = 100;
/// The bin of a pixel that is not valid.
pub const NO_BIN: u16 = u16::MAX;

/// How strong pixels are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// A threshold for each radial bin.
    Radial,
    /// Local mean and variance in a window.
    Dispersion,
}

/// The numbers that the user may choose.
#[derive(Debug, Clone)]
pub struct Settings {
    pub algorithm: Algorithm,
    pub snr: f64,
    pub min_count: i64,
    pub min_pixels: usize,
    pub max_pixels: usize,
    pub spot_snr: f64,
    pub ring_width: usize,
    pub max_spots: usize,
    pub underload: i64,
    pub saturation: Option<i64>,
    pub error_value: Option<i64>,
}

impl Settings {
    /// Whether a valid pixel of this value is good.
    #[inline(always)]
    pub fn good(&self, value: i64) -> bool {
        value >= self.underload && self.error_value != Some(value)
    }

    /// Whether a good pixel of this value is saturated.
    #[inline(always)]
    pub fn saturated(&self, value: i64) -> bool {
        self.saturation.is_some_and(|limit| value >= limit)
    }
}

/// Everything that is computed once for a geometry.
#[derive(Debug)]
pub struct Plan {
    pub settings: Settings,
    pub cpu: Cpu,
    /// (slow, fast)
    pub shape: (usize, usize),
    /// Bin of each pixel, `NO_BIN` where it is not valid.
    pub bins: Vec<u16>,
    pub n_bins: usize,
    /// One bit a pixel, the first in the lowest bit; padded with zeros to whole segments.
    pub valid: Vec<u8>,
    /// Panel of each pixel; empty with one panel.
    pub panels: Vec<u16>,
    /// Bins of the background ring.
    pub background: Vec<bool>,
    /// Numbers of the sampled units.
    pub sample: Vec<u32>,
    /// Lowest and highest bin of each segment; (1, 0) where it has no valid pixel.
    pub segments: Vec<(u16, u16)>,
}

impl Plan {
    /// Builds the plan; `bins` and `valid` have one entry a pixel, `panels` as well or none.
    pub fn new(
        settings: Settings,
        shape: (usize, usize),
        mut bins: Vec<u16>,
        valid: &[bool],
        panels: Vec<u16>,
        mut background: Vec<bool>,
    ) -> Self {
        // No pixel can be of a bin past these: that number says that a pixel is not valid.
        background.truncate(NO_BIN as usize);
        for (bin, valid) in bins.iter_mut().zip(valid) {
            if !valid {
                *bin = NO_BIN;
            }
        }
        let n_bins = background.len();
        let sample = sample_units(&bins, n_bins);
        let segments = bins.chunks(SEGMENT).map(bin_range).collect();
        Self {
            valid: pack(valid),
            settings,
            cpu: Cpu::detect(),
            shape,
            bins,
            n_bins,
            panels,
            background,
            sample,
            segments,
        }
    }

    /// Pixels of an image.
    pub fn n_pixels(&self) -> usize {
        self.bins.len()
    }

    /// Panel of a pixel.
    #[inline(always)]
    pub fn panel(&self, pixel: usize) -> u16 {
        if self.panels.is_empty() {
            0
        } else {
            self.panels[pixel]
        }
    }
}

fn bin_range(bins: &[u16]) -> (u16, u16) {
    let used = bins.iter().filter(|&&bin| bin != NO_BIN);
    match (used.clone().min(), used.max()) {
        (Some(&low), Some(&high)) => (low, high),
        _ => (1, 0),
    }
}

fn pack(valid: &[bool]) -> Vec<u8> {
    let mut bits = vec![0; valid.len().next_multiple_of(SEGMENT) / 8];
    for (i, _) in valid.iter().enumerate().filter(|(_, &valid)| valid) {
        bits[i / 8] |= 1 << (i % 8);
    }
    bits
}

/// Chooses whole units so that every bin has enough pixels: evenly spread ones first, then, bin by bin, those that hold most of it.
fn sample_units(bins: &[u16], n_bins: usize) -> Vec<u32> {
    let units = bins.len().div_ceil(UNIT);
    // For each bin the units that hold pixels of it, in ascending order.
    let mut holders: Vec<Vec<(u32, u32)>> = vec![Vec::new(); n_bins];
    let mut counts = vec![0u32; n_bins];
    for (unit, bins) in bins.chunks(UNIT).enumerate() {
        let mut seen = Vec::new();
        for &bin in bins.iter().filter(|&&bin| bin != NO_BIN) {
            if counts[bin as usize] == 0 {
                seen.push(bin);
            }
            counts[bin as usize] += 1;
        }
        for bin in seen {
            holders[bin as usize].push((unit as u32, std::mem::take(&mut counts[bin as usize])));
        }
    }
    let mut chosen = vec![false; units];
    let first = units.min(16.max(units.div_ceil(64)));
    for i in 0..first {
        chosen[i * units / first] = true;
    }
    for holders in holders {
        let all: u32 = holders.iter().map(|&(_, n)| n).sum();
        let mut have: u32 = holders.iter().filter(|&&(unit, _)| chosen[unit as usize]).map(|&(_, n)| n).sum();
        let mut rest: Vec<_> = holders.into_iter().filter(|&(unit, _)| !chosen[unit as usize]).collect();
        rest.sort_by_key(|&(unit, n)| (std::cmp::Reverse(n), unit));
        for (unit, n) in rest {
            if have >= WANTED.min(all) {
                break;
            }
            chosen[unit as usize] = true;
            have += n;
        }
    }
    (0..units as u32).filter(|&unit| chosen[unit as usize]).collect()
}
