//! Hashes, and the comparison of stored chunks, for Python.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use numpy::{PyArray1, PyReadonlyArray1};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

use crate::compare::{Compared, Comparison, Pair};
use crate::sha256::{self, Kernel};

/// SHA-256 of each.
#[pyfunction]
#[allow(clippy::needless_pass_by_value)]
fn sha256_all(py: Python<'_>, things: Vec<PyBackedBytes>) -> Vec<Py<PyBytes>> {
    let digests = py.detach(|| {
        let slices: Vec<&[u8]> = things.iter().map(|bytes| &bytes[..]).collect();
        sha256::sha256_all(Kernel::detect(), &slices)
    });
    digests.iter().map(|digest| PyBytes::new(py, digest).unbind()).collect()
}

/// Whether the processor has instructions for SHA-256.
#[pyfunction]
fn hashes_fast() -> bool {
    Kernel::detect() == Kernel::Instructions
}

#[pyclass(frozen, name = "Comparison")]
struct PyComparison(Mutex<Comparison>);

#[pymethods]
impl PyComparison {
    #[new]
    #[allow(clippy::needless_pass_by_value)]
    fn new(
        path: PathBuf,
        offset: PyReadonlyArray1<'_, i64>,
        size: PyReadonlyArray1<'_, i64>,
        sources: Vec<PathBuf>,
        source: PyReadonlyArray1<'_, i32>,
        source_offset: PyReadonlyArray1<'_, i64>,
    ) -> PyResult<Self> {
        let (offset, size) = (offset.as_array(), size.as_array());
        let (source, source_offset) = (source.as_array(), source_offset.as_array());
        if [size.len(), source.len(), source_offset.len()] != [offset.len(); 3] {
            return Err(PyValueError::new_err("offset, size, source and source_offset differ in length"));
        }
        let wrong = || PyValueError::new_err("a file number, offset or size is out of range");
        let pairs = (0..offset.len())
            .map(|i| {
                Some(Pair {
                    offset: u64::try_from(offset[i]).ok()?,
                    size: usize::try_from(size[i]).ok()?,
                    source: u32::try_from(source[i]).ok()?,
                    source_offset: u64::try_from(source_offset[i]).ok()?,
                })
            })
            .collect::<Option<Vec<_>>>()
            .ok_or_else(wrong)?;
        Ok(Self(Mutex::new(Comparison::start(&path, pairs, sources, Kernel::detect())?)))
    }

    /// Of the next chunks, at most n: whether each is that of the source, and the hashes, one after the other.
    fn take<'py>(&self, py: Python<'py>, n: usize) -> PyResult<(Bound<'py, PyArray1<bool>>, Bound<'py, PyBytes>)> {
        let found = py.detach(|| {
            let mut comparison = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let mut found = Vec::new();
            while found.len() < n {
                match comparison.next_chunk()? {
                    Some(compared) => found.push(compared),
                    None => break,
                }
            }
            std::io::Result::<Vec<Compared>>::Ok(found)
        })?;
        let same = PyArray1::from_iter(py, found.iter().map(|compared| compared.same));
        let digests: Vec<u8> = found.iter().flat_map(|compared| compared.digest).collect();
        Ok((same, PyBytes::new(py, &digests)))
    }

    /// SHA-256 of the whole file, read to its end.
    fn finish<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let digest = py.detach(|| self.0.lock().unwrap_or_else(PoisonError::into_inner).finish())?;
        Ok(PyBytes::new(py, &digest))
    }
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyComparison>()?;
    module.add_function(wrap_pyfunction!(sha256_all, module)?)?;
    module.add_function(wrap_pyfunction!(hashes_fast, module)?)
}
