//! Scores of many trial vectors against many spots, in single precision and eight spots at a time.

use super::matrix::{add, apply, dot, inverse, norm, scale, Vector};

/// Phases further than this from an integer count nothing.
pub const REACH: f32 = 0.3;
const LANES: usize = 8;
/// Adding and subtracting it rounds a small f32 to the nearest integer without a call.
const ROUNDER: f32 = 12_582_912.0;

/// Eight spots.
#[derive(Debug, Clone, Copy)]
struct Lane {
    x: [f32; LANES],
    y: [f32; LANES],
    z: [f32; LANES],
    weight: [f32; LANES],
}

/// Spots by lanes; the last is filled up with spots of weight 0.
#[derive(Debug, Default)]
pub struct Columns(Vec<Lane>);

#[inline(always)]
fn closeness(phase: f32) -> f32 {
    let off = phase - ((phase + ROUNDER) - ROUNDER);
    let left = REACH * REACH - off * off;
    // Not f32::max, which takes care of NaN at a cost.
    if left > 0.0 {
        left
    } else {
        0.0
    }
}

impl Lane {
    fn new(spots: &[Vector]) -> Self {
        let column = |axis: usize| std::array::from_fn(|i| spots.get(i).map_or(0.0, |q| q[axis] as f32));
        let weight = std::array::from_fn(|i| if i < spots.len() { 1.0 } else { 0.0 });
        Self { x: column(0), y: column(1), z: column(2), weight }
    }

    /// Weighted closeness of q . v to an integer.
    #[inline(always)]
    fn closeness(&self, v: [f32; 3]) -> [f32; LANES] {
        std::array::from_fn(|i| self.weight[i] * closeness(self.x[i] * v[0] + self.y[i] * v[1] + self.z[i] * v[2]))
    }
}

impl Columns {
    pub fn new(spots: &[Vector]) -> Self {
        Self(spots.chunks(LANES).map(Lane::new).collect())
    }

    /// Sum over spots of the closeness of q . v to an integer.
    pub fn score(&self, v: Vector) -> f32 {
        self.score_body(v)
    }

    /// `score` of each vector; the same on every machine, only faster where it has wide registers.
    pub fn scores(&self, vectors: &[Vector]) -> Vec<f32> {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the machine has it.
            return unsafe { self.scores_avx2(vectors) };
        }
        vectors.iter().map(|&v| self.score_body(v)).collect()
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn scores_avx2(&self, vectors: &[Vector]) -> Vec<f32> {
        vectors.iter().map(|&v| self.score_body(v)).collect()
    }

    #[inline(always)]
    fn score_body(&self, v: Vector) -> f32 {
        let v = v.map(|c| c as f32);
        let mut sums = [0.0f32; LANES];
        for lane in &self.0 {
            let close = lane.closeness(v);
            for i in 0..LANES {
                sums[i] += close[i];
            }
        }
        sums.iter().sum()
    }

    /// The same spots, each weighted with its closeness to the planes of `v`.
    pub fn weighted(&self, v: Vector) -> Self {
        let v = v.map(|c| c as f32);
        Self(self.0.iter().map(|lane| Lane { weight: lane.closeness(v), ..*lane }).collect())
    }
}

/// One least-squares step of a vector toward where the spots near its planes want it, restrained to `anchor`.
pub fn toward_planes(v: Vector, anchor: Vector, restraint: f64, spots: &[Vector]) -> Vector {
    let reach = f64::from(REACH);
    let mut square = [[restraint, 0.0, 0.0], [0.0, restraint, 0.0], [0.0, 0.0, restraint]];
    let mut mixed = scale(anchor, restraint);
    for &q in spots {
        let phase = dot(q, v);
        let off = phase - phase.round();
        if off.abs() < reach {
            let weight = 1.0 - (off / reach).powi(2);
            mixed = add(mixed, q, weight * phase.round());
            for i in 0..3 {
                square[i] = add(square[i], q, weight * q[i]);
            }
        }
    }
    let next = apply(&inverse(&square), mixed);
    if next.iter().all(|x| x.is_finite()) {
        next
    } else {
        v
    }
}

/// |q| that most spots do not exceed; they are sorted by it.
pub fn typical(spots: &[Vector]) -> f64 {
    spots.get(spots.len() * 3 / 4).map_or(0.0, |q| norm(*q))
}

/// Cosine and sine of turns by the golden angle, one after the other.
pub fn golden_turns() -> impl Iterator<Item = (f64, f64)> {
    let golden = std::f64::consts::PI * (3.0 - 5.0f64.sqrt());
    let (s, c) = golden.sin_cos();
    std::iter::successors(Some((1.0f64, 0.0f64)), move |turn| Some((turn.0 * c - turn.1 * s, turn.0 * s + turn.1 * c)))
}

/// About `n` even directions on a half sphere (Fibonacci lattice; Gonzalez, Math. Geosci. 42 (2010) 49).
pub fn half_sphere(n: usize) -> impl Iterator<Item = Vector> {
    golden_turns().take(n).enumerate().map(move |(k, turn)| {
        let z = (k as f64 + 0.5) / n as f64;
        let r = (1.0 - z * z).sqrt();
        [r * turn.0, r * turn.1, z]
    })
}

/// Positions of the `k` largest scores, largest first; equal ones in order.
pub fn largest(scores: &[f32], k: usize) -> Vec<usize> {
    let order = |&i: &usize, &j: &usize| scores[j].total_cmp(&scores[i]).then(i.cmp(&j));
    let mut all: Vec<usize> = (0..scores.len()).collect();
    if k < all.len() {
        all.select_nth_unstable_by(k, order);
        all.truncate(k);
    }
    all.sort_unstable_by(order);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn largest_are_the_largest_in_order() {
        let scores = [1.0, 5.0, 3.0, 5.0, 2.0];
        assert_eq!(largest(&scores, 3), [1, 3, 2]);
        assert_eq!(largest(&scores, 9), [1, 3, 2, 4, 0]);
    }

    #[test]
    fn half_sphere_is_even() {
        let directions: Vec<Vector> = half_sphere(2000).collect();
        assert!(directions.iter().all(|d| (norm(*d) - 1.0).abs() < 1e-9 && d[2] > 0.0));
        // Each direction stands for 2 pi / n; no point of the half sphere is further from one than about its radius.
        let reach = (2.0 * std::f64::consts::PI / 2000.0).sqrt();
        for probe in half_sphere(777) {
            let nearest = directions.iter().map(|d| dot(*d, probe)).fold(-1.0, f64::max);
            assert!(nearest.acos() < reach, "{probe:?}");
        }
    }

    #[test]
    fn scores_of_many_are_those_of_each() {
        let spots: Vec<Vector> = half_sphere(61).map(|d| scale(d, 0.31)).collect();
        let columns = Columns::new(&spots);
        let vectors: Vec<Vector> = half_sphere(333).map(|d| scale(d, 57.0)).collect();
        let each: Vec<f32> = vectors.iter().map(|&v| columns.score(v)).collect();
        assert_eq!(columns.scores(&vectors), each);
    }

    #[test]
    fn score_knows_the_planes_and_ignores_padding() {
        let spots: Vec<Vector> = (0..11).map(|i| [0.02 * f64::from(i), 0.01 * f64::from(i * i), 0.003]).collect();
        let columns = Columns::new(&spots);
        let full = columns.score([50.0, 0.0, 0.0]);
        assert!((full - 11.0 * REACH * REACH).abs() < 1e-4);
        assert!(columns.score([25.0, 0.0, 0.0]) < 0.6 * full);
    }
}
