//! The Python face of the core; only this folder knows PyO3.

mod batch;
mod finder;
mod index;
mod simulate;

use pyo3::prelude::*;

/// Compiled core of hitsieve.
#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    finder::register(module)?;
    index::register(module)?;
    simulate::register(module)?;
    Ok(())
}
