//! Distances in the metric of a network's own training photos.
//!
//! With v the feature of a photo and z its logits, the distance to class k is
//!
//! d_k = exp(−β (ln Σ_j exp z_j − μ)) · (1 + u / n_k)^(−½) · ‖(v − c_k) W‖₂
//!
//! - W whitens the scatter S of the training features within their classes: W Wᵀ = (0.6 S + 0.4 tr(S)/D · I)⁻¹. So a
//!   direction in which photos of one class differ counts little, and one in which they do not counts much. W is the
//!   inverse of a Cholesky factor and is stored as signed bytes with a scale a column.
//! - c_k is the mean of the class's features, or a mixture of that and the trained centroid where the network has one.
//! - The second factor allows for the uncertainty of a mean of n_k photos, of u photos' worth or of none.
//! - The first factor is a share of the energy of the logits (Liu et al., "Energy-based Out-of-distribution Detection",
//!   NeurIPS 2020): what the classifier finds nothing known in lies farther from everything. μ is its mean over the
//!   training photos, and β is a share over the temperature of the logits, so that it means the same for every scale of
//!   logits.
//!
//! W is scaled so that the mean photo lies as far from its own centroid as in the features: enrolled classes, whose
//! distances are taken there, compare with known ones. [`Shape`] holds what is chosen for a set on its val split; the other
//! constants were chosen on those of three sets.

use crate::error::{Error, Result};
use crate::model::edit::{Edit, NewNode};

/// Share of the identity in the scatter.
const SHRINKAGE: f64 = 0.4;

/// What of a metric is chosen by photos that it was not fitted to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    /// Share of the class mean in a centroid beside a trained one.
    pub towards_mean: f64,
    /// u: photos' worth by which the mean of few photos is uncertain.
    pub uncertainty: f64,
    /// β times the temperature of the logits.
    pub energy: f64,
}

impl Default for Shape {
    /// For photos without unknown ones, by which none could be chosen.
    fn default() -> Shape {
        Shape { towards_mean: 0.75, uncertainty: 2.0, energy: 0.13 }
    }
}

impl std::fmt::Display for Shape {
    /// `0.75 of the class mean, u 2, energy 0.13`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Shape { towards_mean, uncertainty, energy } = self;
        write!(f, "{towards_mean} of the class mean, u {uncertainty}, energy {energy}")
    }
}

impl Shape {
    /// Those to choose from; `trained` says whether there are trained centroids to mix in.
    pub fn all(trained: bool) -> Vec<Shape> {
        let mut all = Vec::new();
        for towards_mean in if trained { &[0.75, 0.5][..] } else { &[1.0] } {
            for uncertainty in [2.0, 0.0] {
                for energy in [0.07, 0.13, 0.2] {
                    all.push(Shape { towards_mean: *towards_mean, uncertainty, energy });
                }
            }
        }
        all
    }
}

/// Factor on the distances of classes without training photos: nothing is near to them.
const FAR: f32 = 1e6;

/// Longest feature that is whitened: W is its square.
pub const MAX_WHITENED: usize = 2048;

/// What names of the metric's nodes and constants begin with.
pub(crate) const PREFIX: &str = "oltr.metric.";

/// One training photo.
#[derive(Clone, Debug)]
pub struct Example<'a> {
    /// The feature v.
    pub feature: &'a [f32],
    /// ln Σ exp z of its logits, as the graph has them.
    pub energy: f64,
    /// Its class.
    pub class: usize,
}

/// The constants of a metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    dim: usize,
    steps: Vec<i8>,
    scale: Vec<f32>,
    centroids: Vec<f32>,
    factor: Vec<f32>,
    mean_energy: f32,
    beta: f32,
}

impl Metric {
    /// Fits the metric of `classes` classes to `examples`. `trained` are the network's own centroids, one after another;
    /// `temperature` that of its logits, `shape` what is chosen.
    ///
    /// # Errors
    /// [`Error::BadInput`] without examples, for features that are empty, unequally long, longer than
    /// [`MAX_WHITENED`] or not numbers, or that are all the same.
    pub fn fit(
        examples: &[Example],
        classes: usize,
        trained: Option<&[f32]>,
        temperature: f32,
        shape: Shape,
    ) -> Result<Metric> {
        Whitener::new(examples, classes)?.metric(examples, trained, temperature, shape)
    }

