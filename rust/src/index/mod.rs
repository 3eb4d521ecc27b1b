//! Lattices in the spots of one image.
//!
//! `known` finds the orientation of a known cell, `unknown` cell and orientation, `refine` fits it, `chance` says how likely it is where there is no lattice,
//! `scan` scores trial vectors, `trials` says who does that, `cell` and `matrix` are the arithmetic. Spots are reciprocal vectors q (1/angstrom).

pub mod cell;
pub mod chance;
pub mod known;
pub mod matrix;
pub mod refine;
pub mod scan;
pub mod section;
pub mod trials;
pub mod unknown;

use cell::{parameters, Cell, Parameters};
use matrix::{inverse, norm, product, Matrix, Vector};
use refine::{dual, nearest};
use section::Section;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use trials::{at_once, go_on, Cores, Desk, Trials};

/// Spots left by the lattices found in which another is looked for as hard as the first.
const MANY: usize = 100;

/// Lattices turned by less than this (degrees) are parts of one crystal.
const SPLIT: f64 = 2.0;
/// By which share the lengths of their vectors differ at most.
const SAME_LENGTH: f64 = 0.05;

/// What makes a lattice acceptable.
#[derive(Debug, Clone, Copy)]
pub struct Acceptance {
    /// Fewest spots indexed.
    pub min_spots: usize,
    /// Least share of the spots not yet claimed by a lattice.
    pub min_fraction: f64,
    /// Largest chance that random spots would give such a lattice.
    pub max_chance: f64,
    pub max_lattices: usize,
    /// Largest deviation of cell lengths (a share) and angles (degrees) from the known cell.
    pub length_tolerance: f64,
    pub angle_tolerance: f64,
}

/// One lattice of an image, in the setting of the known cell.
#[derive(Debug, Clone)]
pub struct Lattice {
    /// Columns a*, b*, c* (1/angstrom): q = reciprocal . hkl.
    pub reciprocal: Matrix,
    pub cell: Parameters,
    /// Positions of the spots indexed, ascending, and their Miller indices.
    pub spots: Vec<usize>,
    pub hkl: Vec<[i32; 3]>,
    /// Median distance of indexed spots to their lattice points (1/angstrom).
    pub residual: f64,
    pub chance: f64,
}

/// All lattices of the known cell, the best first.
pub fn index_known(cell: &Cell, spots: &[Vector], accept: &Acceptance) -> Vec<Lattice> {
    at_once(search(&Cores, cell, spots, accept))
}

/// The same, one step after the other: it stops wherever it wants trials made, and goes on when they are.
pub struct Search {
    desk: Arc<Desk>,
    future: Pin<Box<dyn Future<Output = Vec<Lattice>> + Send>>,
}

impl Search {
    pub fn new(cell: Arc<Cell>, spots: Vec<Vector>, accept: Acceptance) -> Self {
        let desk = Arc::new(Desk::default());
        let its = Arc::clone(&desk);
        Self { desk, future: Box::pin(async move { search(&its, &cell, &spots, &accept).await }) }
    }

    /// Goes on until trials are wanted (None), or to the end; not beyond it.
    pub fn go_on(&mut self) -> Option<Vec<Lattice>> {
        go_on(self.future.as_mut())
    }

    /// Where the question is, and the answer goes.
    pub fn desk(&self) -> &Desk {
        &self.desk
    }
}

async fn search(trials: &impl Trials, cell: &Cell, spots: &[Vector], accept: &Acceptance) -> Vec<Lattice> {
    let mut left = by_resolution(spots);
    let mut lattices = Vec::new();
    let mut found: Vec<Matrix> = Vec::new();
    // A crystal's parts do not count, but there is an end to them.
    while lattices.len() < accept.max_lattices
        && found.len() < 2 * accept.max_lattices
        && left.len() >= accept.min_spots.max(3)
    {
        let q: Vec<Vector> = left.iter().map(|&i| spots[i]).collect();
        let tolerance = (accept.length_tolerance, accept.angle_tolerance);
        // Of few spots, what a lattice leaves is mostly no lattice: more effort would be spent on noise.
        let thorough = lattices.is_empty() || q.len() >= MANY;
        let Some(fit) = known::search(trials, cell, &q, tolerance, thorough).await else { break };
        // Costs more than the rest, and makes no chance smaller: only for what would be accepted without.
        if !accept.holds(&fit, left.len()) {
            break;
        }
        let shares = Section::of(&q).shares(cell, &fit.direct);
        let fit = refine::judge_by(cell, &fit.direct, &q, refine::STRAIN, &shares);
        if !accept.holds(&fit, left.len()) {
            break;
        }
        if !found.iter().any(|other| turned_by_less(&fit.direct, other, SPLIT)) {
            lattices.push(lattice(cell, &fit, spots, &left));
        }
        found.push(fit.direct);
        let reciprocal = inverse(&fit.direct);
        // Wider than what is indexed, so that its fringe is not taken for another lattice.
        let fringe = (2.0 * fit.radius).min(chance::radius(chance::SHARES[0], cell)).max(fit.radius);
        left.retain(|&i| nearest(&fit.direct, &reciprocal, spots[i]).1 >= fringe);
    }
    lattices
}

