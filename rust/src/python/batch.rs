//! The results of images for Python, as columns.

use std::collections::BTreeMap;

use numpy::PyArray1;
use pyo3::prelude::*;

use crate::find::Found;
use crate::scan::Batch;
use crate::spots::Spot;

#[pyclass(frozen, name = "Batch")]
pub struct PyBatch(pub Batch);

impl PyBatch {
    fn images<'py, T: numpy::Element + Copy>(
        &self,
        py: Python<'py>,
        failed: T,
        of: impl Fn(&Found) -> T,
    ) -> Bound<'py, PyArray1<T>> {
        PyArray1::from_iter(py, self.0.images.iter().map(|image| image.as_ref().map_or(failed, &of)))
    }

    fn spots<'py, T: numpy::Element>(&self, py: Python<'py>, of: impl Fn(&Spot) -> T) -> Bound<'py, PyArray1<T>> {
        PyArray1::from_iter(py, self.0.spots.iter().map(of))
    }
}

fn count(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

#[pymethods]
impl PyBatch {
    fn __len__(&self) -> usize {
        self.0.images.len()
    }

    #[getter]
    fn reasons(&self) -> BTreeMap<usize, String> {
        let failed = self.0.images.iter().enumerate();
        failed.filter_map(|(i, image)| image.as_ref().err().map(|why| (i, why.clone()))).collect()
    }

    #[getter]
    fn n_spots<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i32>> {
        self.images(py, -1, |found| count(found.n_spots))
    }

    #[getter]
    fn n_strong<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i32>> {
        self.images(py, -1, |found| count(found.n_strong))
    }

    #[getter]
    fn n_saturated<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i32>> {
        self.images(py, -1, |found| count(found.n_saturated))
    }

    #[getter]
    fn max_count<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i64>> {
        self.images(py, -1, |found| found.largest)
    }

    #[getter]
    fn background<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f32>> {
        self.images(py, f32::NAN, |found| found.background as f32)
    }

    #[getter]
    fn offsets<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i64>> {
        PyArray1::from_iter(py, std::iter::once(0).chain(self.0.ends.iter().map(|&end| end as i64)))
    }

    #[getter]
    fn x<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f32>> {
        self.spots(py, |spot| spot.x as f32)
    }

    #[getter]
    fn y<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f32>> {
        self.spots(py, |spot| spot.y as f32)
    }

    #[getter]
    fn intensity<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f32>> {
        self.spots(py, |spot| spot.intensity as f32)
    }

    #[getter]
    fn spot_background<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f32>> {
        self.spots(py, |spot| spot.background as f32)
    }

    #[getter]
    fn snr<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f32>> {
        self.spots(py, |spot| spot.snr as f32)
    }

    #[getter]
    fn n_pixels<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i32>> {
        self.spots(py, |spot| spot.n_pixels as i32)
    }

    #[getter]
    fn peak<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f32>> {
        self.spots(py, |spot| spot.peak as f32)
    }

    #[getter]
    fn flags<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<u8>> {
        self.spots(py, |spot| spot.flags)
    }
}
