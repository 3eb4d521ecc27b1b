//! Simulated images for Python.

use numpy::{Element, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;

use crate::pixel::Pixel;
use crate::simulate::{Painter, Spot, LEVELS};

/// Draws simulated images of one detector; immutable, safe to share between threads.
#[pyclass(frozen)]
struct ImagePainter {
    painter: Painter,
    shape: [usize; 2],
}

struct Scene {
    seed: u64,
    means: Vec<f64>,
    spots: Vec<Spot>,
    extra: Vec<(usize, i64)>,
}

#[pymethods]
impl ImagePainter {
    #[new]
    #[pyo3(signature = (*, levels, blind_value, most))]
    fn new(levels: PyReadonlyArray2<'_, u16>, blind_value: i64, most: i64) -> PyResult<Self> {
        let shape = [levels.shape()[0], levels.shape()[1]];
        let painter = Painter::new(levels.as_array().iter().copied().collect(), shape[1], blind_value, most);
        Ok(Self { painter, shape })
    }

    fn paint<'py>(
        &self,
        out: &Bound<'py, PyAny>,
        seed: u64,
        means: PyReadonlyArray1<'py, f64>,
        spots: PyReadonlyArray2<'py, f64>,
        extra: PyReadonlyArray2<'py, i64>,
    ) -> PyResult<Bound<'py, PyArray1<u32>>> {
        let scene = Scene::new(seed, &means, &spots, &extra)?;
        macro_rules! try_types {
            ($($type:ty),*) => {$(
                if let Ok(array) = out.cast::<PyArray2<$type>>() {
                    return self.paint_into(array, &scene);
                }
            )*};
        }
        try_types!(i16, u16, i32, u32, i8, u8);
        Err(PyTypeError::new_err("out must be a two-dimensional array of 8, 16 or 32-bit integers"))
    }
}

impl Scene {
    fn new(
        seed: u64,
        means: &PyReadonlyArray1<'_, f64>,
        spots: &PyReadonlyArray2<'_, f64>,
        extra: &PyReadonlyArray2<'_, i64>,
    ) -> PyResult<Self> {
        if spots.shape()[1] != 4 || extra.shape()[1] != 2 {
            return Err(PyValueError::new_err("spots must have 4 columns and extra 2"));
        }
        let means: Vec<f64> = means.as_array().iter().copied().collect();
        if means.len() >= LEVELS || means.iter().any(|m| !(0.0..=1e8).contains(m)) {
            return Err(PyValueError::new_err("means must be fewer than 2048 numbers from 0 to 1e8"));
        }
        let spots = spots.as_array();
        let extra = extra.as_array();
        Ok(Self {
            seed,
            means,
            spots: spots
                .rows()
                .into_iter()
                .map(|r| Spot { x: r[0], y: r[1], sigma: r[2], photons: r[3].max(0.0) as u64 })
                .collect(),
            extra: extra.rows().into_iter().map(|r| (r[0].max(0) as usize, r[1])).collect(),
        })
    }
}

impl ImagePainter {
    fn paint_into<'py, T: Pixel + Element>(
        &self,
        out: &Bound<'py, PyArray2<T>>,
        scene: &Scene,
    ) -> PyResult<Bound<'py, PyArray1<u32>>> {
        if out.shape() != self.shape {
            return Err(PyValueError::new_err("out has not the detector's shape"));
        }
        let py = out.py();
        let mut array = out.try_readwrite().map_err(|error| PyValueError::new_err(error.to_string()))?;
        let pixels = array.as_slice_mut().map_err(|_| PyValueError::new_err("out is not contiguous"))?;
        let landed = py.detach(|| self.painter.paint(pixels, scene.seed, &scene.means, &scene.spots, &scene.extra));
        Ok(PyArray1::from_vec(py, landed))
    }
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<ImagePainter>()?;
    Ok(())
}
