//! Functions of one and of two numbers.

use multiversion::multiversion;

/// Where the first NaN is among `x`.
pub fn first_nan(x: &[f32]) -> Option<usize> {
    any_nan(x).then(|| x.iter().position(|x| x.is_nan())).flatten()
}

/// The whole slice is read before the decision: a search that ends early takes five times the instructions.
#[multiversion(targets("x86_64+avx2+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn any_nan(x: &[f32]) -> bool {
    x.iter().fold(false, |any, x| any | x.is_nan())
}

/// A function of one number (the ONNX operator of the same name).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Function {
    /// Kept within these bounds (Relu, Clip); the upper one wins where they cross.
    Clip(f32, f32),
    /// This times x below 0, x above.
    LeakyRelu(f32),
    /// Hyperbolic tangent, within 4 units in the last place.
    Tanh,
    /// 1 / (1 + e⁻ˣ), within 4 units in the last place.
    Sigmoid,
    /// `alpha * x + beta` within 0 and 1.
    HardSigmoid(f32, f32),
    /// x times its hard sigmoid of 1/6 and 1/2.
    HardSwish,
    /// Square root.
    Sqrt,
    /// 1 / x
    Reciprocal,
    /// -x
    Neg,
    /// |x|
    Abs,
    /// x²
    Square,
    /// eˣ, within 2 units in the last place; 0 below -87, where the result would be subnormal.
    Exp,
    /// Error function, within 3e-7.
    Erf,
    /// Natural logarithm, within 2 units in the last place; a subnormal number counts as 0.
    Log,
}

impl Function {
    /// `y[i] = f(x[i])`; equal lengths.
    pub fn run(self, x: &[f32], y: &mut [f32]) {
        run(self, x, y);
    }
}

#[multiversion(targets("x86_64+avx2+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn run(function: Function, x: &[f32], y: &mut [f32]) {
    match function {
        Function::Clip(low, high) => each(x, y, |x| clip(x, low, high)),
        Function::LeakyRelu(alpha) => each(x, y, |x| if x < 0.0 { alpha * x } else { x }),
        Function::Tanh => each(x, y, tanh),
        Function::Sigmoid => each(x, y, sigmoid),
        Function::HardSigmoid(alpha, beta) => each(x, y, |x| clip(alpha * x + beta, 0.0, 1.0)),
        Function::HardSwish => each(x, y, |x| x * clip(x / 6.0 + 0.5, 0.0, 1.0)),
        Function::Sqrt => each(x, y, f32::sqrt),
        Function::Reciprocal => each(x, y, |x| 1.0 / x),
        Function::Neg => each(x, y, |x| -x),
        Function::Abs => each(x, y, f32::abs),
        Function::Square => each(x, y, |x| x * x),
        Function::Exp => each(x, y, any_exp),
        Function::Erf => each(x, y, erf),
        Function::Log => each(x, y, log),
    }
}

#[inline(always)]
fn each(x: &[f32], y: &mut [f32], f: impl Fn(f32) -> f32) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y = f(*x));
}

/// Unlike `f32::clamp`, takes any bounds; unlike `max` and `min`, passes NaN on.
#[inline(always)]
fn clip(x: f32, low: f32, high: f32) -> f32 {
    let x = if x < low { low } else { x };
    if x > high { high } else { x }
}

/// A function of two numbers (the ONNX operator of the same name).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binary {
    /// a + b
    Add,
    /// a - b
    Sub,
    /// a · b
    Mul,
    /// a / b
    Div,
    /// The larger.
    Max,
    /// The smaller.
    Min,
    /// a, times b where it is negative.
    PRelu,
}

impl Binary {
    /// `y[i] = f(a[i], b[i])`; an operand of a single number stands for a whole row of it.
    pub fn run(self, a: &[f32], b: &[f32], y: &mut [f32]) {
        run_two(self, a, b, y);
    }
}

#[multiversion(targets("x86_64+avx2+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn run_two(binary: Binary, a: &[f32], b: &[f32], y: &mut [f32]) {
    match binary {
        Binary::Add => pairs(a, b, y, |a, b| a + b),
        Binary::Sub => pairs(a, b, y, |a, b| a - b),
        Binary::Mul => pairs(a, b, y, |a, b| a * b),
        Binary::Div => pairs(a, b, y, |a, b| a / b),
        Binary::Max => pairs(a, b, y, |a, b| if a > b || a.is_nan() { a } else { b }),
        Binary::Min => pairs(a, b, y, |a, b| if a < b || a.is_nan() { a } else { b }),
        Binary::PRelu => pairs(a, b, y, |a, b| if a < 0.0 { a * b } else { a }),
    }
}

