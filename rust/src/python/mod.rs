//! The Python face of the core; only this folder knows PyO3.

mod simulate;

use pyo3::prelude::*;

/// Compiled core of hitsieve.
#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    simulate::register(module)?;
    Ok(())
}
