//! The groups of a dense convolution behind the contract.

use crate::kernels::contract::{Conv, Cuts, Job, PackedConv, Storage};
use crate::kernels::x86_64::dense::direct::Direct;
use crate::kernels::x86_64::dot::product::Dot;
use crate::kernels::x86_64::epilogue::{Place, parts_of};

/// A dense convolution (one group) or one after another those of the groups.
#[derive(Debug)]
pub(crate) struct Grouped<S: Dot> {
    name: String,
    /// Pixel stride of the output.
    stride: usize,
    /// Where its channels may be cut: at its strips, if there is but one group.
    cuts: Vec<usize>,
    groups: Vec<Direct<S>>,
}

impl<S: Dot> Grouped<S> {
    /// Packs `conv`.
    pub fn new(simd: S, conv: &Conv) -> Grouped<S> {
        let groups: Vec<Direct<S>> = (0..conv.groups).map(|group| Direct::new(simd, conv, group)).collect();
        let cuts = match &groups[..] {
            [all] => (0..=all.strips()).map(|strips| all.channels_of(&(0..strips)).end).collect(),
            _ => Vec::new(),
        };
        let results = conv.result.dtype(Storage::Unsigned);
        let name = format!("conv_u8s8{results}_{}_{}__{}", S::KIND, groups[0].tile(), S::ISA);
        Grouped { name, stride: conv.output.stride, cuts, groups }
    }
}

impl<S: Dot> PackedConv for Grouped<S> {
    fn name(&self) -> &str {
        &self.name
    }

    fn weights_bytes(&self) -> usize {
        self.groups.iter().map(Direct::weights_bytes).sum()
    }

    fn scratch_bytes(&self) -> usize {
        self.groups.iter().map(Direct::scratch_bytes).max().unwrap_or(0)
    }

    fn grain(&self) -> usize {
        self.groups[0].grain()
    }

    fn cuts(&self) -> Cuts<'_> {
        if self.cuts.is_empty() { Cuts::Nowhere } else { Cuts::At(&self.cuts) }
    }

    fn run(&self, mut job: Job) {
        let Some(channels) = job.channels else {
            assert_eq!(job.output.len(), job.pixels.len() * self.stride);
            for group in &self.groups {
                group.run(job.input, job.residual, job.output.part(0), job.pixels.clone(), job.scratch);
            }
            return;
        };
        assert_eq!(job.output.len(), job.pixels.len() * channels.len());
        let (place, strips) = (Place::of(&channels), parts_of(&self.cuts, &channels));
        self.groups[0].run_strips(job.input, job.residual, job.output, place, job.pixels, strips, job.scratch);
    }
}