    /// The distances of a photo with this feature and energy, as the graph computes them but for rounding.
    pub fn distances(&self, feature: &[f32], energy: f64) -> Vec<f32> {
        let mut whitened = vec![0.0f32; self.dim];
        for (x, row) in feature.iter().zip(self.steps.chunks_exact(self.dim)) {
            whitened.iter_mut().zip(row).for_each(|(y, w)| *y += x * f32::from(*w));
        }
        whitened.iter_mut().zip(&self.scale).for_each(|(y, scale)| *y *= scale);
        let surprise = (-f64::from(self.beta) * (energy - f64::from(self.mean_energy))).exp() as f32;
        let length = |c: &[f32]| whitened.iter().zip(c).map(|(x, c)| (x - c) * (x - c)).sum::<f32>().sqrt();
        self.centroids.chunks_exact(self.dim).zip(&self.factor).map(|(c, f)| length(c) * f * surprise).collect()
    }

    /// Puts the metric behind the tensors `features [1, D]` and `logits [1, K]` of `edit`, as its `distances`. What a metric
    /// put there before is replaced; other distances go on serving the nodes that read them. A factor for pictures of
    /// nothing, which depends on the features alone, stays behind the new distances.
    pub fn install(&self, edit: &mut Edit) {
        let classes = self.factor.len();
        let again = is_installed(edit);
        let nothing = edit.producer("distances").is_some_and(|node| node.inputs.iter().any(|i| i == NOTHING));
        edit.remove(|name| name.starts_with(PREFIX) || again && ["distances", BEFORE_NOTHING].contains(&name));
        edit.rename("distances", TRAINED);
        let dim = self.dim;
        let name = |part: &str| format!("{PREFIX}{part}");
        let opset = edit.opset();
        // Before 13 there is no scale a column.
        let bytes = opset >= 13;
        if bytes {
            edit.push_i8(&name("steps"), &[dim, dim], &self.steps);
            edit.push_f32(&name("scale"), &[dim], &self.scale);
            edit.push_i8(&name("zero"), &[dim], &vec![0; dim]);
        } else {
            let weight = |(i, step): (usize, &i8)| f32::from(*step) * self.scale[i % dim];
            let weights: Vec<f32> = self.steps.iter().enumerate().map(weight).collect();
            edit.push_f32(&name("whitening"), &[dim, dim], &weights);
        }
        edit.push_f32(&name("centroids"), &[classes, dim], &self.centroids);
        edit.push_f32(&name("factor"), &[1, classes], &self.factor);
        edit.push_f32(&name("mu"), &[1, 1], &[self.mean_energy]);
        edit.push_f32(&name("beta"), &[1, 1], &[-self.beta]);
        if opset >= 13 {
            edit.push_i64(&name("axis"), &[1]);
        }
        edit.push_i64(&name("shape"), &[1, classes as i64]);
        let mut node = |op: &str, inputs: &[&str], output: &str, int: &[(&str, i64)]| {
            let full = |part: &str| if PLAIN.contains(&part) { part.to_string() } else { name(part) };
            let mut inputs: Vec<String> = inputs.iter().map(|part| full(part)).collect();
            let mut ints: &[(&str, &[i64])] = &[];
            // Axes became an input, of sums before the other reductions.
            if op.starts_with("Reduce") {
                if opset >= if op == "ReduceSum" { 13 } else { 18 } {
                    inputs.push(name("axis"));
                } else {
                    ints = &[("axes", &[1])];
                }
            }
            let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
            edit.push(&NewNode { op, inputs: &inputs, output: &full(output), int, ints });
        };
        if bytes {
            node("DequantizeLinear", &["steps", "scale", "zero"], "whitening", &[("axis", 1)]);
        }
        node("MatMul", &["features", "whitening"], "whitened", &[]);
        node("Sub", &["whitened", "centroids"], "difference", &[]);
        node("Mul", &["difference", "difference"], "squares", &[]);
        node("ReduceSum", &["squares"], "square", &[("keepdims", 0)]);
        node("Sqrt", &["square"], "length", &[]);
        node("Reshape", &["length", "shape"], "row", &[]);
        node("Mul", &["row", "factor"], "sure", &[]);
        node("ReduceMax", &["logits"], "largest", &[("keepdims", 1)]);
        node("Sub", &["logits", "largest"], "below", &[]);
        node("Exp", &["below"], "power", &[]);
        node("ReduceSum", &["power"], "powers", &[("keepdims", 1)]);
        node("Log", &["powers"], "log", &[]);
        node("Add", &["largest", "log"], "energy", &[]);
        node("Sub", &["energy", "mu"], "surplus", &[]);
        node("Mul", &["surplus", "beta"], "exponent", &[]);
        node("Exp", &["exponent"], "surprise", &[]);
        node("Mul", &["sure", "surprise"], if nothing { BEFORE_NOTHING } else { "distances" }, &[]);
        if nothing {
            node("Mul", &[BEFORE_NOTHING, NOTHING], "distances", &[]);
        }
    }
}

