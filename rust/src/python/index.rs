//! Indexing for Python.

use numpy::ndarray::Array2;
use numpy::{PyArray1, PyArray2, PyReadonlyArray2, PyUntypedArrayMethods, ToPyArray};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::searches::PyCellSearches;
use crate::index::cell::Cell;
use crate::index::matrix::Vector;
use crate::index::{self, Acceptance, Lattice, Search};
use std::sync::Arc;

fn vectors(q: &PyReadonlyArray2<'_, f64>) -> PyResult<Vec<Vector>> {
    if q.shape()[1] != 3 {
        return Err(PyValueError::new_err(format!("q has shape {:?}, not (n, 3)", q.shape())));
    }
    Ok(q.as_array().rows().into_iter().map(|row| [row[0], row[1], row[2]]).collect())
}

#[pyclass(frozen, name = "CellIndexer")]
struct PyCellIndexer {
    cell: Arc<Cell>,
    accept: Acceptance,
}

#[pymethods]
impl PyCellIndexer {
    #[new]
    #[pyo3(signature = (
        cell, centring, *, min_spots, min_fraction, max_chance, max_lattices, length_tolerance, angle_tolerance
    ))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        cell: [f64; 6],
        centring: char,
        min_spots: usize,
        min_fraction: f64,
        max_chance: f64,
        max_lattices: usize,
        length_tolerance: f64,
        angle_tolerance: f64,
    ) -> PyResult<Self> {
        let cell = Cell::new(&cell, centring)
            .ok_or_else(|| PyValueError::new_err(format!("no crystal has the cell {cell:?} {centring}")))?;
        let accept =
            Acceptance { min_spots, min_fraction, max_chance, max_lattices, length_tolerance, angle_tolerance };
        Ok(Self { cell: Arc::new(cell), accept })
    }

    #[allow(clippy::needless_pass_by_value)]
    fn index(&self, py: Python<'_>, q: PyReadonlyArray2<'_, f64>) -> PyResult<Vec<PyFound>> {
        let spots = vectors(&q)?;
        Ok(py.detach(|| index::index_known(&self.cell, &spots, &self.accept).into_iter().map(PyFound).collect()))
    }

    #[allow(clippy::needless_pass_by_value)]
    fn begin(&self, q: Vec<PyReadonlyArray2<'_, f64>>) -> PyResult<PyCellSearches> {
        let search = |q| Ok(Search::new(Arc::clone(&self.cell), vectors(q)?, self.accept));
        Ok(PyCellSearches::new(q.iter().map(search).collect::<PyResult<_>>()?))
    }
}

#[pyclass(frozen, name = "FoundLattice")]
pub struct PyFound(pub Lattice);

#[pymethods]
impl PyFound {
    #[getter]
    fn reciprocal<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray2<f64>> {
        Array2::from_shape_fn((3, 3), |(i, j)| self.0.reciprocal[i][j]).to_pyarray(py)
    }

    #[getter]
    fn cell(&self) -> [f64; 6] {
        self.0.cell
    }

    #[getter]
    fn spots<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i64>> {
        PyArray1::from_iter(py, self.0.spots.iter().map(|&i| i as i64))
    }

    #[getter]
    fn hkl<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray2<i32>> {
        Array2::from_shape_fn((self.0.hkl.len(), 3), |(i, j)| self.0.hkl[i][j]).to_pyarray(py)
    }

    #[getter]
    fn residual(&self) -> f64 {
        self.0.residual
    }

    #[getter]
    fn chance(&self) -> f64 {
        self.0.chance
    }
}

#[pyfunction]
#[pyo3(signature = (q, *, min_spots, min_fraction, max_chance, min_length, max_length))]
#[allow(clippy::needless_pass_by_value)]
fn index_unknown(
    py: Python<'_>,
    q: PyReadonlyArray2<'_, f64>,
    min_spots: usize,
    min_fraction: f64,
    max_chance: f64,
    min_length: f64,
    max_length: f64,
) -> PyResult<Option<PyFound>> {
    let spots = vectors(&q)?;
    // Tolerances to a known cell do not apply.
    let accept = Acceptance {
        min_spots,
        min_fraction,
        max_chance,
        max_lattices: 1,
        length_tolerance: f64::INFINITY,
        angle_tolerance: f64::INFINITY,
    };
    Ok(py.detach(|| index::index_unknown(&spots, &accept, (min_length, max_length)).map(PyFound)))
}

/// Cell, members and their cells in its setting, of the largest group of like cells.
#[pyfunction]
#[allow(clippy::type_complexity)]
fn consensus_cell(
    py: Python<'_>,
    cells: Vec<[f64; 6]>,
    length_tolerance: f64,
    angle_tolerance: f64,
) -> Option<([f64; 6], Vec<usize>, Vec<[f64; 6]>)> {
    let found = py.detach(|| index::unknown::consensus(&cells, length_tolerance, angle_tolerance))?;
    Some((found.cell, found.members, found.cells))
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyCellIndexer>()?;
    module.add_class::<PyFound>()?;
    super::searches::register(module)?;
    module.add_function(wrap_pyfunction!(index_unknown, module)?)?;
    module.add_function(wrap_pyfunction!(consensus_cell, module)?)
}
