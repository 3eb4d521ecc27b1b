//! Vectors and 3 x 3 matrices, as far as lattices need them.

pub type Vector = [f64; 3];
/// Rows of three.
pub type Matrix = [Vector; 3];

pub const IDENTITY: Matrix = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];

pub fn dot(a: Vector, b: Vector) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

pub fn cross(a: Vector, b: Vector) -> Vector {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

pub fn norm(a: Vector) -> f64 {
    dot(a, a).sqrt()
}

pub fn scale(a: Vector, factor: f64) -> Vector {
    a.map(|x| x * factor)
}

/// `a + factor * b`
pub fn add(a: Vector, b: Vector, factor: f64) -> Vector {
    [a[0] + factor * b[0], a[1] + factor * b[1], a[2] + factor * b[2]]
}

pub fn unit(a: Vector) -> Vector {
    scale(a, 1.0 / norm(a))
}

/// Matrix times column.
pub fn apply(m: &Matrix, v: Vector) -> Vector {
    [dot(m[0], v), dot(m[1], v), dot(m[2], v)]
}

pub fn transpose(m: &Matrix) -> Matrix {
    std::array::from_fn(|i| std::array::from_fn(|j| m[j][i]))
}

pub fn product(a: &Matrix, b: &Matrix) -> Matrix {
    let columns = transpose(b);
    std::array::from_fn(|i| std::array::from_fn(|j| dot(a[i], columns[j])))
}

pub fn determinant(m: &Matrix) -> f64 {
    dot(m[0], cross(m[1], m[2]))
}

/// Inverse; not finite where there is none.
pub fn inverse(m: &Matrix) -> Matrix {
    let volume = determinant(m);
    let columns = [cross(m[1], m[2]), cross(m[2], m[0]), cross(m[0], m[1])];
    transpose(&columns.map(|column| scale(column, 1.0 / volume)))
}

/// The rotation nearest to a matrix that is nearly one (Higham, SIAM J. Sci. Stat. Comput. 7 (1986) 1160).
pub fn nearest_rotation(m: &Matrix) -> Matrix {
    let mut x = *m;
    for _ in 0..8 {
        let other = transpose(&inverse(&x));
        let next: Matrix = std::array::from_fn(|i| std::array::from_fn(|j| 0.5 * (x[i][j] + other[i][j])));
        let change: f64 = (0..3).map(|i| norm(add(next[i], x[i], -1.0))).sum();
        x = next;
        if change < 1e-10 {
            break;
        }
    }
    x
}

/// Two unit vectors that stand upright on `axis` (a unit vector) and on each other.
pub fn upright(axis: Vector) -> (Vector, Vector) {
    let helper = if axis[0].abs() < 0.6 { [1.0, 0.0, 0.0] } else { [0.0, 1.0, 0.0] };
    let first = unit(cross(axis, helper));
    (first, cross(axis, first))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn nearest_rotation_undoes_a_small_strain(angle in -3.0f64..3.0, x in -1.0f64..1.0, y in -1.0f64..1.0,
                                                  strain in prop::array::uniform9(-0.02f64..0.02)) {
            let axis = unit([x, y, 0.7]);
            let (e1, e2) = upright(axis);
            let (s, c) = angle.sin_cos();
            let from = [e1, e2, axis];
            let to = [add(scale(e1, c), e2, s), add(scale(e2, c), e1, -s), axis];
            let rotation = product(&transpose(&to), &from);
            let stretch: Matrix = std::array::from_fn(|i| std::array::from_fn(|j| {
                IDENTITY[i][j] + strain[3 * i.min(j) + i.max(j)]
            }));
            let found = nearest_rotation(&product(&rotation, &stretch));
            for i in 0..3 {
                for j in 0..3 {
                    prop_assert!((found[i][j] - rotation[i][j]).abs() < 1e-9);
                }
            }
        }
    }

    #[test]
    fn inverse_times_matrix_is_one() {
        let m = [[4.0, 1.0, -2.0], [0.5, 3.0, 1.0], [-1.0, 2.0, 5.0]];
        let one = product(&inverse(&m), &m);
        for i in 0..3 {
            for j in 0..3 {
                assert!((one[i][j] - IDENTITY[i][j]).abs() < 1e-12);
            }
        }
    }
}
