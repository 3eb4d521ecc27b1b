//! Behaviour of the compiled core through its public face. One binary, so that it is linked once.

mod background;
mod case;
mod compare;
mod hostile;
mod paths;
mod scan;
mod sha256;
mod spots;
mod stored;
