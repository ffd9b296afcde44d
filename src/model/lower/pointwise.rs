//! Functions of one number, for 256-entry tables and for clamps.

use super::super::graph::{Graph, Node};
use super::super::operators::QUANTISE;
use oltr_int8::float::Function;

/// Bounds of a Relu or Clip node with constant bounds, the lower one no greater than the upper: of a Clip whose bounds are
/// crossed everything becomes the upper one (ONNX Clip).
pub(crate) fn bounds(graph: &Graph, node: &Node) -> Option<(f32, f32)> {
    if node.is("Relu") {
        return Some((0.0, f32::INFINITY));
    }
    if !node.is("Clip") {
        return None;
    }
    let bound = |i: usize, name: &str, none: f32| match (node.input(i), node.attribute(name)) {
        (Some(input), _) => graph.consts.get(input)?.as_f32()?.first().copied(),
        (None, Some(a)) => Some(a.f),
        (None, None) => Some(none),
    };
    let (low, high) = (bound(1, "min", f32::NEG_INFINITY)?, bound(2, "max", f32::INFINITY)?);
    (!low.is_nan() && !high.is_nan()).then_some((low.min(high), high))
}

/// The function that a pointwise node computes; computed in double precision where it is transcendental, so that
/// every platform's mathematical library gives the same table.
pub(crate) fn function(graph: &Graph, node: &Node) -> Option<Box<dyn Fn(f32) -> f32>> {
    let alpha = |default: f32| node.float("alpha", default);
    Some(match node.op.as_str() {
        QUANTISE => Box::new(|x| x),
        "Relu" | "Clip" => {
            let (low, high) = bounds(graph, node)?;
            Box::new(move |x: f32| x.max(low).min(high))
        }
        "LeakyRelu" => {
            let alpha = alpha(0.01);
            Box::new(move |x| if x < 0.0 { alpha * x } else { x })
        }
        "Sigmoid" => Box::new(|x| (1.0 / (1.0 + (-f64::from(x)).exp())) as f32),
        "Tanh" => Box::new(|x| f64::from(x).tanh() as f32),
        "HardSigmoid" => {
            let (alpha, beta) = (alpha(0.2), node.float("beta", 0.5));
            Box::new(move |x| (alpha * x + beta).clamp(0.0, 1.0))
        }
        "HardSwish" => Box::new(|x| x * (x / 6.0 + 0.5).clamp(0.0, 1.0)),
        _ => return None,
    })
}

/// More of them, for chains: what only tables compute.
pub(crate) fn more(node: &Node) -> Option<Box<dyn Fn(f32) -> f32>> {
    /// In double precision, rounded once.
    fn wide(f: impl Fn(f64) -> f64 + 'static) -> Option<Box<dyn Fn(f32) -> f32>> {
        Some(Box::new(move |x| f(f64::from(x)) as f32))
    }
    let alpha = |default: f32| f64::from(node.float("alpha", default));
    match node.op.as_str() {
        "Abs" => wide(f64::abs),
        "Neg" => wide(|x| -x),
        "Sqrt" => wide(f64::sqrt),
        "Reciprocal" => wide(|x| 1.0 / x),
        "Floor" => wide(f64::floor),
        "Ceil" => wide(f64::ceil),
        "Round" => wide(f64::round_ties_even),
        "Sign" => wide(|x| {
            if x > 0.0 {
                1.0
            } else if x < 0.0 {
                -1.0
            } else {
                0.0
            }
        }),
        "Exp" => wide(f64::exp),
        "Log" => wide(f64::ln),
        "Erf" => wide(erf),
        "Softplus" => wide(softplus),
        "Softsign" => wide(|x| x / (1.0 + x.abs())),
        "Mish" => wide(|x| x * softplus(x).tanh()),
        "Gelu" if node.text("approximate") == "tanh" => {
            wide(|x| 0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x)).tanh()))
        }
        "Gelu" => wide(|x| 0.5 * x * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2))),
        "Swish" => {
            let alpha = alpha(1.0);
            wide(move |x| x / (1.0 + (-alpha * x).exp()))
        }
        "Elu" => {
            let alpha = alpha(1.0);
            wide(move |x| if x < 0.0 { alpha * x.exp_m1() } else { x })
        }
        "Selu" => {
            let (alpha, gamma) = (alpha(1.673_263_2), f64::from(node.float("gamma", 1.050_701)));
            wide(move |x| gamma * if x <= 0.0 { alpha * x.exp_m1() } else { x })
        }
        "ThresholdedRelu" => {
            let alpha = alpha(1.0);
            wide(move |x| if x > alpha { x } else { 0.0 })
        }
        _ => None,
    }
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// The error function, within 1e-14: by its series near 0, by the continued fraction of its complement beyond.
fn erf(x: f64) -> f64 {
    let z = x.abs();
    if z.is_nan() || z >= 6.0 {
        return if z.is_nan() { x } else { x.signum() };
    }
    let positive = if z < 2.5 {
        // erf x = 2/√π · e^(-x²) · Σ 2ⁿ x^(2n+1) / (1·3·…·(2n+1)): all terms have one sign.
        let (mut term, mut sum, mut n) = (z, z, 1.0);
        while term > sum * 1e-17 {
            term *= 2.0 * z * z / (2.0 * n + 1.0);
            sum += term;
            n += 1.0;
        }
        std::f64::consts::FRAC_2_SQRT_PI * (-z * z).exp() * sum
    } else {
        let fraction = (1..=60).rev().fold(z, |below, n| z + f64::from(n) / 2.0 / below);
        1.0 - (-z * z).exp() / (std::f64::consts::PI.sqrt() * fraction)
    };
    positive.copysign(x)
}

