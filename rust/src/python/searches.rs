//! Indexing of many images together, for Python: their trials are made elsewhere.

use numpy::ndarray::Array2;
use numpy::{PyArray1, PyArray2, PyReadonlyArray1, PyReadonlyArray2, ToPyArray};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::index::PyFound;
use crate::index::matrix::Vector;
use crate::index::scan::golden_turns;
use crate::index::trials::{Answer, Directions, Question, Turns, Wanted};
use crate::index::{Lattice, Search};

/// Images for which it pays to start a thread.
const FEWEST: usize = 4;

/// The search of one image, and how far it is.
struct Image {
    search: Search,
    waits: Option<Question>,
    found: Option<Vec<Lattice>>,
}

impl Image {
    fn go_on(&mut self) {
        if self.waits.is_none() && self.found.is_none() {
            self.found = self.search.go_on();
            self.waits = self.search.desk().take();
        }
    }

    fn answer(&mut self, answer: Answer) {
        self.waits = None;
        self.search.desk().answer(answer);
    }
}

/// A question of an image, by its number, and what it wants.
type Asked<'a, T> = (usize, &'a Question, &'a T);

fn asked<'a, T>(images: &'a [Image], kind: impl Fn(&'a Wanted) -> Option<&'a T>) -> Vec<Asked<'a, T>> {
    let waiting = images.iter().enumerate().filter_map(|(i, image)| Some((i, image.waits.as_ref()?)));
    waiting.filter_map(|(i, question)| Some((i, question, kind(&question.wanted)?))).collect()
}

/// Where each of some lists begins that follow on one another, and the last ends.
fn ends(lengths: impl Iterator<Item = usize>) -> Vec<i64> {
    let mut ends = vec![0];
    for n in lengths {
        ends.push(ends[ends.len() - 1] + n as i64);
    }
    ends
}

fn table<'py, const N: usize>(py: Python<'py>, rows: &[[f64; N]]) -> Bound<'py, PyArray2<f64>> {
    Array2::from_shape_fn((rows.len(), N), |(i, j)| rows[i][j]).to_pyarray(py)
}