/// Class means and whitening of training photos: what metrics of every shape share.
#[derive(Clone, Debug)]
pub struct Whitener {
    dim: usize,
    counts: Vec<usize>,
    means: Vec<f64>,
    whitening: Vec<f64>,
}

impl Whitener {
    /// Of `examples` of `classes` classes.
    ///
    /// # Errors
    /// As [`Metric::fit`].
    pub fn new(examples: &[Example], classes: usize) -> Result<Whitener> {
        let bad = |reason: String| Error::BadInput { subject: "training photos".into(), reason };
        let dim = examples.first().map_or(0, |e| e.feature.len());
        if dim == 0 || dim > MAX_WHITENED || examples.iter().any(|e| e.feature.len() != dim || e.class >= classes) {
            return Err(bad(format!(
                "there are {} of them with features of {dim} numbers; at least one photo of the split train is needed, \
                 and features of 1 to {MAX_WHITENED} numbers: name another tensor with --features",
                examples.len()
            )));
        }
        if examples.iter().any(|e| !e.energy.is_finite() || e.feature.iter().any(|x| !x.is_finite())) {
            return Err(bad("the network computed a feature or logits that are not numbers; check its weights".into()));
        }
        let mut counts = vec![0usize; classes];
        let mut means = vec![0.0; classes * dim];
        for e in examples {
            counts[e.class] += 1;
            means[e.class * dim..][..dim].iter_mut().zip(e.feature).for_each(|(m, x)| *m += f64::from(*x));
        }
        for (mean, n) in means.chunks_exact_mut(dim).zip(&counts) {
            mean.iter_mut().for_each(|m| *m /= (*n).max(1) as f64);
        }
        let scatter = scatter(examples, &means, &counts, dim);
        let whitening = whitening(scatter, dim).ok_or_else(|| {
            bad("their features do not differ within any class; take more photos a class, or another --features".into())
        })?;
        Ok(Whitener { dim, counts, means, whitening })
    }

    /// The metric of this `shape`.
    ///
    /// # Errors
    /// [`Error::BadInput`] for `trained` centroids of another number or length.
    pub fn metric(
        &self,
        examples: &[Example],
        trained: Option<&[f32]>,
        temperature: f32,
        shape: Shape,
    ) -> Result<Metric> {
        let Whitener { dim, counts, means, whitening } = self;
        let dim = *dim;
        if trained.is_some_and(|trained| trained.len() != means.len()) {
            return Err(Error::Internal("trained centroids are of another size".into()));
        }
        let centroid = |(i, mean): (usize, &f64)| match trained {
            Some(trained) if counts[i / dim] > 0 => {
                shape.towards_mean * mean + (1.0 - shape.towards_mean) * f64::from(trained[i])
            }
            Some(trained) => f64::from(trained[i]),
            None => *mean,
        };
        let centroids: Vec<f64> = means.iter().enumerate().map(centroid).collect();
        // One unit is one unit of the features, for the mean photo and its own class.
        let (mut plain, mut whitened) = (0.0, 0.0);
        let mut difference = vec![0.0; dim];
        for e in examples {
            let c = &centroids[e.class * dim..][..dim];
            difference.iter_mut().zip(e.feature.iter().zip(c)).for_each(|(d, (x, c))| *d = f64::from(*x) - c);
            plain += norm(&difference);
            whitened += norm(&product(&difference, whitening, dim));
        }
        let unit = if whitened > 0.0 { plain / whitened } else { 1.0 };
        let mut largest = vec![0f64; dim];
        for row in whitening.chunks_exact(dim) {
            largest.iter_mut().zip(row).for_each(|(l, w)| *l = l.max((w * unit).abs()));
        }
        let scale: Vec<f32> = largest.iter().map(|l| (l.max(1e-30) / 127.0) as f32).collect();
        let step = |(i, w): (usize, &f64)| (w * unit / f64::from(scale[i % dim])).round().clamp(-127.0, 127.0) as i8;
        let steps: Vec<i8> = whitening.iter().enumerate().map(step).collect();
        // As the graph computes: with the rounded weights.
        let rounded: Vec<f64> =
            steps.iter().enumerate().map(|(i, s)| f64::from(*s) * f64::from(scale[i % dim])).collect();
        let centroids = centroids.chunks_exact(dim).flat_map(|c| product(c, &rounded, dim)).map(|x| x as f32).collect();
        let factor = |n: &usize| match (n, trained) {
            (0, None) => FAR,
            (n, _) => (1.0 + shape.uncertainty / (*n).max(1) as f64).sqrt().recip() as f32,
        };
        let mean_energy = examples.iter().map(|e| e.energy).sum::<f64>() / examples.len() as f64;
        Ok(Metric {
            dim,
            steps,
            scale,
            centroids,
            factor: counts.iter().map(factor).collect(),
            mean_energy: mean_energy as f32,
            beta: (shape.energy / f64::from(temperature)) as f32,
        })
    }
}