/// Whether each vector of one lattice lies within an angle (degrees) of a vector of the other that is as long: whichever of its equivalent axes
/// describe each of the two, they are turned by no more than that.
fn turned_by_less(one: &Matrix, other: &Matrix, degrees: f64) -> bool {
    let inner = matrix::transpose(&inverse(other));
    one.iter().all(|row| {
        let near = matrix::apply(&matrix::transpose(other), matrix::apply(&inner, *row).map(f64::round));
        let angle = norm(matrix::cross(*row, near)).atan2(matrix::dot(*row, near));
        // Of another length, as 0 is, it is no image of the vector.
        angle < degrees.to_radians() && (norm(near) / norm(*row) - 1.0).abs() < SAME_LENGTH
    })
}

/// The lattice of unknown primitive cell that explains most, if it is acceptable; its cell is reduced.
pub fn index_unknown(spots: &[Vector], accept: &Acceptance, lengths: unknown::Lengths) -> Option<Lattice> {
    let left = by_resolution(spots);
    if left.len() < accept.min_spots.max(3) {
        return None;
    }
    let q: Vec<Vector> = left.iter().map(|&i| spots[i]).collect();
    let (cell, fit) = unknown::search(&q, lengths)?;
    accept.holds(&fit, left.len()).then(|| lattice(&cell, &fit, spots, &left))
}

/// Positions of the finite spots by |q|.
fn by_resolution(spots: &[Vector]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..spots.len()).filter(|&i| spots[i].iter().all(|x| x.is_finite())).collect();
    order.sort_by(|&i, &j| norm(spots[i]).total_cmp(&norm(spots[j])).then(i.cmp(&j)));
    order
}

impl Acceptance {
    fn holds(&self, fit: &refine::Fit, n: usize) -> bool {
        fit.matches >= self.min_spots
            && fit.matches as f64 >= self.min_fraction * n as f64
            && fit.ln_chance <= self.max_chance.ln()
    }
}

fn lattice(cell: &Cell, fit: &refine::Fit, spots: &[Vector], left: &[usize]) -> Lattice {
    let direct = product(&cell.to_conventional, &fit.direct);
    let reciprocal = inverse(&fit.direct);
    let mut indexed: Vec<(usize, [i32; 3], f64)> = left
        .iter()
        .map(|&i| {
            let (hkl, distance) = nearest(&fit.direct, &reciprocal, spots[i]);
            let conventional = matrix::apply(&cell.to_conventional, hkl.map(f64::from));
            (i, conventional.map(|x| x.round() as i32), distance)
        })
        .filter(|(_, hkl, distance)| *distance < fit.radius && *hkl != [0; 3])
        .collect();
    let mut distances: Vec<f64> = indexed.iter().map(|spot| spot.2).collect();
    distances.sort_by(f64::total_cmp);
    indexed.sort_by_key(|spot| spot.0);
    Lattice {
        reciprocal: matrix::transpose(&dual(&direct)),
        cell: parameters(&direct),
        spots: indexed.iter().map(|spot| spot.0).collect(),
        hkl: indexed.iter().map(|spot| spot.1).collect(),
        residual: distances.get(distances.len() / 2).copied().unwrap_or(f64::NAN),
        chance: fit.ln_chance.exp().min(1.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(rows: &Matrix, degrees: f64) -> Matrix {
        let (sine, cosine) = degrees.to_radians().sin_cos();
        rows.map(|[x, y, z]| [x * cosine - y * sine, x * sine + y * cosine, z])
    }

    #[test]
    fn a_turn_is_told_whatever_the_axes() {
        let rows = [[79.0, 0.0, 0.0], [0.0, 79.0, 0.0], [0.0, 0.0, 38.0]];
        // The same lattice by other axes: a fourfold turn, a sum of two, an opposite.
        let equivalent = [[0.0, 79.0, 0.0], [-79.0, 79.0, 0.0], [0.0, 0.0, -38.0]];
        for (degrees, less) in [(0.0, true), (1.5, true), (2.5, false), (40.0, false), (89.0, true), (91.9, true)] {
            assert_eq!(turned_by_less(&turn(&equivalent, degrees), &rows, 2.0), less, "{degrees}");
            assert_eq!(turned_by_less(&turn(&rows, degrees), &equivalent, 2.0), less, "{degrees}");
        }
    }

    #[test]
    fn a_quarter_turn_that_is_no_symmetry_is_told() {
        // Twice as long, half as long, and neither: the vectors nearest to those turned lie along them, or are none.
        for (a, b) in [(40.0, 80.0), (80.0, 40.0), (50.0, 80.0), (38.0, 79.0), (39.0, 60.0)] {
            let rows = [[a, 0.0, 0.0], [0.0, b, 0.0], [0.0, 0.0, 55.0]];
            assert!(!turned_by_less(&turn(&rows, 90.0), &rows, 2.0), "{a} {b}");
            assert!(turned_by_less(&turn(&rows, 181.0), &rows, 2.0), "{a} {b}");
        }
    }
}
