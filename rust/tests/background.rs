//! The background against the definition in docs/reference/spot-finder.md, done on lists of pixels.

use _core::background::Background;
use _core::pixel::Pixel;
use _core::plan::{Algorithm, Plan, Settings, NO_BIN, UNIT};
use proptest::prelude::*;

use crate::case::{case, for_every_pixel, Case};

struct Bin {
    n: usize,
    sum: i128,
    mean: f64,
    sigma: f64,
}

fn bin(values: &[i64]) -> Bin {
    let n = values.len();
    let sum: i128 = values.iter().map(|&v| i128::from(v)).sum();
    let squares: i128 = values.iter().map(|&v| i128::from(v).pow(2)).sum();
    let sigma = ((n as i128 * squares - sum * sum) as f64).sqrt() / n as f64;
    Bin { n, sum, mean: sum as f64 / n as f64, sigma }
}

fn clipped(values: &[i64], snr: f64) -> Bin {
    let mut kept = bin(values);
    for _ in 0..5 {
        if kept.n == 0 {
            break;
        }
        let limit = (kept.mean + snr * kept.sigma).floor();
        let low: Vec<i64> = values.iter().copied().filter(|&v| v as f64 <= limit).collect();
        let before = kept.n;
        kept = bin(&low);
        if kept.n == before {
            break;
        }
    }
    kept
}

fn threshold(bin: &Bin, settings: &Settings) -> i64 {
    if bin.n == 0 {
        return i64::MAX;
    }
    let noise = bin.sigma.max(bin.mean.max(0.0).sqrt());
    let threshold = ((bin.mean + settings.snr * noise).floor() as i64).max(settings.min_count - 1);
    settings.saturation.map_or(threshold, |limit| threshold.min(limit - 1))
}

fn units(plan: &Plan) -> Vec<std::ops::Range<usize>> {
    let unit = |&unit: &u32| unit as usize * UNIT..((unit as usize + 1) * UNIT).min(plan.n_pixels());
    plan.sample.iter().map(unit).collect()
}

fn as_defined<T: Pixel>(case: &Case) {
    let plan = case.plan();
    let mut background = Background::default();
    for number in 0..2 {
        let image = case.image::<T>(number);
        background.start(&plan);
        let mut values = vec![Vec::new(); plan.n_bins];
        let mut largest = -1;
        for unit in units(&plan) {
            background.add(&plan, unit.start, &image[unit.clone()]);
            for i in unit.filter(|&i| plan.bins[i] != NO_BIN) {
                let value = image[i].value();
                if value < plan.settings.underload || Some(value) == plan.settings.error_value {
                    continue;
                }
                largest = largest.max(value);
                if plan.settings.saturation.is_none_or(|limit| value < limit) {
                    values[plan.bins[i] as usize].push(value);
                }
            }
        }
        background.finish(&plan);
        assert_eq!(background.largest, largest);
        let expected: Vec<Bin> = values.iter().map(|values| clipped(values, plan.settings.snr)).collect();
        assert_eq!(background.bins.len(), plan.n_bins);
        for (bin, expected) in background.bins.iter().zip(&expected) {
            assert_eq!(bin.n, expected.n as u64);
            assert_eq!(bin.threshold, threshold(expected, &plan.settings));
            if bin.n > 0 {
                assert_eq!((bin.mean, bin.sigma), (expected.mean, expected.sigma));
            }
        }
        let ring = || expected.iter().zip(&plan.background).filter(|(_, &ring)| ring).map(|(bin, _)| bin);
        let (n, sum) = (ring().map(|bin| bin.n).sum::<usize>(), ring().map(|bin| bin.sum).sum::<i128>());
        assert_eq!(background.level.is_nan(), n == 0);
        assert!(n == 0 || background.level == sum as f64 / n as f64);
    }
}

fn sample_as_defined(case: &Case) {
    let plan = case.plan();
    let held = |unit: usize, bin: usize| {
        let pixels = unit * UNIT..((unit + 1) * UNIT).min(plan.n_pixels());
        pixels.filter(|&i| plan.bins[i] as usize == bin).count()
    };
    let units = plan.n_pixels().div_ceil(UNIT);
    let evenly = units.min(16.max(units.div_ceil(64)));
    let mut chosen: Vec<usize> = (0..evenly).map(|i| i * units / evenly).collect();
    for bin in 0..plan.n_bins {
        let wanted = (0..units).map(|unit| held(unit, bin)).sum::<usize>().min(100);
        while chosen.iter().map(|&unit| held(unit, bin)).sum::<usize>() < wanted {
            let left = (0..units).filter(|unit| !chosen.contains(unit));
            let best = left.max_by_key(|&unit| (held(unit, bin), std::cmp::Reverse(unit)));
            chosen.push(best.expect("all valid pixels are enough"));
        }
    }
    chosen.sort_unstable();
    assert_eq!(plan.sample.iter().map(|&unit| unit as usize).collect::<Vec<_>>(), chosen);
}

proptest! {
    #[test]
    fn clipping_is_as_defined(case in case()) {
        for_every_pixel!(as_defined(&case));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn the_sample_is_as_defined(case in case(), wide in 1usize..12, ring in 3usize..60) {
        sample_as_defined(&Case { shape: (300, 40 * wide), ring, ..case });
    }
}

#[test]
fn more_bins_than_there_are_numbers_hold_no_pixel() {
    let mut case = Case {
        shape: (40, 40),
        settings: Settings {
            algorithm: Algorithm::Radial,
            snr: 5.0,
            min_count: 5,
            min_pixels: 1,
            max_pixels: 50,
            spot_snr: 5.0,
            ring_width: 3,
            max_spots: 10,
            underload: 0,
            saturation: None,
            error_value: None,
        },
        ring: 50,
        panels: false,
        masked: 2,
        mean: 9,
        spots: 1000,
        odd: 1000,
        seed: 3,
    };
    let image = case.image::<u16>(0);
    let level = |case: &Case, n_bins: usize| {
        let valid: Vec<bool> = case.plan().bins.iter().map(|&bin| bin != NO_BIN).collect();
        let plan = Plan::new(case.settings.clone(), case.shape, vec![0; 1600], &valid, Vec::new(), vec![true; n_bins]);
        let mut background = Background::default();
        background.start(&plan);
        background.add(&plan, 0, &image);
        background.finish(&plan);
        background.level
    };
    assert_eq!(level(&case, 70_000), level(&case, 1));
    case.masked = 0;
    assert_eq!(level(&case, 70_000), level(&case, 1));
}