/// Whether the graph's distances are those of a metric.
fn is_installed(edit: &Edit) -> bool {
    let ours = |input: &String| input.starts_with(PREFIX) || input == NOTHING;
    edit.producer("distances").is_some_and(|node| node.inputs.iter().any(ours))
}

/// Name of the distances that the graph had before.
const TRAINED: &str = "distances.trained";

/// What `oltr_models.nothing` multiplies distances with, and the distances before that.
const NOTHING: &str = "oltr.nothing.factor";
const BEFORE_NOTHING: &str = "oltr.nothing.before";

/// Tensors of the graph that the metric's nodes read and write under their own names.
const PLAIN: [&str; 5] = ["features", "logits", "distances", NOTHING, BEFORE_NOTHING];

/// The centroids `[K, D]` that the graph's own distances are taken from, if it has such.
pub fn trained_centroids(edit: &Edit) -> Option<(Vec<usize>, Vec<f32>)> {
    let mut name = if is_installed(edit) { TRAINED } else { "distances" }.to_string();
    // Reshape, Sqrt, ReduceSum, Mul: the chain to the difference is short.
    for _ in 0..8 {
        let node = edit.producer(&name)?;
        if node.is("Sub") {
            return node.inputs.iter().find_map(|input| edit.floats(input)).filter(|(shape, _)| shape.len() == 2);
        }
        name = node.inputs.first()?.clone();
    }
    None
}

/// S `[D, D]`, each class without the bias of its own mean.
fn scatter(examples: &[Example], means: &[f64], counts: &[usize], dim: usize) -> Vec<f64> {
    let mut scatter = vec![0.0; dim * dim];
    let mut difference = vec![0.0; dim];
    let mut photos = 0.0;
    for e in examples.iter().filter(|e| counts[e.class] > 1) {
        let mean = &means[e.class * dim..][..dim];
        difference.iter_mut().zip(e.feature.iter().zip(mean)).for_each(|(d, (x, m))| *d = f64::from(*x) - m);
        let weight = counts[e.class] as f64 / (counts[e.class] - 1) as f64;
        photos += 1.0;
        for (i, row) in scatter.chunks_exact_mut(dim).enumerate() {
            let x = weight * difference[i];
            // The lower triangle suffices.
            row[..=i].iter_mut().zip(&difference).for_each(|(s, d)| *s += x * d);
        }
    }
    scatter.iter_mut().for_each(|s| *s /= f64::max(photos, 1.0));
    scatter
}