/// The same for operators that stay in float.
pub(crate) fn float(graph: &Graph, node: &Node) -> Option<Function> {
    Some(match node.op.as_str() {
        "Relu" | "Clip" => {
            let (low, high) = bounds(graph, node)?;
            Function::Clip(low, high)
        }
        "LeakyRelu" => Function::LeakyRelu(node.float("alpha", 0.01)),
        "Sigmoid" => Function::Sigmoid,
        "Tanh" => Function::Tanh,
        "HardSigmoid" => Function::HardSigmoid(node.float("alpha", 0.2), node.float("beta", 0.5)),
        "HardSwish" => Function::HardSwish,
        "Sqrt" => Function::Sqrt,
        "Reciprocal" => Function::Reciprocal,
        "Neg" => Function::Neg,
        "Abs" => Function::Abs,
        "Exp" => Function::Exp,
        "Log" => Function::Log,
        "Erf" => Function::Erf,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_function_is_that_of_tables() {
        // Abramowitz and Stegun, table 7.1, and the limits.
        for (x, y) in [
            (0.0, 0.0),
            (0.1, 0.112_462_916_018_285),
            (0.5, 0.520_499_877_813_047),
            (1.0, 0.842_700_792_949_715),
            (2.0, 0.995_322_265_018_953),
            (2.4999, 0.999_592_831_305_788),
            (2.5001, 0.999_593_266_815_5),
            (3.0, 0.999_977_909_503_001),
            (9.0, 1.0),
            (f64::INFINITY, 1.0),
        ] {
            assert!((erf(x) - y).abs() < 2e-7 && (erf(-x) + y).abs() < 2e-7, "{x}: {}", erf(x));
        }
        assert!(
            (erf(1.0) - 0.842_700_792_949_714_9).abs() < 1e-14 && (erf(3.0) - 0.999_977_909_503_001_4).abs() < 1e-14
        );
        assert!(erf(f64::NAN).is_nan());
    }

    #[test]
    fn functions_are_onnx() {
        let f = |op: &str, x: f32| more(&Node::new(op, "", &["x"], "y")).unwrap()(x);
        for (op, x, y) in [
            ("Gelu", 1.0, 0.841_344_8),
            ("Gelu", -1.0, -0.158_655_25),
            ("Mish", 1.0, 0.865_098_4),
            ("Swish", 2.0, 1.761_594_2),
            ("Elu", -1.0, -0.632_120_55),
            ("Selu", 1.0, 1.050_701),
            ("Softplus", 0.0, std::f32::consts::LN_2),
            ("ThresholdedRelu", 0.5, 0.0),
            ("Round", 2.5, 2.0),
            ("Sign", -3.0, -1.0),
        ] {
            assert!((f(op, x) - y).abs() < 1e-6, "{op} {x}: {}", f(op, x));
        }
    }
}
