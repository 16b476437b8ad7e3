//! What the fuzz targets in `fuzz/` run, and the tests that run their corpora again. Not part of a normal build.
//!
//! Each target takes any bytes and panics where a promise is broken. An input that once broke one stays in its corpus.

pub mod admin;
pub mod config;
pub mod decoder;
pub mod injector;
pub mod sql;
pub mod tape;

#[cfg(test)]
mod corpus;

pub use decoder::{http1, postgres, redis};
