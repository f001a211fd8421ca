//! Randomness from a seed, in the place of the operating system's.

use crate::random::{Stream, stream};
use merkql::env::Entropy;
use rand::Rng;
use std::io;
use std::sync::{Mutex, PoisonError};

/// An [`Entropy`] whose bytes repeat with its seed.
#[derive(Debug)]
pub struct SimEntropy(Mutex<Stream>);

impl SimEntropy {
    /// The bytes that belong to `seed`.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(stream(seed, "entropy")))
    }
}

impl Entropy for SimEntropy {
    fn fill(&self, buf: &mut [u8]) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(buf);
        Ok(())
    }
}
