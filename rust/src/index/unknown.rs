//! Lattices without a known cell, and the cell that many of them share.
//!
//! A vector of the lattice has q . v near an integer for every spot. Trial vectors over the half ball of possible lengths are
//! scored by that; triples of the best span cells, of which chance says how well they explain the spots. Sublattices explain
//! them as well, in a larger cell, and so by a larger chance.

use super::cell::{parameters, reduced, short_vectors, Cell, Parameters};
use super::chance::{ln_tail, radius, SHARES};
use super::matrix::{add, cross, determinant, inverse, norm, scale, Matrix, Vector};
use super::refine::{judge_by, nearest, step, Fit};
use super::scan::{half_sphere, largest, toward_planes, typical, Columns, REACH};
use super::section::Section;

/// Spots of lowest resolution that vectors are scored with.
const SCAN_SPOTS: usize = 48;
/// Most trials, vectors x spots.
const SCAN_BUDGET: f64 = 20e6;
/// Largest phase error that the step between trials may cause, at the typical |q|.
const STEP: f64 = 0.28;
/// Vectors that triples are made of.
const VECTORS: usize = 28;
const REFINEMENTS: usize = 12;
/// Share of spots that counts as all of them: some are spurious.
const ALL: f64 = 0.85;
/// Range of the strains that tell unknown cells apart.
const STRAIN: f64 = 0.5;

/// Shortest and longest cell vector looked for (angstrom).
pub type Lengths = (f64, f64);

/// The best primitive lattice for these spots with its cell, whatever its chance. `spots` are sorted by |q|.
pub fn search(spots: &[Vector], lengths: Lengths) -> Option<(Cell, Fit)> {
    let near = &spots[..spots.len().min(SCAN_SPOTS)];
    let vectors = lattice_vectors(near, lengths);
    let mut cells = triples(&vectors, near, lengths);
    cells.sort_by(|x, y| x.0.total_cmp(&y.0));
    let section = Section::of(spots);
    let mut best: Option<(Cell, Fit)> = None;
    for (_, rows) in cells.into_iter().take(REFINEMENTS) {
        let Some((cell, fit)) = finest(&rows, spots) else { continue };
        let better = |fit: &Fit| best.as_ref().is_none_or(|(_, other)| fit.ln_chance < other.ln_chance);
        if !better(&fit) {
            continue;
        }
        let fit = judge_by(&cell, &fit.direct, spots, STRAIN, &section.shares(&cell, &fit.direct));
        if better(&fit) {
            best = Some((cell, fit));
        }
    }
    best
}

/// Vectors whose planes pass near many spots, best first.
fn lattice_vectors(spots: &[Vector], (shortest, longest): Lengths) -> Vec<Vector> {
    let columns = Columns::new(spots);
    let q = typical(spots).max(1e-3);
    let half_ball = 2.0 / 3.0 * std::f64::consts::PI * longest.powi(3);
    // Steps along and across are alike; coarser ones where the budget asks for it.
    let affordable = (half_ball * spots.len() as f64 / SCAN_BUDGET).cbrt();
    let pitch = (2.0 * STEP / q).max(affordable);
    // Chance alone gives 0.4 of the most a vector can have.
    let floor = 0.5 * spots.len() as f32 * REACH * REACH;
    let mut trials = Vec::new();
    let mut scores = Vec::new();
    for shell in 0..((longest - shortest) / pitch).ceil() as usize {
        let length = shortest + (shell as f64 + 0.5) * pitch;
        let n = (std::f64::consts::TAU * (length / pitch).powi(2)).ceil() as usize;
        let shell: Vec<Vector> = half_sphere(n).map(|direction| scale(direction, length)).collect();
        for (&v, score) in shell.iter().zip(columns.scores(&shell)) {
            if score > floor {
                scores.push(score);
                trials.push(v);
            }
        }
    }
    let mut found: Vec<(f32, Vector)> = Vec::new();
    let mut peaks: Vec<Vector> = Vec::new();
    for i in largest(&scores, 2000) {
        let v = trials[i];
        if peaks.len() < 150 && peaks.iter().all(|p| norm(add(*p, v, -1.0)) > 1.5 * pitch) {
            peaks.push(v);
            let sharp = sharpen(v, spots, pitch);
            found.push((columns.score(sharp), sharp));
        }
    }
    found.sort_by(|x, y| y.0.total_cmp(&x.0));
    let mut kept: Vec<Vector> = Vec::new();
    for (_, v) in found {
        let alike = |p: &Vector| norm(add(*p, v, -1.0)) < pitch || norm(add(*p, v, 1.0)) < pitch;
        if kept.len() < VECTORS && norm(v) > 0.9 * shortest && !kept.iter().any(alike) {
            kept.push(v);
        }
    }
    kept
}

