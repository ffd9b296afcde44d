//! Constants, which lie in the program and not in the arena.

/// The elements of a tensor.
#[derive(Debug)]
pub(crate) enum Constant {
    /// Bytes as they lie in memory.
    Bytes(Vec<u8>),
    /// f32 values.
    F32(Vec<f32>),
}

impl Constant {
    /// The bytes in memory.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Constant::Bytes(bytes) => bytes,
            Constant::F32(values) => bytemuck::cast_slice(values),
        }
    }
}
