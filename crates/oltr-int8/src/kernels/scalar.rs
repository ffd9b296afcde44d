//! The specification: every kernel in its plainest form. Slow on purpose, right on every machine.

use std::ops::Range;

use crate::kernels::contract::{
    AveragePool, Conv, Cuts, Destination, Job, KernelSet, Map, MaxPool, Output, PAIRS, PackedConv, PairRow, Storage,
    Window,
};
use crate::quant::{AddQuant, Quant, round_saturate};

/// The scalar kernels, for either storage.
#[derive(Clone, Copy, Debug)]
pub struct Scalar {
    storage: Storage,
}

/// The set that is used where there is no better one.
pub static SCALAR: Scalar = Scalar::new(Storage::Unsigned);

/// The set for what other sets whose bytes are signed have no kernel for.
#[cfg(any(test, target_arch = "aarch64", target_arch = "arm"))]
pub static SIGNED: Scalar = Scalar::new(Storage::Signed);

impl Scalar {
    /// Scalar kernels for bytes that lie in memory as `storage` says: the fallback of a set with that storage.
    pub const fn new(storage: Storage) -> Scalar {
        Scalar { storage }
    }
}

/// Positions of the map under the window of output pixel `(oy, ox)`, each with the number of its tap.
fn taps(window: Window, map: Map, oy: usize, ox: usize) -> impl Iterator<Item = (usize, usize)> {
    let [kh, kw] = window.kernel;
    (0..kh * kw).filter_map(move |tap| {
        let y = (oy * window.stride[0] + tap / kw * window.dilation[0]).checked_sub(window.pad[0])?;
        let x = (ox * window.stride[1] + tap % kw * window.dilation[1]).checked_sub(window.pad[1])?;
        (y < map.height && x < map.width).then_some((tap, y * map.width + x))
    })
}

/// [`KernelSet::pair_products`]; in a form that compilers turn into vectors, for sets without a kernel of their own.
pub(crate) fn pair_products(rows: &[[i16; 2]], panel: &[PairRow], sums: &mut [[i32; PAIRS]]) {
    assert_eq!(rows.len(), panel.len() * sums.len());
    for (row, sums) in rows.chunks_exact(panel.len().max(1)).zip(sums) {
        *sums = [0; PAIRS];
        for (x, panel) in row.iter().zip(panel) {
            let x = x.map(i32::from);
            for (sum, w) in sums.iter_mut().zip(panel) {
                *sum = sum.wrapping_add(x[0] * i32::from(w[0])).wrapping_add(x[1] * i32::from(w[1]));
            }
        }
    }
}

#[derive(Debug)]
struct ScalarConv {
    name: String,
    conv: Conv,
    mask: u8,
}

impl ScalarConv {
    /// The sum of one output: bias and products of `input - zero point` with the weights. Positions outside the map
    /// hold the zero point and so add nothing. Wraps, as every kernel does; a graph whose sums can leave 32 bits is
    /// refused before it comes here.
    fn sum(&self, input: &[u8], pixel: usize, channel: usize) -> i32 {
        let c = &self.conv;
        let per_group = c.input.channels / c.groups;
        let first = channel / (c.output.channels / c.groups) * per_group;
        let all_taps = c.window.kernel[0] * c.window.kernel[1];
        let (oy, ox) = (pixel / c.output.width, pixel % c.output.width);
        let mut sum = c.bias[channel];
        for (tap, place) in taps(c.window, c.input, oy, ox) {
            let weights = &c.weights[(channel * all_taps + tap) * per_group..][..per_group];
            let values = &input[place * c.input.stride + first..][..per_group];
            for (w, q) in weights.iter().zip(values) {
                let x = i32::from(q ^ self.mask) - i32::from(c.input_zero);
                sum = sum.wrapping_add(x * i32::from(*w));
            }
        }
        sum
    }

    fn byte(&self, input: &[u8], residual: Option<&[u8]>, pixel: usize, channel: usize) -> u8 {
        let Output::Bytes(requant, addition) = &self.conv.result else { panic!("this convolution yields numbers") };
        let q = requant.apply(self.sum(input, pixel, channel), channel);
        let q = match (addition, residual) {
            (Some(r), Some(b)) => r.add.apply(q, b[pixel * r.stride + channel] ^ self.mask),
            (None, None) => q,
            _ => panic!("a residual is given exactly where the convolution has one"),
        };
        q ^ self.mask
    }

    fn float(&self, input: &[u8], pixel: usize, channel: usize) -> f32 {
        let Output::F32(multiplier) = &self.conv.result else { panic!("this convolution yields bytes") };
        self.sum(input, pixel, channel) as f32 * multiplier[channel]
    }
}

impl PackedConv for ScalarConv {
    fn name(&self) -> &str {
        &self.name
    }

    fn weights_bytes(&self) -> usize {
        self.conv.weights.len() + 8 * self.conv.bias.len()
    }

    fn scratch_bytes(&self) -> usize {
        0
    }

