//! The instruction sets that kernels stand on. A value of a type here is the proof that the processor has the
//! instructions: it is made by detection only.

/// Every aarch64 processor has these instructions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Neon;

/// The proof that the processor has dot products.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DotProduct(());

impl DotProduct {
    pub fn new() -> Option<DotProduct> {
        std::arch::is_aarch64_feature_detected!("dotprod").then_some(DotProduct(()))
    }
}

/// The proof that the processor has matrix products, and dot products for what they do not serve.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MatrixProduct(pub DotProduct);

impl MatrixProduct {
    pub fn new() -> Option<MatrixProduct> {
        let dot = DotProduct::new()?;
        std::arch::is_aarch64_feature_detected!("i8mm").then_some(MatrixProduct(dot))
    }
}
