//! The Python face of the core; only this folder knows PyO3.

mod batch;
mod compare;
mod finder;
mod index;
mod searches;
mod simulate;

use pyo3::prelude::*;

/// Holds memory that is free, so that images that come and go do not need to ask the system for it.
#[pyfunction]
fn hold_memory() {
    crate::memory::hold();
}

/// Compiled core of hitsieve.
#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    compare::register(module)?;
    finder::register(module)?;
    index::register(module)?;
    simulate::register(module)?;
    module.add_function(wrap_pyfunction!(hold_memory, module)?)
}