#[inline(always)]
fn pairs(a: &[f32], b: &[f32], y: &mut [f32], f: impl Fn(f32, f32) -> f32) {
    match (a, b) {
        ([a], [b]) => y.fill(f(*a, *b)),
        ([a], b) => y.iter_mut().zip(b).for_each(|(y, b)| *y = f(*a, *b)),
        (a, [b]) => y.iter_mut().zip(a).for_each(|(y, a)| *y = f(*a, *b)),
        (a, b) => y.iter_mut().zip(a.iter().zip(b)).for_each(|(y, (a, b))| *y = f(*a, *b)),
    }
}

/// x = n·ln 2 + r with |r| ≤ ln 2 / 2, for x within ±89: `e^r - 1`, and 2^(n + bias - 127).
///
/// `e^r - 1` by its Taylor polynomial of degree 7, whose error there is below 2⁻²⁶.
#[inline(always)]
fn scaled(x: f32, bias: i32) -> (f32, f32) {
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    const SHIFT: f32 = 12_582_912.0;
    let shifted = x * std::f32::consts::LOG2_E + SHIFT;
    let n = shifted - SHIFT;
    let r = x - n * LN2_HIGH - n * LN2_LOW;
    let polynomial = 1.0 / 720.0 + r * (1.0 / 5040.0);
    let polynomial = 1.0 + r * (0.5 + r * (1.0 / 6.0 + r * (1.0 / 24.0 + r * (1.0 / 120.0 + r * polynomial))));
    let power = f32::from_bits((((shifted.to_bits() as i32).wrapping_sub(SHIFT.to_bits() as i32) + bias) << 23) as u32);
    (r * polynomial, power)
}

/// `e^r - 1` and 2^n of [`scaled`], for x within ±87.
#[inline(always)]
fn reduced(x: f32) -> (f32, f32) {
    scaled(x, 127)
}

/// e^x for x ≤ 0 within 2 units in the last place; 0 below -87, where the result would be subnormal; NaN for NaN.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    let (less_one, power) = reduced(if x < -87.0 { -87.0 } else { x });
    let y = (1.0 + less_one) * power;
    if x < -87.0 { 0.0 } else { y }
}

/// e^x for every x: [`exp`] up to 0, and above it twice the half, whose power of two does not overflow before the result
/// does.
#[inline(always)]
fn any_exp(x: f32) -> f32 {
    let (less_one, half) = scaled(if x > 89.0 { 89.0 } else { x.max(0.0) }, 126);
    let above = (1.0 + less_one) * half * 2.0;
    let above = if x > 88.722_84 { f32::INFINITY } else { above };
    if x > 0.0 { above } else { exp(x) }
}

/// `1 - P(t) e^(-x²)` with `t = 1 / (1 + p |x|)` (Abramowitz and Stegun, 7.1.26, within 1.5e-7), and near 0, where the
/// difference to 1 has lost its digits, the series of the definition.
#[inline(always)]
fn erf(x: f32) -> f32 {
    let z = x.abs();
    let t = 1.0 / (1.0 + 0.327_591_1 * z);
    let polynomial = t * (0.254_829_6 + t * (-0.284_496_74 + t * (1.421_413_7 + t * (-1.453_152 + t * 1.061_405_4))));
    // NaN stays NaN; beyond 10 nothing is left of the power.
    let square = if z > 10.0 { 100.0 } else { z * z };
    let far = (1.0 - polynomial * exp(-square)).copysign(x);
    let terms = -0.026_866_17 + square * (0.005_223_977_6 + square * -0.000_854_832_7);
    let near =
        x * (std::f32::consts::FRAC_2_SQRT_PI + square * (-0.376_126_4 + square * (0.112_837_92 + square * terms)));
    if z < 0.6 { near } else { far }
}

/// ln x = n ln 2 + ln m with m within √½ and √2, and ln m = 2 artanh((m - 1) / (m + 1)) by its series.
#[inline(always)]
fn log(x: f32) -> f32 {
    // The bits of √½ less those of 1: what is above √½ has the exponent n.
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let bits = x.to_bits() as i32;
    let shifted = bits.wrapping_sub(0x3f35_04f3);
    let n = shifted >> 23;
    let m = f32::from_bits((bits.wrapping_sub(n << 23)) as u32);
    let f = m - 1.0;
    let s = f / (2.0 + f);
    let z = s * s;
    let series = z * (2.0 / 3.0 + z * (2.0 / 5.0 + z * (2.0 / 7.0 + z * (2.0 / 9.0))));
    let half = 0.5 * f * f;
    let n = n as f32;
    let y = n * LN2_HIGH - ((half - (s * (half + series) + n * LN2_LOW)) - f);
    let y = if x < f32::MIN_POSITIVE { f32::NEG_INFINITY } else { y };
    if x < 0.0 || x.is_nan() {
        f32::NAN
    } else if x == f32::INFINITY {
        x
    } else {
        y
    }
}

