//! How much of the place that spots come from lies near the points of a lattice.
//!
//! The spots of a still lie on the Ewald sphere. At low resolution, or a short wavelength, that is nearly a plane, and a lattice that is
//! turned so that a dense plane of its points lies there is near far more random spots than its share of space. What it is
//! near by chance is measured on spots that never were: the same spots with other azimuths about the beam.

use super::cell::Cell;
use super::chance::{radius, SHARES};
use super::matrix::{add, apply, cross, dot, inverse, norm, scale, unit, upright, Matrix, Vector};
use super::refine::nearest;
use super::scan::golden_turns;

/// Places that are tried of each kind, about.
const EVEN: usize = 6000;
const SWAPPED: usize = 4000;
/// Largest share of |q| (root mean square) by which spots that lie on a sphere through the origin are off it.
const ON_SPHERE: f64 = 1e-3;
/// Keeps directions that the spots do not tell from being noise, as a share of all squares.
const RIDGE: f64 = 1e-7;

/// Spots that could as well have been, each with the distance (1/angstrom) to the spot, or its opposite, that it comes from.
pub struct Section {
    /// Each spot at azimuths all around the beam.
    even: Vec<(Vector, f64)>,
    /// Each spot moved along its own azimuth to the |q| of another: those on streaks or rows of pixels through the beam stay there.
    swapped: Vec<(Vector, f64)>,
}

impl Section {
    pub fn of(spots: &[Vector]) -> Self {
        let axis = beam(spots);
        let (e1, e2) = upright(axis);
        let parts: Vec<[f64; 5]> = spots
            .iter()
            .map(|&q| {
                let (x, y) = (dot(q, e1), dot(q, e2));
                let across = x.hypot(y);
                let (c, s) = if across > 0.0 { (x / across, y / across) } else { (1.0, 0.0) };
                [dot(q, axis), across, c, s, norm(q)]
            })
            .collect();
        let place = |height: f64, across: f64, (c, s): (f64, f64)| {
            add(add(scale(axis, height), e1, across * c), e2, across * s)
        };
        let mut even = Vec::with_capacity(EVEN + parts.len());
        let rounds = (0..EVEN.div_ceil(parts.len().max(1))).flat_map(|_| &parts);
        // Turns by the golden angle fill the circle evenly, however many.
        for (&[height, across, c0, s0, _], (c, s)) in rounds.zip(golden_turns()) {
            let chord = across * (2.0 - 2.0 * (c * c0 + s * s0).abs()).max(0.0).sqrt();
            even.push((place(height, across, (c, s)), chord));
        }
        let mut swapped = Vec::with_capacity(SWAPPED + parts.len());
        let others = parts.len().saturating_sub(1);
        let every = (others * parts.len() / SWAPPED).max(1);
        for shift in (1..=others).step_by(every) {
            for (i, &[height, across, _, _, length]) in parts.iter().enumerate() {
                let [_, _, c, s, other] = parts[(i + shift) % parts.len()];
                swapped.push((place(height, across, (c, s)), (length - other).abs()));
            }
        }
        Self { even, swapped }
    }

    /// For each of `SHARES`, how likely a spot that belongs to no lattice is within the radius of a point of this one: the share of all space,
    /// or that of the places tried, whichever is more.
    pub fn shares(&self, cell: &Cell, direct: &Matrix) -> [f64; SHARES.len()] {
        let reciprocal = inverse(direct);
        let limits = SHARES.map(|share| radius(share, cell));
        let count = |places: &[(Vector, f64)]| {
            // Where a spot is, the lattice is near by choice; but with a radius as wide as all places, by chance.
            let far = places.iter().filter(|(_, by)| *by > limits[0]).count();
            let least = if 2 * far > places.len() { limits[0] } else { -1.0 };
            let (mut n, mut near) = (0.0, [0.0; SHARES.len()]);
            for (q, _) in places.iter().filter(|(_, by)| *by > least) {
                n += 1.0;
                let (index, distance) = nearest(direct, &reciprocal, *q);
                if distance < limits[0] && index != [0; 3] {
                    for (count, limit) in near.iter_mut().zip(limits) {
                        *count += if distance < limit { 1.0 } else { 0.0 };
                    }
                }
            }
            (f64::max(n, 1.0), near)
        };
        let (n, even) = count(&self.even);
        let even = even.map(|k| k / n);
        // Of few spots there are few swaps: as much as is beyond their scatter.
        let (n, swapped) = count(&self.swapped);
        let swapped = swapped.map(|k: f64| (k - k.sqrt()) / n);
        std::array::from_fn(|i| even[i].max(swapped[i]).clamp(SHARES[i], 0.99))
    }
}

