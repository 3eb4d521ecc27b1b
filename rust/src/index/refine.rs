//! Least squares of a lattice on the spots near its points, restrained to the known cell.

use super::cell::Cell;
use super::chance::{ln_tail, ln_trials, radius, SHARES};
use super::matrix::{add, apply, inverse, nearest_rotation, norm, product, transpose, Matrix, Vector};

/// Standard deviation of the restraint: strain of the found cell against the known one.
pub const STRAIN: f64 = 0.01;
/// The same where choices of axes are compared.
const TIGHT: f64 = 1e-3;

/// A lattice under test.
#[derive(Debug, Clone)]
pub struct Fit {
    /// Direct vectors of the primitive cell in the orientation of the crystal, as rows: hkl = direct . q.
    pub direct: Matrix,
    pub ln_chance: f64,
    /// Radius of acceptance (1/angstrom) at which the chance is least.
    pub radius: f64,
    /// Distinct reflections within that radius.
    pub matches: usize,
}

/// Nearest reflection to `q` and the distance to it (1/angstrom).
pub fn nearest(direct: &Matrix, reciprocal: &Matrix, q: Vector) -> ([i32; 3], f64) {
    let exact = apply(direct, q);
    let whole = exact.map(f64::round);
    let off = [exact[0] - whole[0], exact[1] - whole[1], exact[2] - whole[2]];
    (whole.map(|x| x as i32), norm(apply(reciprocal, off)))
}

/// One step: spots within `limit` of a lattice point pull, near ones more (biweight: Beaton and Tukey, Technometrics 16 (1974)
/// 147); None where nothing is left.
pub fn step(cell: &Cell, direct: &Matrix, spots: &[Vector], limit: f64) -> Option<Matrix> {
    step_within(cell, direct, spots, limit, STRAIN)
}

/// The same with another standard deviation of the restraint.
fn step_within(cell: &Cell, direct: &Matrix, spots: &[Vector], limit: f64, strain: f64) -> Option<Matrix> {
    let reciprocal = inverse(direct);
    let mut square = [[0.0; 3]; 3];
    let mut mixed = [[0.0; 3]; 3];
    for &q in spots {
        let (index, distance) = nearest(direct, &reciprocal, q);
        if distance >= limit {
            continue;
        }
        let weight = (1.0 - (distance / limit).powi(2)).powi(2);
        for i in 0..3 {
            square[i] = add(square[i], q, weight * q[i]);
            mixed[i] = add(mixed[i], q, weight * f64::from(index[i]));
        }
    }
    // The restraint counts as observations of a standard deviation of a third of the limit.
    let restraint = (limit / (3.0 * strain)).powi(2);
    let turn = nearest_rotation(&product(&inverse(&cell.primitive), direct));
    let known = product(&cell.primitive, &turn);
    for i in 0..3 {
        square[i][i] += restraint;
        mixed[i] = add(mixed[i], known[i], restraint);
    }
    let next = product(&mixed, &inverse(&square));
    next.iter().flatten().all(|x| x.is_finite()).then_some(next)
}

/// Refines from low to high resolution; `spots` are sorted by |q|.
pub fn refine(cell: &Cell, start: &Matrix, spots: &[Vector]) -> Option<Matrix> {
    let widest = radius(SHARES[0], cell);
    let mut direct = *start;
    for (share, factor) in [(0.3, 1.6), (0.4, 1.4), (0.5, 1.2), (0.65, 1.1), (0.8, 1.0), (1.0, 1.0), (1.0, 1.0)] {
        let n = ((spots.len() as f64 * share) as usize).max(12).min(spots.len());
        direct = step(cell, &direct, &spots[..n], factor * widest)?;
    }
    Some(direct)
}

/// Refines on as tight a radius as the spots bear out.
pub fn polish(cell: &Cell, fit: &Fit, spots: &[Vector]) -> Option<Fit> {
    let mut best = fit.clone();
    for _ in 0..4 {
        let mut direct = best.direct;
        for _ in 0..3 {
            direct = step(cell, &direct, spots, 1.3 * best.radius)?;
        }
        let next = judge(cell, &direct, spots);
        if next.ln_chance >= best.ln_chance - 1e-3 {
            break;
        }
        best = next;
    }
    Some(best)
}

/// The same lattice on the axes by which it is most like the known cell, where others are nearly as like it.
///
/// The restraint lets a lattice that was found on the wrong ones stay there. Held tightly to the known cell on each choice of axes, it
/// fits the spots best on the right ones.
pub fn on_best_axes(cell: &Cell, fit: Fit, spots: &[Vector]) -> Fit {
    let limit = 1.3 * fit.radius;
    let held = |start: Matrix| -> Option<(f64, Matrix)> {
        let hold = |direct: Matrix, _| step_within(cell, &direct, spots, limit, TIGHT);
        let direct = (0..4).try_fold(start, hold)?;
        let reciprocal = inverse(&direct);
        let off = |&q: &Vector| (nearest(&direct, &reciprocal, q).1 / limit).min(1.0).powi(2);
        Some((spots.iter().map(off).sum(), direct))
    };
    if cell.alike.is_empty() {
        return fit;
    }
    let Some((least, _)) = held(fit.direct) else { return fit };
    let others = cell.alike.iter().filter_map(|change| held(product(change, &fit.direct)));
    let best = others.filter(|(off, _)| *off < least).min_by(|x, y| x.0.total_cmp(&y.0));
    best.and_then(|(_, direct)| polish(cell, &judge(cell, &direct, spots), spots)).unwrap_or(fit)
}

/// How well a lattice fits.
pub fn judge(cell: &Cell, direct: &Matrix, spots: &[Vector]) -> Fit {
    judge_by(cell, direct, spots, STRAIN, &SHARES)
}

/// The same, for cells that may differ by `strain` from the known one, where random spots are within the radii of `SHARES` with these
/// probabilities.
pub fn judge_by(cell: &Cell, direct: &Matrix, spots: &[Vector], strain: f64, shares: &[f64; SHARES.len()]) -> Fit {
    let reciprocal = inverse(direct);
    let widest = radius(SHARES[0], cell);
    let mut near: Vec<([i32; 3], f64)> = spots
        .iter()
        .map(|&q| nearest(direct, &reciprocal, q))
        .filter(|(index, distance)| *distance < widest && *index != [0; 3])
        .collect();
    // Several spots on one reflection bear witness once.
    near.sort_by(|x, y| x.0.cmp(&y.0).then(x.1.total_cmp(&y.1)));
    near.dedup_by_key(|(index, _)| *index);
    let q = spots.iter().map(|q| norm(*q)).fold(0.0, f64::max);
    let mut best = Fit { direct: *direct, ln_chance: f64::INFINITY, radius: widest, matches: 0 };
    for (share, p) in SHARES.into_iter().zip(shares) {
        let limit = radius(share, cell);
        let matches = near.iter().filter(|(_, distance)| *distance < limit).count();
        let trials = (SHARES.len() as f64).ln() + ln_trials(limit, q, strain, cell);
        let chance = trials + ln_tail(spots.len(), matches, *p);
        if chance < best.ln_chance {
            best = Fit { direct: *direct, ln_chance: chance, radius: limit, matches };
        }
    }
    best
}

/// Rows a*, b*, c* from rows a, b, c, and back.
pub fn dual(rows: &Matrix) -> Matrix {
    transpose(&inverse(rows))
}
