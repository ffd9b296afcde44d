//! The instruction sets that kernels stand on. A value of a type here is the proof that the processor has the
//! instructions: it is made by detection only.

/// The proof that the processor has AVX2.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx2(());

impl Avx2 {
    pub fn new() -> Option<Avx2> {
        is_x86_feature_detected!("avx2").then_some(Avx2(()))
    }
}

/// The proof that the processor has AVX-VNNI.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AvxVnni(Avx2);

impl AvxVnni {
    pub fn new() -> Option<AvxVnni> {
        is_x86_feature_detected!("avxvnni").then(Avx2::new).flatten().map(AvxVnni)
    }
}

/// The proof that the processor has AVX-512-VNNI, with AVX-512-BW.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx512Vnni(Avx2);

impl Avx512Vnni {
    pub fn new() -> Option<Avx512Vnni> {
        let all = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vnni");
        all.then(Avx2::new).flatten().map(Avx512Vnni)
    }
}

/// What stands on AVX2 and more.
pub(crate) trait WithAvx2 {
    /// The proof that AVX2 is there.
    fn avx2(self) -> Avx2;
}

impl WithAvx2 for Avx2 {
    fn avx2(self) -> Avx2 {
        self
    }
}

impl WithAvx2 for AvxVnni {
    fn avx2(self) -> Avx2 {
        self.0
    }
}

impl WithAvx2 for Avx512Vnni {
    fn avx2(self) -> Avx2 {
        self.0
    }
}
