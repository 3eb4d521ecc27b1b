//! The spot finder for Python.

use std::any::Any;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use numpy::{PyArray1, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::background::Background;
use crate::chunk::{Codec, Stored};
use crate::find::Finder;
use crate::pixel::Pixel;
use crate::plan::{Algorithm, Plan, Settings, NO_BIN};
use crate::planes::Cpu;
use crate::python::batch::PyBatch;
use crate::scan::{Batch, Place, Scan, StoredFile, Waited};

/// Calls `$body` with `$pixel` the pixel type of that name.
macro_rules! with_pixel {
    ($name:expr, $pixel:ident, $body:expr) => {
        match $name {
            "uint8" => {
                type $pixel = u8;
                $body
            }
            "int8" => {
                type $pixel = i8;
                $body
            }
            "uint16" => {
                type $pixel = u16;
                $body
            }
            "int16" => {
                type $pixel = i16;
                $body
            }
            "uint32" => {
                type $pixel = u32;
                $body
            }
            "int32" => {
                type $pixel = i32;
                $body
            }
            other => Err(PyValueError::new_err(format!(
                "dtype {other:?} is not one of int8, uint8, int16, uint16, int32, uint32"
            ))),
        }
    };
}

fn codec_named(name: &str) -> PyResult<Codec> {
    Codec::named(name).ok_or_else(|| PyValueError::new_err(format!("codec {name:?} is not one of bslz4, bszstd, lz4")))
}

/// Columns over the bins: pixels, mean, sigma, threshold.
type Profile<'py> =
    (Bound<'py, PyArray1<u64>>, Bound<'py, PyArray1<f64>>, Bound<'py, PyArray1<f64>>, Bound<'py, PyArray1<i64>>);

#[pyclass(frozen, name = "SpotFinder")]
struct PySpotFinder {
    plan: Arc<Plan>,
    dtype: String,
    /// Working memory of those who have searched one image; there is one for each that search at a time.
    idle: Mutex<Vec<Box<dyn Any + Send>>>,
}

#[pymethods]
impl PySpotFinder {
    #[new]
    #[pyo3(signature = (
        *, bins, valid, dtype, underload, saturation, error_value, background_bins, panels=None, algorithm="radial",
        snr=6.0, min_count=5, min_pixels=2, max_pixels=200, spot_snr=6.0, ring_width=3, max_spots=2000
    ))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        bins: PyReadonlyArray2<'_, u16>,
        valid: PyReadonlyArray2<'_, bool>,
        dtype: &str,
        underload: i64,
        saturation: Option<i64>,
        error_value: Option<i64>,
        background_bins: PyReadonlyArray1<'_, bool>,
        panels: Option<PyReadonlyArray2<'_, u16>>,
        algorithm: &str,
        snr: f64,
        min_count: i64,
        min_pixels: usize,
        max_pixels: usize,
        spot_snr: f64,
        ring_width: usize,
        max_spots: usize,
    ) -> PyResult<Self> {
        let algorithm = match algorithm {
            "radial" => Algorithm::Radial,
            "dispersion" => Algorithm::Dispersion,
            other => {
                return Err(PyValueError::new_err(format!("algorithm {other:?} is not one of radial, dispersion")));
            }
        };
        with_pixel!(dtype, T, PyResult::Ok(T::SIZE))?;
        let shape = (bins.shape()[0], bins.shape()[1]);
        same_shape("valid", valid.shape(), bins.shape())?;
        if let Some(panels) = &panels {
            same_shape("panels", panels.shape(), bins.shape())?;
        }
        if shape.0 * shape.1 == 0 || u32::try_from(shape.0 * shape.1).is_err() {
            return Err(PyValueError::new_err(format!(
                "an image of {} x {} pixels cannot be searched",
                shape.0, shape.1
            )));
        }
        if snr.is_nan() || spot_snr.is_nan() || min_count < 1 || min_pixels < 1 {
            return Err(PyValueError::new_err("snr and spot_snr must be numbers, min_count and min_pixels at least 1"));
        }
        if saturation.is_some_and(|limit| limit < 1) {
            return Err(PyValueError::new_err("saturation must be at least 1 count"));
        }
        let background: Vec<bool> = background_bins.as_array().to_vec();
        let (bins, valid) = (rows(&bins), rows(&valid));
        let n_bins = background.len().min(NO_BIN as usize);
        if bins.iter().zip(&valid).any(|(&bin, &valid)| valid && bin as usize >= n_bins) {
            return Err(PyValueError::new_err(format!("a bin number is not below the number of bins, {n_bins}")));
        }
        let panels = panels.map_or_else(Vec::new, |panels| rows(&panels));
        let settings = Settings {
            algorithm,
            snr,
            min_count,
            min_pixels,
            max_pixels,
            spot_snr,
            ring_width,
            max_spots,
            underload,
            saturation,
            error_value,
        };
        let plan = Arc::new(Plan::new(settings, shape, bins, &valid, panels, background));
        Ok(Self { plan, dtype: dtype.into(), idle: Mutex::default() })
    }

    #[getter]
    fn sample<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<u32>> {
        PyArray1::from_slice(py, &self.plan.sample)
    }

    fn find(&self, py: Python<'_>, image: &Bound<'_, PyAny>) -> PyResult<PyBatch> {
        with_pixel!(self.dtype.as_str(), T, {
            let pixels = self.pixels::<T>(image)?;
            let plan = &self.plan;
            PyResult::Ok(PyBatch(py.detach(|| {
                let mut batch = Batch::default();
                let found = Finder::<T>::default().find(plan, &pixels, &mut batch.spots);
                batch.close(Ok(found));
                batch
            })))
        })
    }

    /// Of each bin: pixels, mean, sigma and threshold.
    fn profile<'py>(&self, py: Python<'py>, image: &Bound<'py, PyAny>) -> PyResult<Profile<'py>> {
        with_pixel!(self.dtype.as_str(), T, {
            let pixels = self.pixels::<T>(image)?;
            let background = py.detach(|| {
                let mut background = Background::default();
                background.take(&self.plan, &pixels);
                background
            });
            let bins = &background.bins;
            PyResult::Ok((
                PyArray1::from_iter(py, bins.iter().map(|bin| bin.n)),
                PyArray1::from_iter(py, bins.iter().map(|bin| bin.mean)),
                PyArray1::from_iter(py, bins.iter().map(|bin| bin.sigma)),
                PyArray1::from_iter(py, bins.iter().map(|bin| bin.threshold)),
            ))
        })
    }

    fn find_stored(&self, py: Python<'_>, stored: &Bound<'_, PyAny>, codec: &str) -> PyResult<PyBatch> {
        let codec = codec_named(codec)?;
        let array: PyReadonlyArray1<'_, u8>;
        let stored = match stored.cast::<PyBytes>() {
            Ok(bytes) => bytes.as_bytes(),
            Err(_) => {
                array = stored
                    .extract()
                    .map_err(|_| PyTypeError::new_err("the stored image must be bytes, or a 1-D array of uint8"))?;
                array.as_slice()?
            }
        };
        with_pixel!(self.dtype.as_str(), T, {
            PyResult::Ok(PyBatch(py.detach(|| {
                // Asking the system for memory takes longer than a part of the search.
                let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
                let before = idle().pop().and_then(|finder| finder.downcast().ok());
                let mut finder: Box<Finder<T>> = before.unwrap_or_default();
                let mut batch = Batch::default();
                let stored = Stored { bytes: stored, size: stored.len(), codec };
                let found = finder.find_stored(&self.plan, stored, &mut batch.spots);
                batch.close(found.map_err(|error| error.to_string()));
                idle().push(finder);
                batch
            })))
        })
    }

    #[allow(clippy::too_many_arguments, clippy::needless_pass_by_value)]
    fn scan(
        &self,
        paths: Vec<PathBuf>,
        codecs: Vec<String>,
        file: PyReadonlyArray1<'_, i32>,
        offset: PyReadonlyArray1<'_, i64>,
        size: PyReadonlyArray1<'_, i64>,
        workers: usize,
        batch: usize,
    ) -> PyResult<PyScan> {
        if paths.len() != codecs.len() {
            return Err(PyValueError::new_err("paths and codecs differ in length"));
        }
        let (file, offset, size) = (file.as_array().to_vec(), offset.as_array().to_vec(), size.as_array().to_vec());
        if file.len() != offset.len() || file.len() != size.len() {
            return Err(PyValueError::new_err("file, offset and size differ in length"));
        }
        let files = paths
            .into_iter()
            .zip(&codecs)
            .map(|(path, codec)| Ok(StoredFile { path, codec: codec_named(codec)? }))
            .collect::<PyResult<Vec<_>>>()?;
        let places = file
            .into_iter()
            .zip(offset)
            .zip(size)
            .map(|((file, offset), size)| {
                let file = u32::try_from(file).ok();
                match (u64::try_from(offset), usize::try_from(size)) {
                    (Ok(offset), Ok(size)) if file.is_none_or(|file| (file as usize) < files.len()) => {
                        Ok(Place { file, offset, size })
                    }
                    _ => Err(PyValueError::new_err("a file number, offset or size is out of range")),
                }
            })
            .collect::<PyResult<Vec<_>>>()?;
        let plan = Arc::clone(&self.plan);
        let scan = with_pixel!(self.dtype.as_str(), T, Ok(Scan::start::<T>(plan, files, places, workers, batch)?))?;
        Ok(PyScan(Mutex::new(Some(scan))))
    }
}