/// Columns that trials of both kinds have.
fn columns<'py, T>(py: Python<'py>, asked: &[Asked<'_, T>]) -> PyResult<Bound<'py, PyDict>> {
    let all = PyDict::new(py);
    let spots: Vec<Vector> = asked.iter().flat_map(|(_, question, _)| question.spots.iter().copied()).collect();
    all.set_item("images", PyArray1::from_iter(py, asked.iter().map(|(i, ..)| *i as i64)))?;
    all.set_item("spots_from", ends(asked.iter().map(|(_, question, _)| question.spots.len())).to_pyarray(py))?;
    all.set_item("spots", table(py, &spots))?;
    Ok(all)
}

/// Axis, middle and upright vectors of a ring.
fn ring(wanted: &Turns, axis: Vector) -> [f64; 12] {
    let ring = wanted.ring(axis);
    let all = [axis, ring.middle, ring.e1, ring.e2];
    std::array::from_fn(|i| all[i / 3][i % 3])
}

#[pyclass(frozen, name = "CellSearches")]
pub struct PyCellSearches(Mutex<Vec<Image>>);

impl PyCellSearches {
    pub fn new(searches: Vec<Search>) -> Self {
        let image = |search| Image { search, waits: None, found: None };
        Self(Mutex::new(searches.into_iter().map(image).collect()))
    }

    fn images(&self) -> MutexGuard<'_, Vec<Image>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl PyCellSearches {
    fn go_on(&self, py: Python<'_>, workers: usize) {
        py.detach(|| {
            let mut images = self.images();
            let most = images.len().div_ceil(FEWEST).min(workers);
            let left = Mutex::new(images.iter_mut());
            let next = || left.lock().unwrap_or_else(PoisonError::into_inner).next();
            // Searches differ much in length: who has done one takes the next.
            let work = || {
                while let Some(image) = next() {
                    image.go_on();
                }
            };
            std::thread::scope(|scope| {
                for _ in 1..most {
                    // A system that has no more threads to give leaves it to those that there are.
                    if std::thread::Builder::new().spawn_scoped(scope, work).is_err() {
                        break;
                    }
                }
                work();
            });
        });
    }

    fn first<'py>(&self, py: Python<'py>) -> PyResult<Option<(f64, Bound<'py, PyDict>)>> {
        let images = self.images();
        let asked: Vec<Asked<'_, Directions>> = asked(&images, |wanted| match wanted {
            Wanted::First(wanted) => Some(wanted),
            Wanted::Second(_) => None,
        });
        let Some((_, _, one)) = asked.first() else { return Ok(None) };
        let all = columns(py, &asked)?;
        let kept = asked.iter().map(|(.., wanted)| wanted.keep.min(wanted.n) as i64);
        all.set_item("n_directions", PyArray1::from_iter(py, asked.iter().map(|(.., wanted)| wanted.n as i64)))?;
        all.set_item("wanted", PyArray1::from_iter(py, kept))?;
        Ok(Some((one.length, all)))
    }

    #[allow(clippy::needless_pass_by_value)]
    fn answer_first(
        &self,
        images: PyReadonlyArray1<'_, i64>,
        begin: PyReadonlyArray1<'_, i64>,
        keys: PyReadonlyArray1<'_, u64>,
        scores: PyReadonlyArray1<'_, f64>,
        moved: PyReadonlyArray2<'_, f64>,
    ) {
        let (keys, scores, moved) = (keys.as_array(), scores.as_array(), moved.as_array());
        let begin = begin.as_array();
        let mut all = self.images();
        for (k, &image) in images.as_array().iter().enumerate() {
            let mut order: Vec<usize> = (begin[k] as usize..begin[k + 1] as usize).collect();
            order.sort_unstable_by(|&i, &j| keys[j].cmp(&keys[i]));
            let scored = |&i: &usize| (scores[i] as f32, [moved[[i, 0]], moved[[i, 1]], moved[[i, 2]]]);
            all[image as usize].answer(Answer::First(order.iter().map(scored).collect()));
        }
    }

    fn second<'py>(&self, py: Python<'py>) -> PyResult<Option<(f64, Bound<'py, PyDict>)>> {
        let images = self.images();
        let asked: Vec<Asked<'_, Turns>> = asked(&images, |wanted| match wanted {
            Wanted::First(_) => None,
            Wanted::Second(wanted) => Some(wanted),
        });
        let Some((_, _, one)) = asked.first() else { return Ok(None) };
        let all = columns(py, &asked)?;
        let wanted = || asked.iter().map(|(.., wanted)| wanted);
        let rings: Vec<_> = wanted().flat_map(|w| w.axes.iter().map(|&axis| ring(w, axis))).collect();
        let angles: Vec<_> = wanted().flat_map(|w| w.angles().into_iter().map(|(c, s)| [c, s])).collect();
        all.set_item("axes_from", ends(wanted().map(|w| w.axes.len())).to_pyarray(py))?;
        all.set_item("rings", table(py, &rings))?;
        all.set_item("angles_from", ends(wanted().map(|w| w.n)).to_pyarray(py))?;
        all.set_item("angles", table(py, &angles))?;
        Ok(Some((one.length, all)))
    }

    #[allow(clippy::needless_pass_by_value)]
    fn answer_second(
        &self,
        images: PyReadonlyArray1<'_, i64>,
        begin: PyReadonlyArray1<'_, i64>,
        scores: PyReadonlyArray2<'_, f32>,
        numbers: PyReadonlyArray2<'_, i32>,
    ) {
        let (begin, scores, numbers) = (begin.as_array(), scores.as_array(), numbers.as_array());
        let axis = |i: usize| {
            let found = scores.row(i).into_iter().zip(numbers.row(i));
            found.filter_map(|(&score, &number)| Some((score, usize::try_from(number).ok()?))).collect()
        };
        let mut all = self.images();
        for (k, &image) in images.as_array().iter().enumerate() {
            let axes = (begin[k] as usize..begin[k + 1] as usize).map(axis).collect();
            all[image as usize].answer(Answer::Second(axes));
        }
    }

    fn found(&self) -> Vec<Vec<PyFound>> {
        let found = |image: &Image| image.found.iter().flatten().cloned().map(PyFound).collect();
        self.images().iter().map(found).collect()
    }
}

/// Cosine and sine of the first `n` turns by the golden angle.
#[pyfunction]
#[pyo3(name = "golden_turns")]
fn turns(py: Python<'_>, n: usize) -> Bound<'_, PyArray2<f64>> {
    table(py, &golden_turns().take(n).map(|(c, s)| [c, s]).collect::<Vec<_>>())
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyCellSearches>()?;
    module.add_function(wrap_pyfunction!(turns, module)?)
}
