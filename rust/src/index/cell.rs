//! Unit cells: lengths and angles, centring, and the reduced primitive cell that the search works in.

use super::matrix::{add, apply, cross, determinant, dot, inverse, norm, product, scale, Matrix, Vector};

/// Within this share of the longest vector a lattice is the same as its rotated self, and nearly the same.
const EXACTLY: f64 = 1e-3;
const NEARLY: f64 = 0.04;

/// Lengths (angstrom) and angles (degrees): a, b, c, alpha, beta, gamma.
pub type Parameters = [f64; 6];

/// Direct vectors a, b, c as rows: a along x, b in the xy plane, right-handed; None for an impossible cell.
pub fn direct(cell: &Parameters) -> Option<Matrix> {
    let [a, b, c, ..] = *cell;
    if !cell.iter().all(|x| x.is_finite() && *x > 0.0) || cell[3..].iter().any(|x| *x >= 180.0) {
        return None;
    }
    let [alpha, beta, gamma]: Vector = [cell[3], cell[4], cell[5]].map(|x| x.to_radians().cos());
    let sine = (1.0 - gamma * gamma).sqrt();
    let y = (alpha - beta * gamma) / sine;
    let height = 1.0 - beta * beta - y * y;
    // Less than this is a flat cell, whatever the rounding.
    (height > 1e-4).then(|| [[a, 0.0, 0.0], [b * gamma, b * sine, 0.0], [c * beta, c * y, c * height.sqrt()]])
}

/// Lengths and angles of direct vectors given as rows.
pub fn parameters(rows: &Matrix) -> Parameters {
    let length = rows.map(norm);
    let angle =
        |i: usize, j: usize| (dot(rows[i], rows[j]) / (length[i] * length[j])).clamp(-1.0, 1.0).acos().to_degrees();
    [length[0], length[1], length[2], angle(1, 2), angle(0, 2), angle(0, 1)]
}

/// Rows of a primitive cell in terms of the conventional one; None for an unknown letter.
pub fn centring(letter: char) -> Option<Matrix> {
    let third = 1.0 / 3.0;
    Some(match letter {
        'P' => [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
        'A' => [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.5, 0.5]],
        'B' => [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.5, 0.0, 0.5]],
        'C' => [[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0, 1.0]],
        'I' => [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.5, 0.5, 0.5]],
        'F' => [[0.5, 0.5, 0.0], [0.0, 0.5, 0.5], [0.5, 0.0, 0.5]],
        // Obverse setting on hexagonal axes.
        'R' => [[2.0 * third, third, third], [-third, third, third], [-third, -2.0 * third, third]],
        _ => return None,
    })
}

/// The same lattice by its shortest vectors, shortest first, right-handed (Semaev, LNCS 2146 (2001) 181).
pub fn reduced(rows: &Matrix) -> Matrix {
    let mut v = *rows;
    for _ in 0..100 {
        v.sort_by(|x, y| norm(*x).total_cmp(&norm(*y)));
        let k = (dot(v[0], v[1]) / dot(v[0], v[0])).round();
        if k != 0.0 {
            v[1] = add(v[1], v[0], -k);
            continue;
        }
        let nearest = nearest_in_plane(&v);
        let shorter = add(v[2], nearest, -1.0);
        if norm(shorter) >= norm(v[2]) * (1.0 - 1e-9) {
            break;
        }
        v[2] = shorter;
    }
    if determinant(&v) < 0.0 {
        v = v.map(|row| scale(row, -1.0));
    }
    v
}

/// The vector of the net of the first two rows that is nearest to the third.
fn nearest_in_plane(v: &Matrix) -> Vector {
    let normal = cross(v[0], v[1]);
    let coordinates = apply(&inverse(&super::matrix::transpose(&[v[0], v[1], normal])), v[2]);
    let mut best = [0.0; 3];
    let mut least = norm(v[2]);
    for i in [coordinates[0].floor(), coordinates[0].ceil()] {
        for j in [coordinates[1].floor(), coordinates[1].ceil()] {
            let point = add(scale(v[0], i), v[1], j);
            let distance = norm(add(v[2], point, -1.0));
            if distance < least * (1.0 - 1e-9) {
                (best, least) = (point, distance);
            }
        }
    }
    best
}

/// A cell as the user knows it and as the search uses it.
#[derive(Debug, Clone)]
pub struct Cell {
    /// Direct vectors of the reduced primitive cell in a standard orientation, as rows.
    pub primitive: Matrix,
    /// Conventional rows = this times primitive rows; whole numbers.
    pub to_conventional: Matrix,
    pub parameters: Parameters,
    /// The mirror image of the lattice is a rotated copy of it, so that one hand stands for both.
    pub mirrored: bool,
    /// Rotations that bring the lattice to itself: 1 triclinic, 2 monoclinic, 4, 8, 12 to 24 cubic.
    pub rotations: usize,
    /// Changes of primitive axes that nearly bring the lattice to itself, but not quite: others than the right ones.
    pub alike: Vec<Matrix>,
}

