//! Random plans and images.

use _core::chunk::Codec;
use _core::pixel::Pixel;
use _core::plan::{Algorithm, Plan, Settings};
use proptest::prelude::*;

pub const CODECS: [Codec; 3] = [Codec::BitshuffleLz4, Codec::BitshuffleZstd, Codec::Lz4];

/// Calls a generic test for every pixel type.
macro_rules! for_every_pixel {
    ($test:ident($($argument:expr),*)) => {{
        $test::<u8>($($argument),*);
        $test::<i8>($($argument),*);
        $test::<u16>($($argument),*);
        $test::<i16>($($argument),*);
        $test::<u32>($($argument),*);
        $test::<i32>($($argument),*);
    }};
}
pub(crate) use for_every_pixel;

/// Numbers that look random (splitmix64).
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % below
    }
}

/// A plan, and what its images look like.
#[derive(Debug, Clone)]
pub struct Case {
    pub shape: (usize, usize),
    pub settings: Settings,
    pub ring: usize,
    pub panels: bool,
    /// One pixel in so many is not valid; none for 0.
    pub masked: u64,
    pub mean: u64,
    /// One pixel in so many begins a spot.
    pub spots: u64,
    /// One pixel in so many has any bits.
    pub odd: u64,
    pub seed: u64,
}

impl Case {
    pub fn n_pixels(&self) -> usize {
        self.shape.0 * self.shape.1
    }

    pub fn plan(&self) -> Plan {
        let (slow, fast) = self.shape;
        let mut dice = Dice(self.seed ^ 1);
        let mut bins = Vec::new();
        let mut panels = Vec::new();
        for y in 0..slow {
            for x in 0..fast {
                let (dy, dx) = (y.abs_diff(slow / 2), x.abs_diff(fast / 3));
                bins.push(((dx * dx + dy * dy).isqrt() / self.ring) as u16);
                panels.push(u16::from(2 * x >= fast) + 2 * u16::from(3 * y >= slow));
            }
        }
        let n_bins = usize::from(*bins.iter().max().expect("a pixel")) + 2;
        let valid: Vec<bool> = bins.iter().map(|_| self.masked == 0 || dice.roll(self.masked) > 0).collect();
        let background = (0..n_bins).map(|bin| bin % 3 != 1).collect();
        let panels = if self.panels { panels } else { Vec::new() };
        Plan::new(self.settings.clone(), self.shape, bins, &valid, panels, background)
    }

    pub fn image<T: Pixel>(&self, number: u64) -> Vec<T> {
        let mut dice = Dice(self.seed.wrapping_add(number << 32));
        let (fast, n) = (self.shape.1, self.n_pixels());
        let mut image: Vec<T> = Vec::with_capacity(n);
        for _ in 0..n {
            let low = dice.roll(self.mean + 1).min(dice.roll(2 * self.mean + 1));
            image.push(if dice.roll(self.odd) == 0 {
                T::from_bits(dice.roll(1 << 32) as u32)
            } else {
                T::nearest(low as i64)
            });
        }
        for i in (0..n).filter(|_| dice.roll(self.spots) == 0).collect::<Vec<_>>() {
            let height = dice.roll(90) as i64;
            for neighbour in [i, i + 1, i + fast, i + fast + 1].into_iter().filter(|&i| i < n) {
                image[neighbour] = T::nearest(image[neighbour].value() + height);
            }
        }
        image
    }
}

prop_compose! {
    fn settings()(
        algorithm in prop_oneof![3 => Just(Algorithm::Radial), 1 => Just(Algorithm::Dispersion)],
        snr in 2.0..8.0, min_count in 1i64..6, min_pixels in 1usize..4, max_pixels in prop_oneof![Just(6), Just(200)],
        spot_snr in 0.0..6.0, ring_width in 0usize..5, max_spots in prop_oneof![Just(3), Just(2000)],
        underload in prop_oneof![4 => Just(0i64), 1 => Just(-3), 1 => Just(1), 1 => Just(i64::MIN)],
        saturation in prop_oneof![2 => Just(None), 1 => (1i64..130).prop_map(Some), 1 => Just(Some(60_000))],
        error_value in prop_oneof![2 => Just(None), 1 => (-1i64..70).prop_map(Some), 1 => Just(Some(65_535))],
    ) -> Settings {
        Settings {
            algorithm, snr, min_count, min_pixels, max_pixels, spot_snr, ring_width, max_spots, underload, saturation,
            error_value,
        }
    }
}

/// Shapes from one pixel to several units of the background sample, many with a tail that is not a whole eight.
fn shape() -> impl Strategy<Value = (usize, usize)> {
    prop_oneof![
        3 => (1usize..70, 1usize..70),
        1 => (1usize..3, 1usize..700),
        1 => (1usize..700, 1usize..3),
        1 => (60usize..140, 60usize..140),
        1 => (Just(64), Just(64)),
        1 => (Just(96), Just(128)),
    ]
}

prop_compose! {
    pub fn case()(
        shape in shape(), settings in settings(), ring in 1usize..40, panels: bool, masked in prop_oneof![Just(0u64), 2u64..30],
        mean in prop_oneof![Just(0u64), 1u64..12, Just(300)], spots in 20u64..2000, odd in prop_oneof![Just(7u64), 100u64..100_000],
        seed: u64,
    ) -> Case {
        Case { shape, settings, ring, panels, masked, mean, spots, odd, seed }
    }
}

/// Sizes of a block in bytes that the codec may write.
pub fn block_bytes(codec: Codec, pixel_size: usize, choice: u32) -> u32 {
    let unit = if codec == Codec::Lz4 { pixel_size } else { 8 * pixel_size } as u32;
    match choice % 6 {
        0 if codec != Codec::Lz4 => 0,
        0 | 1 => 8192,
        2 => 512 * pixel_size as u32,
        3 => unit * (1 + choice / 6 % 300),
        4 => 1024 * pixel_size as u32,
        _ => 1 << 30,
    }
}
