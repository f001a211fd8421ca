//! Compression of records on disk.

/// How a broker stores the records that are sent to it. What was stored before
/// stays readable after a change, and every proof stays valid: the tree is over
/// uncompressed bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Compression {
    /// As they are.
    #[default]
    None,
    /// In LZ4 blocks of up to 32 KiB, where that saves room. (Kafka: `lz4`.)
    Lz4,
}
