//! Spot finding on compressed diffraction images.
//!
//! From bytes to spots: `chunk` walks the stored image, `lz4` unpacks a block, `planes` compares whole words of pixels,
//! `background` sets the thresholds (`dispersion`: the other way to tell strong pixels), `spots` groups and measures, `find` puts
//! an image together, `scan` many of them; `plan` holds what is fixed for a run, `pixel` the types of pixels, `memory` how
//! memory is held. From spots to lattices: `index`. That written images are those of the source: `compare`, `sha256`.
//! Images that never were: `simulate`.

pub mod background;
pub mod chunk;
pub mod compare;
pub mod dispersion;
pub mod find;
pub mod index;
pub mod lz4;
pub mod memory;
pub mod pixel;
pub mod plan;
pub mod planes;
pub mod scan;
pub mod sha256;
pub mod simulate;
pub mod spots;

#[cfg(feature = "python")]
mod python;