/// W `[D, D]` with W Wᵀ the inverse of the shrunk scatter, of which the lower triangle is given; `None` where there is no
/// scatter.
fn whitening(mut a: Vec<f64>, dim: usize) -> Option<Vec<f64>> {
    let trace: f64 = (0..dim).map(|i| a[i * dim + i]).sum();
    let identity = SHRINKAGE * trace / dim as f64;
    if !(identity.is_finite() && identity > 0.0) {
        return None;
    }
    for i in 0..dim {
        a[i * dim..][..=i].iter_mut().for_each(|x| *x *= 1.0 - SHRINKAGE);
        a[i * dim + i] += identity;
    }
    // Cholesky: the factor L takes the place of the lower triangle, row by row.
    for i in 0..dim {
        for j in 0..=i {
            let (upper, lower) = a.split_at_mut(i * dim);
            let dot = |row: &[f64], other: &[f64]| row[..j].iter().zip(&other[..j]).map(|(x, y)| x * y).sum::<f64>();
            if i == j {
                let square = lower[j] - lower[..j].iter().map(|x| x * x).sum::<f64>();
                if square.is_nan() || square <= 0.0 {
                    return None;
                }
                lower[j] = square.sqrt();
            } else {
                let row = &upper[j * dim..][..dim];
                lower[j] = (lower[j] - dot(lower, row)) / row[j];
            }
        }
    }
    // Column j of W is row j of L⁻¹: L⁻¹ by forward substitution, row by row.
    let mut inverse = vec![0.0; dim * dim];
    for i in 0..dim {
        let (done, rest) = inverse.split_at_mut(i * dim);
        let row = &mut rest[..dim];
        row[i] = 1.0;
        for j in 0..i {
            let l = a[i * dim + j];
            row[..=j].iter_mut().zip(&done[j * dim..][..=j]).for_each(|(x, y)| *x -= l * y);
        }
        row[..=i].iter_mut().for_each(|x| *x /= a[i * dim + i]);
    }
    let mut w = vec![0.0; dim * dim];
    for (i, row) in inverse.chunks_exact(dim).enumerate() {
        row.iter().enumerate().for_each(|(j, x)| w[j * dim + i] = *x);
    }
    Some(w)
}

/// x W of a row x.
fn product(x: &[f64], w: &[f64], dim: usize) -> Vec<f64> {
    let mut y = vec![0.0; dim];
    for (x, row) in x.iter().zip(w.chunks_exact(dim)) {
        y.iter_mut().zip(row).for_each(|(y, w)| *y += x * w);
    }
    y
}

fn norm(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whitening_inverts_the_shrunk_scatter() {
        let s = [4.0, 0.0, 0.0, 1.0, 3.0, 0.0, 0.5, -0.5, 2.0];
        let w = whitening(s.into(), 3).unwrap();
        let full = |i: usize, j: usize| {
            let s = s[i.max(j) * 3 + i.min(j)] * 0.6;
            if i == j { s + 0.4 * 3.0 } else { s }
        };
        for i in 0..3 {
            for j in 0..3 {
                // (W Wᵀ) S' = I
                let wwt = |i: usize, k: usize| (0..3).map(|m| w[i * 3 + m] * w[k * 3 + m]).sum::<f64>();
                let x: f64 = (0..3).map(|k| wwt(i, k) * full(k, j)).sum();
                assert!((x - f64::from(u8::from(i == j))).abs() < 1e-12, "{i} {j}: {x}");
            }
        }
        assert_eq!(whitening(vec![0.0; 4], 2), None);
    }

    #[test]
    fn a_direction_in_which_photos_of_a_class_differ_counts_less() {
        let features: Vec<[f32; 2]> = (0..8).map(|i| [if i % 2 == 0 { 3.0 } else { -3.0 }, i as f32 * 0.01]).collect();
        let example = |(i, f)| Example { feature: f, energy: 1.0, class: i / 4 };
        let examples: Vec<Example> = features.iter().map(|f| &f[..]).enumerate().map(example).collect();
        let metric = Metric::fit(&examples, 3, None, 0.5, Shape::default()).unwrap();
        let weight = |i: usize| {
            (0..2).map(|j| (f32::from(metric.steps[i * 2 + j]) * metric.scale[j]).powi(2)).sum::<f32>().sqrt()
        };
        assert!(weight(1) > 1.5 * weight(0), "{} {}", weight(0), weight(1));
        assert_eq!((metric.factor[2], metric.beta, metric.mean_energy), (FAR, 0.26, 1.0));
        assert!((metric.factor[0] - 1.5f32.sqrt().recip()).abs() < 1e-6);
    }

    #[test]
    fn photos_that_say_nothing_are_refused() {
        let e = |feature: &'static [f32]| Example { feature, energy: 0.0, class: 0 };
        for examples in [&[][..], &[e(&[])], &[e(&[1.0]), e(&[1.0])], &[e(&[f32::NAN])], &[e(&[1.0]), e(&[1.0, 2.0])]] {
            assert!(Metric::fit(examples, 1, None, 1.0, Shape::default()).is_err(), "{}", examples.len());
        }
    }
}
