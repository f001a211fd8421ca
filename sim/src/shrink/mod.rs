//! Makes a failing scenario small.

mod resolve;

pub use resolve::resolve;
