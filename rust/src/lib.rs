//! Spot finding on compressed diffraction images.

pub mod simulate;

#[cfg(feature = "python")]
mod python;