    fn cuts(&self) -> Cuts<'_> {
        Cuts::Anywhere
    }

    fn run(&self, job: Job) {
        let map = self.conv.output;
        let stride = job.channels.as_ref().map_or(map.stride, Range::len);
        let channels = job.channels.unwrap_or(0..map.channels);
        assert_eq!(job.output.len(), job.pixels.len() * stride);
        match job.output {
            Destination::Bytes(to) => {
                for (pixel, to) in job.pixels.zip(to.chunks_exact_mut(stride.max(1))) {
                    for (channel, to) in channels.clone().zip(to) {
                        *to = self.byte(job.input, job.residual, pixel, channel);
                    }
                }
            }
            Destination::F32(to) => {
                for (pixel, to) in job.pixels.zip(to.chunks_exact_mut(stride.max(1))) {
                    for (channel, to) in channels.clone().zip(to) {
                        *to = self.float(job.input, pixel, channel);
                    }
                }
            }
        }
    }
}

impl KernelSet for Scalar {
    fn isa(&self) -> &'static str {
        "scalar"
    }

    fn storage(&self) -> Storage {
        self.storage
    }

    fn conv(&self, conv: Conv) -> Box<dyn PackedConv> {
        let kind = if conv.is_depthwise() { "dwconv" } else { "conv" };
        let bytes = if self.storage == Storage::Signed { "s8" } else { "u8" };
        let name = format!("{kind}_{bytes}s8{}_plain_1x1__scalar", conv.result.dtype(self.storage));
        Box::new(ScalarConv { name, conv, mask: self.storage.mask() })
    }

    fn add(&self, add: &AddQuant, a: &[u8], b: &[u8], output: &mut [u8]) {
        assert!(a.len() == b.len() && a.len() == output.len());
        let mask = self.storage.mask();
        for ((a, b), out) in a.iter().zip(b).zip(output) {
            *out = add.apply(a ^ mask, b ^ mask) ^ mask;
        }
    }

    fn max_pool(&self, pool: &MaxPool, input: &[u8], output: &mut [u8], pixels: Range<usize>) {
        let mask = self.storage.mask();
        for (pixel, out) in pixels.zip(output.chunks_exact_mut(pool.output.stride.max(1))) {
            let (oy, ox) = (pixel / pool.output.width, pixel % pool.output.width);
            let out = &mut out[..pool.output.channels];
            // A window wholly outside the map is refused at load, so 0 never remains.
            out.fill(mask);
            for (_, place) in taps(pool.window, pool.input, oy, ox) {
                for (out, q) in out.iter_mut().zip(&input[place * pool.input.stride..]) {
                    *out = (*out ^ mask).max(q ^ mask) ^ mask;
                }
            }
        }
    }

    fn average_pool(&self, pool: &AveragePool, input: &[u8], output: &mut [u8], pixels: Range<usize>) {
        let mask = self.storage.mask();
        for (pixel, out) in pixels.zip(output.chunks_exact_mut(pool.output.stride.max(1))) {
            let (oy, ox) = (pixel / pool.output.width, pixel % pool.output.width);
            for (channel, out) in out[..pool.output.channels].iter_mut().enumerate() {
                let (mut sum, mut count) = (0i32, 0usize);
                for (_, place) in taps(pool.window, pool.input, oy, ox) {
                    sum += i32::from(input[place * pool.input.stride + channel] ^ mask) - i32::from(pool.x.zero_point);
                    count += 1;
                }
                *out = round_saturate(sum as f32 * pool.multiplier(count), pool.y.zero_point, pool.lo, pool.hi) ^ mask;
            }
        }
    }

    fn table(&self, table: &[u8; 256], input: &[u8], output: &mut [u8]) {
        assert_eq!(input.len(), output.len());
        for (q, out) in input.iter().zip(output) {
            *out = table[usize::from(*q)];
        }
    }

    fn quantise(&self, quant: Quant, input: &[f32], output_map: &Map, output: &mut [u8], pixels: Range<usize>) {
        let plane = output_map.pixels();
        assert_eq!(input.len(), plane * output_map.channels);
        assert_eq!(output.len(), pixels.len() * output_map.stride);
        for (pixel, out) in pixels.zip(output.chunks_exact_mut(output_map.stride.max(1))) {
            for (channel, out) in out[..output_map.channels].iter_mut().enumerate() {
                *out = quant.quantise(input[channel * plane + pixel]) ^ self.storage.mask();
            }
        }
    }

    fn dequantise(&self, quant: Quant, input_map: &Map, input: &[u8], output: &mut [f32]) {
        let pixels = input_map.pixels();
        assert_eq!(output.len(), pixels * input_map.channels);
        for (pixel, values) in input.chunks_exact(input_map.stride.max(1)).enumerate() {
            for (channel, q) in values[..input_map.channels].iter().enumerate() {
                output[channel * pixels + pixel] = quant.dequantise(q ^ self.storage.mask());
            }
        }
    }

    fn pair_products(&self, rows: &[[i16; 2]], panel: &[PairRow], sums: &mut [[i32; PAIRS]]) {
        pair_products(rows, panel, sums);
    }
}