impl PySpotFinder {
    /// The pixels of an image that fits the finder.
    fn pixels<T: Pixel + numpy::Element>(&self, image: &Bound<'_, PyAny>) -> PyResult<Vec<T>> {
        let image: PyReadonlyArray2<'_, T> = image
            .extract()
            .map_err(|_| PyValueError::new_err(format!("the image must be a 2-D array of {}", self.dtype)))?;
        let (slow, fast) = self.plan.shape;
        same_shape("image", image.shape(), &[slow, fast])?;
        Ok(rows(&image))
    }
}

fn same_shape(what: &str, shape: &[usize], expected: &[usize]) -> PyResult<()> {
    if shape == expected {
        return Ok(());
    }
    Err(PyValueError::new_err(format!("{what} has shape {shape:?}, bins {expected:?}")))
}

fn rows<T: numpy::Element + Copy>(array: &PyReadonlyArray2<'_, T>) -> Vec<T> {
    let view = array.as_array();
    view.as_slice().map_or_else(|| view.iter().copied().collect(), <[T]>::to_vec)
}

#[pyclass(frozen, name = "Scan")]
struct PyScan(Mutex<Option<Scan>>);

#[pymethods]
impl PyScan {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<PyBatch>> {
        loop {
            let waited = py.detach(|| {
                let mut scan = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                let waited = match scan.as_ref() {
                    Some(scan) => scan.wait(Duration::from_millis(100)),
                    None => Ok(Waited::Finished),
                };
                if !matches!(waited, Ok(Waited::Batch(_) | Waited::NotYet)) {
                    *scan = None;
                }
                waited
            });
            match waited {
                Ok(Waited::Batch(batch)) => return Ok(Some(PyBatch(batch))),
                Ok(Waited::Finished) => return Ok(None),
                Ok(Waited::NotYet) => py.check_signals()?,
                Err(failure) => return Err(PyRuntimeError::new_err(format!("the spot finder failed: {failure}"))),
            }
        }
    }

    /// Stops the workers.
    fn close(&self, py: Python<'_>) {
        py.detach(|| drop(self.0.lock().unwrap_or_else(PoisonError::into_inner).take()));
    }
}

#[pyfunction]
fn cpu_features() -> &'static str {
    Cpu::detect().name()
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PySpotFinder>()?;
    module.add_class::<PyBatch>()?;
    module.add_class::<PyScan>()?;
    module.add_function(wrap_pyfunction!(cpu_features, module)?)
}