/// Moves a vector to where the spots near its planes want it, by about the pitch a step: unlike one of known length it may go far.
fn sharpen(start: Vector, spots: &[Vector], pitch: f64) -> Vector {
    let restraint = (0.1 / pitch).powi(2);
    (0..4).fold(start, |v, _| toward_planes(v, v, restraint, spots))
}

/// Reduced cells that three vectors span, with the logarithm of the chance of their fit.
fn triples(vectors: &[Vector], spots: &[Vector], (shortest, longest): Lengths) -> Vec<(f64, Matrix)> {
    let mut cells: Vec<(f64, Matrix)> = Vec::new();
    let mut seen: Vec<i64> = Vec::new();
    for i in 0..vectors.len() {
        for j in i + 1..vectors.len() {
            for k in j + 1..vectors.len() {
                let rows = [vectors[i], vectors[j], vectors[k]];
                let volume = determinant(&rows).abs();
                let flat = volume < 0.15 * norm(rows[0]) * norm(rows[1]) * norm(rows[2]);
                if flat || volume < shortest.powi(3) {
                    continue;
                }
                let rows = reduced(&rows);
                if norm(rows[0]) < 0.9 * shortest || norm(rows[2]) > 1.1 * longest {
                    continue;
                }
                // Many triples span one lattice.
                let mark = rows.iter().fold(0i64, |mark, row| mark * 4096 + (4.0 * norm(*row)) as i64);
                if !seen.contains(&mark) {
                    seen.push(mark);
                    cells.push((chance_of(&rows, spots), rows));
                }
            }
        }
    }
    cells
}

/// Logarithm of the chance of the fit before refinement, in a wide and a narrow ball.
fn chance_of(rows: &Matrix, spots: &[Vector]) -> f64 {
    let reciprocal = inverse(rows);
    let cell = Cell::of(rows);
    let distances: Vec<f64> = spots.iter().map(|&q| nearest(rows, &reciprocal, q).1).collect();
    let tail = |share: f64| {
        let limit = radius(share, &cell);
        ln_tail(spots.len(), distances.iter().filter(|distance| **distance < limit).count(), share)
    };
    tail(0.2).min(tail(0.08)).min(tail(0.03))
}

/// Refines a cell that is restrained to nothing but itself a step before.
fn settle(rows: &Matrix, spots: &[Vector]) -> Option<(Cell, Fit)> {
    let mut direct = *rows;
    let mut cell = Cell::new(&parameters(&direct), 'P')?;
    for share in [0.5, 0.7, 0.85, 1.0, 1.0, 1.0, 1.0, 1.0] {
        let n = ((spots.len() as f64 * share) as usize).max(12).min(spots.len());
        cell = Cell::of(&direct);
        direct = step(&cell, &direct, &spots[..n], 1.2 * radius(SHARES[0], &cell))?;
    }
    let mut fit = judge_by(&cell, &direct, spots, STRAIN, &SHARES);
    for _ in 0..6 {
        cell = Cell::of(&fit.direct);
        let next = step(&cell, &fit.direct, spots, 1.3 * fit.radius)?;
        let next = judge_by(&Cell::of(&next), &next, spots, STRAIN, &SHARES);
        if next.ln_chance > fit.ln_chance {
            break;
        }
        fit = next;
    }
    let direct = reduced(&fit.direct);
    let cell = Cell::of(&direct);
    Some((cell, Fit { direct, ..fit }))
}

/// Refines a cell and, where its spots leave a part of its reflections empty, the smaller cell that explains them.
fn finest(rows: &Matrix, spots: &[Vector]) -> Option<(Cell, Fit)> {
    let mut found = settle(rows, spots)?;
    while let Some(smaller) = without_empty_rows(&found.1, spots) {
        match settle(&smaller, spots) {
            Some(next) if next.1.ln_chance < found.1.ln_chance => found = next,
            _ => break,
        }
    }
    Some(found)
}

