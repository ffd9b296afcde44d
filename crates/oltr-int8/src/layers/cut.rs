//! Into how many parts layers are worth cutting. To wait for the other threads at a layer's end takes some 0.2 µs.

/// Parts of a layer that touches so many bytes once.
pub(crate) fn light(bytes: usize) -> usize {
    const BYTES_OF_A_PART: usize = 16_384;
    bytes / BYTES_OF_A_PART
}

/// Parts of a layer with some arithmetic for each of so many elements.
pub(crate) fn arithmetic(elements: usize) -> usize {
    const ELEMENTS_OF_A_PART: usize = 2048;
    elements / ELEMENTS_OF_A_PART
}

/// Parts of a layer of so many multiply-accumulates, of which each part has at least `of_a_part`.
pub(crate) fn products(macs: u64, of_a_part: u64) -> usize {
    (macs / of_a_part) as usize
}
