//! The instruction set that the kernels stand on.

/// A value proves that the processor has NEON.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Neon(());

impl Neon {
    /// What the kernel says of the processor, in the auxiliary vector of each process.
    pub fn new() -> Option<Neon> {
        const WORD: usize = size_of::<usize>();
        // AT_HWCAP of Linux's <elf.h>, and in it HWCAP_NEON of <asm/hwcap.h>.
        const ABILITIES: usize = 16;
        const NEON: usize = 1 << 12;
        let vector = std::fs::read("/proc/self/auxv").ok()?;
        let mut entries = vector.as_chunks::<{ 2 * WORD }>().0.iter().map(|entry| {
            let (key, value) = entry.split_at(WORD);
            [key, value].map(|word| word.try_into().map_or(0, usize::from_ne_bytes))
        });
        let [_, abilities] = entries.find(|[key, _]| *key == ABILITIES)?;
        (abilities & NEON != 0).then_some(Neon(()))
    }
}