/// Direction of the beam: that of the centre of the sphere through the origin on which the spots lie, or, where they lie on none, the
/// one in which they extend least.
fn beam(spots: &[Vector]) -> Vector {
    let mut square = [[0.0; 3]; 3];
    let mut mixed = [0.0; 3];
    for &q in spots {
        for i in 0..3 {
            square[i] = add(square[i], q, q[i]);
        }
        mixed = add(mixed, q, -0.5 * dot(q, q));
    }
    let trace = square[0][0] + square[1][1] + square[2][2];
    for (i, row) in square.iter_mut().enumerate() {
        row[i] += RIDGE * trace;
    }
    let back = inverse(&square);
    let centre = apply(&back, mixed);
    let off: f64 = spots.iter().map(|&q| (norm(add(q, centre, 1.0)) - norm(centre)).powi(2)).sum();
    let mut axis = unit(centre);
    if off.is_nan() || off > ON_SPHERE.powi(2) * trace {
        // Power iteration.
        axis = (0..30).fold(unit(cross(square[0], square[1])), |axis, _| unit(apply(&back, axis)));
    }
    if axis.iter().all(|x| x.is_finite()) {
        axis
    } else {
        [0.0, 0.0, 1.0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::matrix::transpose;
    use crate::index::scan::half_sphere;

    /// Spots on the Ewald sphere of this radius about a beam along z, out to `q`, in no order.
    fn spots(wave_number: f64, q: f64, n: usize) -> Vec<Vector> {
        let at = |k: usize| {
            let length = q * ((k as f64 * 0.754_877 + 0.3) % 1.0).sqrt();
            let (s, c) = (std::f64::consts::TAU * ((k as f64 * 0.569_840 + 0.1) % 1.0)).sin_cos();
            let height = -length * length / (2.0 * wave_number);
            let across = (length * length - height * height).sqrt();
            [across * c, across * s, height]
        };
        (0..n).map(at).collect()
    }

    #[test]
    fn beam_is_found_in_any_frame() {
        let (e1, e2) = upright(unit([0.3, -0.5, 0.8]));
        let turn = transpose(&[e1, e2, unit([0.3, -0.5, 0.8])]);
        for wave_number in [0.8, 2.0, 40.0] {
            for q in [0.1, 0.4] {
                let seen: Vec<Vector> = spots(wave_number, q, 25).iter().map(|&q| apply(&turn, q)).collect();
                assert!(dot(beam(&seen), unit([0.3, -0.5, 0.8])).abs() > 0.9999, "{wave_number} {q}");
            }
        }
        // On no sphere: a slab.
        let slab: Vec<Vector> =
            half_sphere(50).map(|[x, y, z]| apply(&turn, [0.3 * x, 0.3 * y, 0.02 * z - 0.01])).collect();
        assert!(dot(beam(&slab), unit([0.3, -0.5, 0.8])).abs() > 0.99);
    }

    #[test]
    fn a_dense_plane_along_a_flat_section_is_told() {
        let cell = Cell::new(&[80.0, 80.0, 38.0, 90.0, 90.0, 90.0], 'P').unwrap();
        let flat = Section::of(&spots(400.0, 0.3, 60));
        let curved = Section::of(&spots(0.9, 0.4, 60));
        // c, the shortest, is the first row: along the beam, and turned to no special direction.
        let zone = [[0.0, 0.0, 38.0], [80.0, 0.0, 0.0], [0.0, 80.0, 0.0]];
        let (e1, e2) = upright(unit([0.31, 0.54, 0.77]));
        let odd = [scale(unit([0.31, 0.54, 0.77]), 38.0), scale(e1, 80.0), scale(e2, 80.0)];
        for (i, share) in SHARES.into_iter().enumerate() {
            let disc = std::f64::consts::PI * (radius(share, &cell) * 80.0).powi(2);
            assert!(flat.shares(&cell, &zone)[i] > 0.8 * disc.min(0.9), "{share}");
            assert!(curved.shares(&cell, &odd)[i] < 1.6 * share, "{share}");
        }
    }

    #[test]
    fn spots_without_meaning_have_a_section() {
        let cell = Cell::new(&[80.0, 80.0, 38.0, 90.0, 90.0, 90.0], 'P').unwrap();
        for spots in [vec![], vec![[0.0; 3]; 9], vec![[0.1, 0.1, 0.0]; 9]] {
            let shares = Section::of(&spots).shares(&cell, &cell.primitive);
            assert!(shares.iter().zip(SHARES).all(|(share, least)| (least..1.0).contains(share)));
        }
    }
}
