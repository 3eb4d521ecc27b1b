//! Orientation of a crystal of known cell.
//!
//! In the line of TORO and the fast feedback indexer (J. Appl. Cryst. 57 (2024) 931): trial vectors of the length of the
//! shortest cell vector over a half sphere, scored by how many spots lie near their planes; around each of the best, the
//! second vector at its known angle; the pairs give cells, which are refined on the spots they explain and judged by chance.

use super::cell::Cell;
use super::matrix::{cross, dot, norm, product, scale, transpose, unit, Matrix, Vector};
use super::refine::{judge, on_best_axes, polish, refine, Fit};
use super::scan::typical;
use super::trials::{Around, Directions, Trials, Turns};

/// How hard to look.
struct Effort {
    /// Most spots, those of lowest resolution, that trial vectors are scored with.
    spots: usize,
    /// Most trials, directions x spots.
    scan: usize,
    /// Most trials, turns x spots.
    turn: usize,
    /// Most first vectors x spots.
    axes: usize,
    /// Most cells refined for a group of first vectors, and in all.
    refinements: (usize, usize),
}

/// A quick look that finds most lattices, and a thorough one for what it does not find beyond doubt.
const QUICK: Effort = Effort { spots: 40, scan: 700_000, turn: 250_000, axes: 1000, refinements: (8, 44) };
const THOROUGH: Effort = Effort { spots: 96, scan: 1_500_000, turn: 700_000, axes: 2400, refinements: (12, 60) };
/// First vectors that are taken up together.
const GROUP: usize = 8;
/// Largest phase error that the step between trials may cause.
const STEP: f64 = 0.2;
/// ln chance below which a lattice is beyond doubt and the search ends.
const CERTAIN: f64 = -30.0;
/// ln chance above which a quick look at all spots leaves no hope: hardly any list without a lattice comes below it.
const HOPELESS: f64 = 3.0;

/// Largest deviation from the known cell: of lengths (a share) and of angles (degrees).
pub type Tolerance = (f64, f64);

/// The best lattice of the cell for these spots, whatever its chance; None without any. `spots` are sorted by |q|.
///
/// `thorough`: look again with more effort where the first look leaves a doubt, and some hope.
pub(crate) async fn search(
    trials: &impl Trials,
    cell: &Cell,
    spots: &[Vector],
    tolerance: Tolerance,
    thorough: bool,
) -> Option<Fit> {
    let quick = look(trials, cell, spots, tolerance, &QUICK).await;
    let best = match quick {
        Some(fit) if fit.ln_chance < CERTAIN => Some(fit),
        quick if !thorough => quick,
        quick if spots.len() <= 2 * QUICK.spots && quick.as_ref().is_none_or(|fit| fit.ln_chance > HOPELESS) => None,
        quick => better(quick, look(trials, cell, spots, tolerance, &THOROUGH).await),
    }?;
    let start = judge(cell, &best.direct, spots);
    let fit = on_best_axes(cell, polish(cell, &start, spots)?, spots);
    Some(fit).filter(|fit| cell.agrees(&fit.direct, tolerance))
}

fn better(one: Option<Fit>, other: Option<Fit>) -> Option<Fit> {
    one.into_iter().chain(other).min_by(|x, y| x.ln_chance.total_cmp(&y.ln_chance))
}

async fn look(
    trials: &impl Trials,
    cell: &Cell,
    spots: &[Vector],
    tolerance: Tolerance,
    effort: &Effort,
) -> Option<Fit> {
    let near = &spots[..spots.len().min(effort.spots)];
    let subset = &spots[..spots.len().min(2 * effort.spots)];
    let axes = first_vectors(trials, cell, near, effort).await;
    let turns = turns(cell, near, axes.clone(), effort);
    let around = trials.second(near, turns).await;
    let mut best: Option<Fit> = None;
    let mut left = effort.refinements.1;
    for (group, axes) in axes.chunks(GROUP).enumerate() {
        let mut starts = Vec::new();
        for (i, &axis) in axes.iter().enumerate() {
            for (score, second) in around.axis(group * GROUP + i) {
                pair(cell, axis, second, score, &mut starts);
            }
        }
        starts.sort_by(|x, y| y.0.total_cmp(&x.0));
        let n = effort.refinements.0.min(left);
        left -= n;
        for (_, start) in starts.into_iter().take(n) {
            let Some(direct) = refine(cell, &start, subset) else { continue };
            if cell.agrees(&direct, tolerance) {
                best = better(best, Some(judge(cell, &direct, subset)));
            }
        }
        if left == 0 || best.as_ref().is_some_and(|fit| fit.ln_chance < CERTAIN) {
            break;
        }
    }
    best
}

/// The best directions of the shortest vector, refined.
async fn first_vectors(trials: &impl Trials, cell: &Cell, spots: &[Vector], effort: &Effort) -> Vec<Vector> {
    let length = norm(cell.primitive[0]);
    let step = STEP / (0.7 * typical(spots) * length).max(1e-3);
    let n = (std::f64::consts::TAU / (step * step)) as usize;
    let n = n.clamp(200, (effort.scan / spots.len().max(1)).max(200));
    let keep = (effort.axes / spots.len().max(1)).clamp(16, 150);
    let mut found = trials.first(spots, Directions { n, length, keep: 3 * keep }).await;
    found.sort_by(|x, y| y.0.total_cmp(&x.0));
    let mut axes: Vec<Vector> = Vec::with_capacity(keep);
    let same = (0.5 * step).cos();
    for (_, v) in found {
        if axes.len() == keep {
            break;
        }
        if axes.iter().all(|other| dot(*other, v).abs() < same * norm(*other) * norm(v)) {
            axes.push(v);
        }
    }
    axes
}

