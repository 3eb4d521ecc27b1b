//! Drawing of simulated images.