/// Indices of -1, 0 and 1 with their vectors: of a reduced lattice these are all that are as short as a cell vector, and some more.
pub fn short_vectors(rows: &Matrix) -> [(Vector, Vector); 27] {
    let columns = super::matrix::transpose(rows);
    std::array::from_fn(|n| {
        let index = [n % 3, n / 3 % 3, n / 9].map(|x| x as f64 - 1.0);
        (index, apply(&columns, index))
    })
}

/// Whole matrices that bring a reduced lattice to itself, without mirroring it: its vectors fit within this share of the longest.
fn rotations(rows: &Matrix, share: f64) -> Vec<Matrix> {
    let longest = norm(rows[2]);
    let vectors = short_vectors(rows);
    let images = |row: Vector| {
        let alike = |(_, v): &&(Vector, Vector)| (norm(*v) - norm(row)).abs() < share * longest;
        vectors.iter().filter(alike).copied().collect::<Vec<_>>()
    };
    let (first, second, third) = (images(rows[0]), images(rows[1]), images(rows[2]));
    let same = |x: f64, y: f64| (x - y).abs() < share * longest * longest;
    let mut found = Vec::new();
    for &(i, a) in &first {
        for &(j, b) in second.iter().filter(|(_, b)| same(dot(a, *b), dot(rows[0], rows[1]))) {
            let fits = |(k, c): &&(Vector, Vector)| {
                same(dot(a, *c), dot(rows[0], rows[2]))
                    && same(dot(b, *c), dot(rows[1], rows[2]))
                    && determinant(&[i, j, *k]).round() == 1.0
            };
            found.extend(third.iter().filter(fits).map(|&(k, _)| [i, j, k]));
        }
    }
    found
}

/// Changes of axes that bring a reduced lattice nearly to itself, one for each metric that comes out.
fn near_rotations(rows: &Matrix) -> Vec<Matrix> {
    let mut metrics = vec![parameters(rows)];
    let mut kept = Vec::new();
    for change in rotations(rows, NEARLY) {
        let metric = parameters(&product(&change, rows));
        let same = |other: &Parameters| (0..6).all(|i| (other[i] - metric[i]).abs() < EXACTLY * other[i]);
        if !metrics.iter().any(same) {
            metrics.push(metric);
            kept.push(change);
        }
    }
    kept
}

impl Cell {
    /// None for an impossible cell or an unknown centring.
    pub fn new(cell: &Parameters, letter: char) -> Option<Self> {
        let conventional = direct(cell)?;
        let primitive = reduced(&product(&centring(letter)?, &conventional));
        let to_conventional = product(&conventional, &inverse(&primitive)).map(|row| row.map(f64::round));
        let normal = super::matrix::unit(cross(primitive[0], primitive[1]));
        let flipped = add(primitive[2], normal, -2.0 * dot(primitive[2], normal));
        let indices = apply(&inverse(&super::matrix::transpose(&primitive)), flipped);
        let mirrored = indices.iter().all(|x| (x - x.round()).abs() < 0.01);
        let rotations = rotations(&primitive, EXACTLY).len().max(1);
        let alike = near_rotations(&primitive);
        Some(Self { primitive, to_conventional, parameters: *cell, mirrored, rotations, alike })
    }

    /// A primitive cell in the orientation of its rows.
    pub fn of(rows: &Matrix) -> Self {
        Self {
            primitive: *rows,
            to_conventional: super::matrix::IDENTITY,
            parameters: parameters(rows),
            mirrored: false,
            rotations: 1,
            alike: Vec::new(),
        }
    }

    pub fn volume(&self) -> f64 {
        determinant(&self.primitive)
    }