/// The cell of half or a third of the volume for which nearly all indexed spots have whole indices.
///
/// Where u . hkl is a multiple of p for all of them, (u1 a + u2 b + u3 c) / p is a vector of the lattice.
fn without_empty_rows(fit: &Fit, spots: &[Vector]) -> Option<Matrix> {
    let reciprocal = inverse(&fit.direct);
    let close = spots.iter().map(|&q| nearest(&fit.direct, &reciprocal, q));
    let indices: Vec<[i32; 3]> = close.filter(|(_, distance)| *distance < fit.radius).map(|(hkl, _)| hkl).collect();
    for p in [2, 3] {
        for code in 1..p * p * p {
            let u = [code % p, code / p % p, code / (p * p)];
            let whole = |hkl: &&[i32; 3]| (0..3).map(|i| u[i] * hkl[i]).sum::<i32>() % p == 0;
            if (indices.iter().filter(whole).count() as f64) < ALL * indices.len() as f64 {
                continue;
            }
            // A row that the new vector can stand for: its coefficient is no multiple of p.
            let row = (0..3).find(|&i| u[i] != 0)?;
            let mut finer = fit.direct;
            finer[row] = (0..3).fold([0.0; 3], |v, i| add(v, fit.direct[i], f64::from(u[i]) / f64::from(p)));
            return Some(reduced(&finer));
        }
    }
    None
}

/// Most cells about which a group is looked for.
const SEEDS: usize = 200;

/// A cell that many share.
#[derive(Debug, Clone)]
pub struct Consensus {
    /// Medians of the members, in the setting of the reduced cell.
    pub cell: Parameters,
    /// Positions of the members.
    pub members: Vec<usize>,
    /// Their cells, in the same setting.
    pub cells: Vec<Parameters>,
}

/// The cell that most of these primitive cells agree with, within a share in lengths and degrees in angles.
pub fn consensus(cells: &[Parameters], length: f64, angle: f64) -> Option<Consensus> {
    let rows: Vec<Matrix> = cells.iter().filter_map(super::cell::direct).map(|rows| reduced(&rows)).collect();
    if rows.len() != cells.len() {
        return None;
    }
    let group = |seed: &Matrix| -> Vec<(usize, Parameters)> {
        let alike = |(i, other): (usize, &Matrix)| Some((i, alike(seed, other, length, angle)?));
        rows.iter().enumerate().filter_map(alike).collect()
    };
    let mut best: Vec<(usize, Parameters)> = Vec::new();
    for seed in rows.iter().step_by(rows.len().div_ceil(SEEDS).max(1)) {
        let members = group(seed);
        if members.len() > best.len() {
            best = members;
        }
    }
    let median = |members: &[(usize, Parameters)], k: usize| {
        let mut values: Vec<f64> = members.iter().map(|(_, cell)| cell[k]).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    if best.is_empty() {
        return None;
    }
    // Once more about the middle: the first seed may lie at the edge.
    let middle: Parameters = std::array::from_fn(|k| median(&best, k));
    let again = group(&super::cell::direct(&middle)?);
    let members = if again.len() >= best.len() { again } else { best };
    let cell = std::array::from_fn(|k| median(&members, k));
    let (members, cells) = members.into_iter().unzip();
    Some(Consensus { cell, members, cells })
}

/// The other lattice's cell in the setting of the seed that is nearest to it; None where none is near.
fn alike(seed: &Matrix, other: &Matrix, length: f64, angle: f64) -> Option<Parameters> {
    let wanted = parameters(seed);
    let vectors = short_vectors(other).map(|(_, vector)| vector);
    let near = |i: usize| {
        let fits = |v: &&Vector| (norm(**v) / wanted[i] - 1.0).abs() < length;
        vectors.iter().filter(fits).copied().collect::<Vec<_>>()
    };
    let (first, second, third) = (near(0), near(1), near(2));
    let mut best: Option<(f64, Parameters)> = None;
    for &a in &first {
        for &b in &second {
            if norm(cross(a, b)) < 1e-6 {
                continue;
            }
            for &c in &third {
                let rows = [a, b, c];
                if (determinant(&rows).abs() / determinant(other).abs() - 1.0).abs() > 0.01 {
                    continue;
                }
                let found = parameters(&rows);
                if (3..6).any(|k| (found[k] - wanted[k]).abs() > angle) {
                    continue;
                }
                let off = |k: usize| ((found[k] - wanted[k]) / if k < 3 { length * wanted[k] } else { angle }).powi(2);
                let distance: f64 = (0..6).map(off).sum();
                if best.as_ref().is_none_or(|(least, _)| distance < *least) {
                    best = Some((distance, found));
                }
            }
        }
    }
    best.map(|(_, cell)| cell)
}