/// Second vectors that are tried about these first ones.
fn turns(cell: &Cell, spots: &[Vector], axes: Vec<Vector>, effort: &Effort) -> Turns {
    let [a, b, _] = cell.primitive;
    let n = ((std::f64::consts::PI * norm(b) * typical(spots) / STEP) as usize)
        .clamp(24, (effort.turn / (axes.len() * spots.len()).max(1)).max(24));
    Turns { axes, length: norm(b), cosine: dot(a, b) / (norm(a) * norm(b)), n }
}

/// Cells with these first two vectors.
fn pair(cell: &Cell, first: Vector, second: Vector, score: f32, starts: &mut Vec<(f32, Matrix)>) {
    starts.push((score, oriented(cell, first, second, 1.0)));
    if !cell.mirrored {
        starts.push((score, oriented(cell, first, second, -1.0)));
    }
}

/// The cell turned so that its first two vectors, or their opposites, lie along the two given.
fn oriented(cell: &Cell, first: Vector, second: Vector, sign: f64) -> Matrix {
    let frame = |x: Vector, y: Vector| {
        let one = unit(x);
        let three = unit(cross(x, y));
        [one, cross(three, one), three]
    };
    let from = frame(cell.primitive[0], cell.primitive[1]);
    let to = frame(scale(first, sign), scale(second, sign));
    product(&cell.primitive, &product(&transpose(&from), &to))
}

#[cfg(test)]
mod tests {
    use super::super::matrix::{add, apply, determinant, inverse};
    use super::*;
    use crate::index::{index_known, Acceptance};
    use proptest::prelude::*;

    const ACCEPT: Acceptance = Acceptance {
        min_spots: 8,
        min_fraction: 0.1,
        max_chance: 1e-3,
        max_lattices: 2,
        length_tolerance: 0.04,
        angle_tolerance: 3.0,
    };

    /// Spots of a lattice near the plane of the Ewald sphere at the origin, as a still shows them.
    fn still(direct: &Matrix, n: usize) -> Vec<Vector> {
        let reciprocal = inverse(direct);
        let mut spots = Vec::new();
        for h in -30..=30 {
            for k in -30..=30 {
                for l in -30..=30 {
                    let q = apply(&reciprocal, [f64::from(h), f64::from(k), f64::from(l)]);
                    let excess = (dot(q, q) + 2.0 * q[2] / 1.2).abs();
                    if excess < 0.002 && norm(q) < 0.35 && norm(q) > 0.03 {
                        spots.push(q);
                    }
                }
            }
        }
        let every = (spots.len() / n).max(1);
        spots.into_iter().step_by(every).take(n).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn any_orientation_is_found_and_every_spot_indexed(
            first in prop::array::uniform3(-1.0f64..1.0), second in prop::array::uniform3(-1.0f64..1.0), which in 0usize..4,
        ) {
            prop_assume!(norm(cross(first, second)) > 0.1);
            let (cell, letter) = [
                ([79.0, 79.0, 38.0, 90.0, 90.0, 90.0], 'P'),
                ([45.0, 60.0, 75.0, 80.0, 95.0, 105.0], 'P'),
                ([61.4, 122.6, 168.0, 90.0, 90.0, 90.0], 'C'),
                ([93.0, 93.0, 130.0, 90.0, 90.0, 120.0], 'P'),
            ][which];
            let cell = Cell::new(&cell, letter).unwrap();
            let spots = still(&oriented(&cell, first, second, 1.0), 40);
            let found = index_known(&cell, &spots, &ACCEPT);
            prop_assert_eq!(found.len(), 1);
            prop_assert!(found[0].spots.len() * 10 >= spots.len() * 9);
            for (&spot, hkl) in found[0].spots.iter().zip(&found[0].hkl) {
                let q = apply(&found[0].reciprocal, hkl.map(f64::from));
                prop_assert!(norm(add(q, spots[spot], -1.0)) < 1.5e-3);
            }
            prop_assert!(determinant(&found[0].reciprocal) > 0.0);
        }
    }

    #[test]
    fn spots_without_meaning_are_passed_over() {
        let cell = Cell::new(&[79.0, 79.0, 38.0, 90.0, 90.0, 90.0], 'P').unwrap();
        for spots in [vec![], vec![[f64::NAN; 3]; 20], vec![[0.0; 3]; 20], vec![[0.1, 0.1, 0.0]; 20]] {
            assert!(index_known(&cell, &spots, &ACCEPT).is_empty());
        }
        let mut spots = still(&oriented(&cell, [0.3, 0.4, 0.5], [0.5, -0.7, 0.1], 1.0), 40);
        spots.insert(7, [f64::NAN; 3]);
        let found = index_known(&cell, &spots, &ACCEPT);
        assert_eq!(found.len(), 1);
        assert!(!found[0].spots.contains(&7));
    }
}