    /// Do direct vectors of a found primitive cell agree with the known one in lengths (a share) and angles (degrees)?
    pub fn agrees(&self, primitive: &Matrix, (length, angle): (f64, f64)) -> bool {
        let found = parameters(&product(&self.to_conventional, primitive));
        let near = |i: usize| match i {
            0..=2 => (found[i] / self.parameters[i] - 1.0).abs() <= length,
            _ => (found[i] - self.parameters[i]).abs() <= angle,
        };
        (0..6).all(near)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn impossible_cells_are_refused() {
        assert!(direct(&[79.0, 79.0, 38.0, 90.0, 90.0, 90.0]).is_some());
        for cell in [
            [0.0, 79.0, 38.0, 90.0, 90.0, 90.0],
            [79.0, -1.0, 38.0, 90.0, 90.0, 90.0],
            [79.0, 79.0, f64::NAN, 90.0, 90.0, 90.0],
            [79.0, 79.0, 38.0, 60.0, 60.0, 130.0],
            [79.0, 79.0, 38.0, 90.0, 90.0, 180.0],
        ] {
            assert!(direct(&cell).is_none(), "{cell:?}");
        }
    }

    #[test]
    fn centred_cells_have_the_known_primitive_ones() {
        let cubic = Cell::new(&[104.9, 104.9, 104.9, 90.0, 90.0, 90.0], 'I').unwrap();
        let side = 104.9 * 0.75f64.sqrt();
        assert!(parameters(&cubic.primitive)[..3].iter().all(|x| (x - side).abs() < 1e-9));
        for (letter, share) in [('P', 1.0), ('A', 2.0), ('B', 2.0), ('C', 2.0), ('I', 2.0), ('F', 4.0)] {
            let cell = Cell::new(&[61.0, 123.0, 168.0, 90.0, 90.0, 90.0], letter).unwrap();
            assert!((61.0 * 123.0 * 168.0 / cell.volume() - share).abs() < 1e-9, "{letter}");
        }
        let hexagonal = Cell::new(&[60.0, 60.0, 150.0, 90.0, 90.0, 120.0], 'R').unwrap();
        let volume = determinant(&direct(&hexagonal.parameters).unwrap());
        assert!((volume / hexagonal.volume() - 3.0).abs() < 1e-9);
    }

    #[test]
    fn one_hand_stands_for_both_where_the_longest_vector_is_upright() {
        assert!(Cell::new(&[40.0, 50.0, 60.0, 90.0, 90.0, 90.0], 'P').unwrap().mirrored);
        assert!(Cell::new(&[40.0, 50.0, 60.0, 90.0, 90.0, 100.0], 'P').unwrap().mirrored);
        assert!(!Cell::new(&[40.0, 50.0, 60.0, 90.0, 100.0, 90.0], 'P').unwrap().mirrored);
        assert!(!Cell::new(&[40.0, 50.0, 60.0, 80.0, 100.0, 95.0], 'P').unwrap().mirrored);
    }

    #[test]
    fn rotations_are_those_of_the_lattice() {
        for (cell, letter, order) in [
            ([45.0, 60.0, 75.0, 80.0, 95.0, 105.0], 'P', 1),
            ([50.0, 70.0, 90.0, 90.0, 105.0, 90.0], 'C', 2),
            ([61.4, 122.6, 168.0, 90.0, 90.0, 90.0], 'C', 4),
            ([79.0, 79.0, 38.0, 90.0, 90.0, 90.0], 'I', 8),
            ([93.0, 93.0, 130.0, 90.0, 90.0, 120.0], 'R', 6),
            ([93.0, 93.0, 130.0, 90.0, 90.0, 120.0], 'P', 12),
            ([104.9, 104.9, 104.9, 90.0, 90.0, 90.0], 'I', 24),
            ([104.9, 104.9, 104.9, 90.0, 90.0, 90.0], 'F', 24),
        ] {
            assert_eq!(Cell::new(&cell, letter).unwrap().rotations, order, "{cell:?} {letter}");
        }
    }

    #[test]
    fn other_axes_are_listed_where_they_make_nearly_the_cell() {
        for (cell, others) in [
            ([45.0, 60.0, 75.0, 80.0, 95.0, 105.0], 0),
            ([79.0, 79.0, 38.0, 90.0, 90.0, 90.0], 0),
            ([104.9, 104.9, 104.9, 90.0, 90.0, 90.0], 0),
            ([80.0, 81.0, 40.0, 90.0, 90.0, 90.0], 1),
            ([80.0, 80.0, 81.0, 90.0, 90.0, 90.0], 2),
            ([80.0, 80.7, 81.4, 90.0, 90.0, 90.0], 5),
        ] {
            assert_eq!(Cell::new(&cell, 'P').unwrap().alike.len(), others, "{cell:?}");
        }
    }

    proptest! {
        #[test]
        fn reduction_keeps_the_lattice(
            a in 20.0f64..150.0, b in 20.0f64..150.0, c in 20.0f64..150.0,
            alpha in 65.0f64..115.0, beta in 65.0f64..115.0, gamma in 65.0f64..115.0, i in -3i32..4, j in -3i32..4,
        ) {
            let rows = direct(&[a, b, c, alpha, beta, gamma]);
            prop_assume!(rows.is_some());
            let rows = rows.unwrap();
            let skewed = [rows[0], add(rows[1], rows[0], f64::from(i)), add(rows[2], rows[1], f64::from(j))];
            let (one, other) = (reduced(&rows), reduced(&skewed));
            prop_assert!((determinant(&one) / determinant(&rows) - 1.0).abs() < 1e-9);
            for k in 0..3 {
                prop_assert!((norm(one[k]) / norm(other[k]) - 1.0).abs() < 1e-6);
            }
        }
    }
}