/// `e^x - 1` for x ≤ 0, accurate near 0 too.
#[inline(always)]
fn exp_less_one(x: f32) -> f32 {
    let (less_one, power) = reduced(if x < -87.0 { -87.0 } else { x });
    less_one * power + (power - 1.0)
}

/// `tanh |x| = -(e^{-2|x|} - 1) / (e^{-2|x|} - 1 + 2)`: no cancellation near 0, no overflow far from it.
#[inline(always)]
fn tanh(x: f32) -> f32 {
    let e = exp_less_one(-2.0 * x.abs());
    (-e / (e + 2.0)).copysign(x)
}

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    let e = exp(-x.abs());
    (if x < 0.0 { e } else { 1.0 }) / (1.0 + e)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Units in the last place between `got` and `exact`.
    fn units(got: f32, exact: f64) -> f64 {
        let unit = f64::from((exact.abs() as f32).next_up()) - f64::from(exact.abs() as f32);
        (f64::from(got) - exact).abs() / unit
    }

    #[test]
    fn a_nan_is_found_wherever_it_is() {
        for length in [0, 1, 7, 8, 9, 31, 32, 33, 65] {
            let mut x = vec![f32::INFINITY; length];
            assert_eq!(first_nan(&x), None);
            for place in 0..length {
                x[place] = -f32::NAN;
                assert_eq!(first_nan(&x), Some(place), "of {length}");
                x[place] = 1.0;
            }
            x.fill(f32::NAN);
            assert_eq!(first_nan(&x), (length > 0).then_some(0), "of {length} that all are none");
        }
    }

    #[test]
    fn powers_are_within_two_units() {
        for i in 0..=870_000 {
            let x = -(i as f32) / 10_000.0;
            let exact = f64::from(x).exp();
            assert!(units(exp(x), exact) <= 2.0, "{x}: {} for {exact}", exp(x));
        }
        assert_eq!((exp(0.0), exp(-88.0), exp(f32::NEG_INFINITY)), (1.0, 0.0, 0.0));
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn exponentials_and_logarithms_are_within_two_units() {
        for i in -870_000..=887_000 {
            let x = i as f32 / 10_000.0;
            assert!(units(any_exp(x), f64::from(x).exp()) <= 2.0, "{x}: {}", any_exp(x));
        }
        assert_eq!((any_exp(0.0), any_exp(89.0), any_exp(f32::INFINITY)), (1.0, f32::INFINITY, f32::INFINITY));
        assert_eq!((any_exp(-88.0), any_exp(f32::NEG_INFINITY)), (0.0, 0.0));
        assert!(any_exp(88.72).is_finite() && any_exp(f32::NAN).is_nan());
        // Every exponent, with mantissas around 1 too, where the logarithm is small.
        for exponent in -126..=127 {
            for step in 0..500 {
                let x = (1.0 + step as f32 / 500.0) * 2f32.powi(exponent);
                assert!(units(log(x), f64::from(x).ln()) <= 2.0, "{x}: {}", log(x));
            }
        }
        for i in 1..2000 {
            let x = 1.0 + (i as f32 - 1000.0) * 3e-6;
            assert!(units(log(x), f64::from(x).ln()) <= 2.0, "{x}: {}", log(x));
        }
        assert_eq!((log(1.0), log(0.0), log(f32::INFINITY)), (0.0, f32::NEG_INFINITY, f32::INFINITY));
        assert!(log(-1.0).is_nan() && log(f32::NAN).is_nan() && log(f32::NEG_INFINITY).is_nan());
    }

    #[test]
    fn tangents_and_sigmoids_are_within_four_units() {
        for i in -400_000..=400_000 {
            // Small numbers too, where a careless formula loses all its digits.
            let x = (i as f32 / 200_000.0).powi(3) * 2.5;
            let wide = f64::from(x);
            assert!(units(tanh(x), wide.tanh()) <= 4.0, "tanh {x}: {}", tanh(x));
            let exact = 1.0 / (1.0 + (-wide).exp());
            assert!(units(sigmoid(x), exact) <= 4.0, "sigmoid {x}: {}", sigmoid(x));
        }
        assert_eq!((tanh(0.0), tanh(1e30), tanh(f32::NEG_INFINITY)), (0.0, 1.0, -1.0));
        assert_eq!((sigmoid(0.0), sigmoid(200.0), sigmoid(f32::NEG_INFINITY)), (0.5, 1.0, 0.0));
        assert!(tanh(f32::NAN).is_nan() && sigmoid(f32::NAN).is_nan());
    }

    #[test]
    fn the_error_function_is_within_its_bound() {
        // By the series of the definition, in double precision.
        let exact = |x: f64| {
            let (mut term, mut sum) = (x, x);
            for n in 1..200 {
                term *= -x * x / f64::from(n);
                sum += term / f64::from(2 * n + 1);
            }
            std::f64::consts::FRAC_2_SQRT_PI * sum
        };
        for i in -4000..=4000 {
            let x = i as f32 / 1000.0;
            let mut y = [9.0];
            Function::Erf.run(&[x], &mut y);
            assert!((f64::from(y[0]) - exact(f64::from(x))).abs() < 3e-7, "{x}: {}", y[0]);
        }
        let mut y = [9.0; 4];
        Function::Erf.run(&[f32::INFINITY, f32::NEG_INFINITY, 30.0, f32::NAN], &mut y);
        assert!(y[..3] == [1.0, -1.0, 1.0] && y[3].is_nan(), "{y:?}");
    }

    #[test]
    fn nothing_hides_what_is_not_a_number() {
        let nan = [f32::NAN];
        for binary in [Binary::Add, Binary::Sub, Binary::Mul, Binary::Div, Binary::Max, Binary::Min] {
            for (a, b) in [(&nan, &[1.0]), (&[1.0], &nan)] {
                let mut y = [0.0; 3];
                binary.run(a, b, &mut y);
                assert!(y.iter().all(|y| y.is_nan()), "{binary:?}");
            }
        }
        for function in [Function::Clip(0.0, 6.0), Function::HardSigmoid(0.2, 0.5), Function::HardSwish] {
            let mut y = [0.0];
            function.run(&nan, &mut y);
            assert!(y[0].is_nan(), "{function:?}");
        }
    }

    #[test]
    fn each_function_is_onnx() {
        let x = [-4.0, -0.5, 0.25, 4.0];
        for (function, expected) in [
            (Function::Clip(0.0, 3.0), [0.0, 0.0, 0.25, 3.0]),
            (Function::LeakyRelu(0.5), [-2.0, -0.25, 0.25, 4.0]),
            (Function::HardSigmoid(0.25, 0.5), [0.0, 0.375, 0.5625, 1.0]),
            (Function::HardSwish, [0.0, -0.5 * (-0.5f32 / 6.0 + 0.5), 0.25 * (0.25f32 / 6.0 + 0.5), 4.0]),
            (Function::Reciprocal, [-0.25, -2.0, 4.0, 0.25]),
            (Function::Neg, [4.0, 0.5, -0.25, -4.0]),
            (Function::Abs, [4.0, 0.5, 0.25, 4.0]),
            (Function::Square, [16.0, 0.25, 0.0625, 16.0]),
        ] {
            let mut y = [9.0; 4];
            function.run(&x, &mut y);
            assert_eq!(y, expected, "{function:?}");
        }
        let (a, b) = ([6.0, -6.0, 0.5], [2.0, -3.0, 4.0]);
        for (binary, expected, row) in [
            (Binary::Add, [8.0, -9.0, 4.5], [8.0, 3.0, 10.0]),
            (Binary::Sub, [4.0, -3.0, -3.5], [4.0, 9.0, 2.0]),
            (Binary::Mul, [12.0, 18.0, 2.0], [12.0, -18.0, 24.0]),
            (Binary::Div, [3.0, 2.0, 0.125], [3.0, -2.0, 1.5]),
            (Binary::Max, [6.0, -3.0, 4.0], [6.0, 6.0, 6.0]),
            (Binary::Min, [2.0, -6.0, 0.5], [2.0, -3.0, 4.0]),
        ] {
            let mut y = [9.0; 3];
            binary.run(&a, &b, &mut y);
            assert_eq!(y, expected, "{binary:?}");
            binary.run(&a[..1], &b, &mut y);
            assert_eq!(y, row, "{binary:?} of one number and a row");
        }
    }
}
