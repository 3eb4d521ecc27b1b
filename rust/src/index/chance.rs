//! How likely a lattice is that fits spots as well, where there is none.

use super::cell::Cell;

/// Radii of acceptance that are tried, as the share of reciprocal space within that radius of a lattice point.
pub const SHARES: [f64; 6] = [0.15, 0.08, 0.04, 0.02, 0.01, 0.004];

/// Radius (1/angstrom) about the lattice points of `cell` that encloses this share of reciprocal space.
pub fn radius(share: f64, cell: &Cell) -> f64 {
    (share * 3.0 / (4.0 * std::f64::consts::PI * cell.volume())).cbrt()
}

/// Natural logarithm of the chance that at least `k` of `n` independent events of probability `p` happen.
pub fn ln_tail(n: usize, k: usize, p: f64) -> f64 {
    if k == 0 {
        return 0.0;
    }
    if k > n {
        return f64::NEG_INFINITY;
    }
    let ln_choose: f64 = (0..k).map(|i| ((n - i) as f64 / (i + 1) as f64).ln()).sum();
    let mut term = 1.0;
    let mut sum = 1.0;
    for i in k..n {
        term *= (n - i) as f64 / (i + 1) as f64 * p / (1.0 - p);
        sum += term;
        if term < 1e-15 * sum {
            break;
        }
    }
    (ln_choose + k as f64 * p.ln() + (n - k) as f64 * (1.0 - p).ln() + f64::ln(sum)).min(0.0)
}

/// Natural logarithm of the number of lattices that can be told apart.
///
/// Turning or straining a lattice moves the lattice point near the outermost spot, at q, by (angle or strain) x |q|; two lattices are
/// different trials where that exceeds the radius of acceptance. The turns fill 8 pi^2 (the rotations of the lattice
/// bring it to itself and are no new trials), each of the six strains the range
/// that the restraint to the known cell leaves, `strain` to either side.
pub fn ln_trials(radius: f64, q: f64, strain: f64, cell: &Cell) -> f64 {
    let ratio = q / radius;
    let turns = (8.0 * std::f64::consts::PI * std::f64::consts::PI).ln() + 3.0 * ratio.max(1.0).ln();
    turns + 6.0 * (2.0 * strain * ratio).max(1.0).ln() - (cell.rotations as f64).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tail_is_that_of_the_binomial() {
        // 1 - 0.9^5, and 0.1^5
        assert!((ln_tail(5, 1, 0.1) - (1.0 - 0.9f64.powi(5)).ln()).abs() < 1e-12);
        assert!((ln_tail(5, 5, 0.1) - 5.0 * 0.1f64.ln()).abs() < 1e-12);
        assert!(ln_tail(5, 0, 0.1).abs() < 1e-12);
        assert_eq!(ln_tail(5, 6, 0.1), f64::NEG_INFINITY);
    }

    #[test]
    fn tail_falls_with_the_matches_needed() {
        let tails: Vec<f64> = (0..=60).map(|k| ln_tail(60, k, 0.04)).collect();
        assert!(tails.windows(2).all(|pair| pair[1] < pair[0]));
    }
}
