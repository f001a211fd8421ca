//! Random streams, one for each concern, so that switching one fault off does
//! not move all the others.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// The generator behind every stream: the same on every platform and in every
/// release of this crate.
pub type Stream = ChaCha8Rng;

/// The stream of one concern under a seed.
pub fn stream(seed: u64, concern: &str) -> Stream {
    let mut name = crate::disk::Digest::new();
    name.bytes(concern.as_bytes());
    let mut key = [0; 32];
    let words = [seed, name.value(), !seed, name.value().rotate_left(32)];
    for (to, from) in key.iter_mut().zip(words.into_iter().flat_map(u64::to_le_bytes)) {
        *to = from;
    }
    ChaCha8Rng::from_seed(key)
}

/// Bytes that look random and are a function of `seed` alone (`SplitMix64`), so
/// that garbage can be named by a number in a survivor list.
pub fn garbage(seed: u64, len: usize) -> Vec<u8> {
    garbage_words(seed).flatten().take(len).collect()
}

/// The same eight bytes at a time, without an end.
pub(crate) fn garbage_words(seed: u64) -> impl Iterator<Item = [u8; 8]> + use<> {
    let words = (1..).map(move |index: u64| {
        let mut word = seed.wrapping_add(index.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    });
    words.map(u64::to_le_bytes)
}
