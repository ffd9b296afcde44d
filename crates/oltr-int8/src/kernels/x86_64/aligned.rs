//! Memory that vectors like: aligned weights, and scratch carved from bytes of any alignment.

/// Alignment of weights and scratch: a cache line, and the largest vector.
pub(crate) const ALIGN: usize = 64;

/// One aligned line of memory.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Line([u8; ALIGN]);

/// Plain numbers that start on a line of memory, with zeros after the last of them up to the end of its line.
#[derive(Debug)]
pub(crate) struct Aligned<T> {
    lines: Box<[Line]>,
    len: usize,
    element: std::marker::PhantomData<T>,
}

/// Numbers of which every pattern of bits is one.
pub(crate) trait Number: Copy {}
impl Number for u8 {}
impl Number for i8 {}
impl Number for i16 {}
impl Number for i32 {}
impl Number for f32 {}

impl<T: Number> Aligned<T> {
    /// `len` zeros.
    pub fn zeros(len: usize) -> Aligned<T> {
        let lines = (len * size_of::<T>()).div_ceil(ALIGN);
        Aligned { lines: vec![Line([0; ALIGN]); lines].into_boxed_slice(), len, element: std::marker::PhantomData }
    }

    /// The numbers that `values` yields, then zeros up to `len`.
    pub fn padded(len: usize, values: impl IntoIterator<Item = T>) -> Aligned<T> {
        let mut all = Aligned::zeros(len);
        for (to, value) in all.iter_mut().zip(values) {
            *to = value;
        }
        all
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        self.lines.len() * ALIGN
    }
}

impl<T: Number> std::ops::Deref for Aligned<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: the lines hold at least `len` numbers, are aligned for every `Number`, and were initialised; every
        // pattern of bits is a number.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl<T: Number> std::ops::DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: the lines hold at least `len` initialised numbers, aligned for every `Number`; `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

/// Bytes of scratch to ask for so that [`align`] finds `bytes` aligned ones among them.
pub(crate) const fn with_alignment(bytes: usize) -> usize {
    if bytes == 0 { 0 } else { bytes + ALIGN - 1 }
}

/// The aligned part of `scratch`.
#[inline]
pub(crate) fn align(scratch: &mut [u8]) -> &mut [u8] {
    let skip = scratch.as_ptr().align_offset(ALIGN).min(scratch.len());
    &mut scratch[skip..]
}
