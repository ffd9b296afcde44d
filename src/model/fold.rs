//! Nodes whose operands are all constant, computed once at load: weights that an exporter transposes, casts, clips or
//! quantises in the graph, zero points that it makes with ConstantOfShape, sizes that it takes from shapes.
//!
//! What is folded is bounded by [`Budget`], so that a small file cannot ask for much memory.

use std::collections::HashMap;
use std::sync::Arc;

use super::graph::{Const, Node, Values};
use super::operators::QUANTISE;
use super::origin::Raw;
use super::shapes::{self, Shapes, broadcast, volume, wrap};
use crate::limits::Limits;
use oltr_int8::quant::round_saturate;

type Consts<'a> = HashMap<String, Arc<Const<'a>>>;

/// Elements that may still be computed.
#[derive(Debug)]
pub(super) struct Budget(u64);

impl Budget {
    /// Some passes over all constants of the file, and what sizes take; no more than [`Limits::computed_constants`].
    pub fn new(consts: &Consts, limits: &Limits) -> Budget {
        let volume = consts.values().map(|c| c.len() as u64).fold(1 << 18, u64::saturating_add);
        Budget(volume.saturating_mul(6).min(limits.computed_constants(volume)))
    }

    /// Whether so many more elements may be computed; they then are.
    pub fn spend(&mut self, elements: usize) -> bool {
        self.take(elements).is_some()
    }

    fn take(&mut self, elements: usize) -> Option<()> {
        self.0 = self.0.checked_sub((elements as u64).checked_add(1)?)?;
        Some(())
    }
}

/// The values of the outputs of a node, if they follow from constants and shapes.
pub(super) fn fold<'a>(
    node: &Node,
    (consts, opset): (&Consts<'a>, i64),
    shapes: &Shapes,
    budget: &mut Budget,
) -> Option<Vec<Const<'a>>> {
    if !super::graph::is_onnx(&node.domain) {
        return None;
    }
    if matches!(node.op.as_str(), "Shape" | "Size") {
        return of_shape(node, shapes.get(node.input(0)?)?).map(|c| vec![c]);
    }
    let given = node.inputs.iter().filter(|i| !i.is_empty());
    if node.inputs.is_empty() || !given.clone().all(|i| consts.contains_key(i)) {
        return None;
    }
    budget.take(given.map(|i| consts[i].len()).sum())?;
    let found = shapes::outputs((consts, opset), shapes, node)?;
    // A dimension of 0 makes no other one small: each is gone through before it.
    let room = |shape: &Vec<usize>| shape.iter().fold(1usize, |v, d| v.saturating_mul(*d.max(&1)));
    budget.take(found.iter().map(room).fold(0, usize::saturating_add))?;
    if found.len() != node.outputs.len() {
        return None;
    }
    let x = &consts[node.input(0)?];
    let input = |i: usize| node.input(i).and_then(|name| consts.get(name));
    let shape = found[0].clone();
    let values = match node.op.as_str() {
        "Identity" | "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" => x.values.clone(),
        "Cast" => cast(&x.values, node.int("to", 0))?,
        "ConstantOfShape" => filled(node, volume(&shape)?)?,
        "Transpose" => {
            let reversed: Vec<i64> = (0..x.shape.len() as i64).rev().collect();
            let perm = node.ints("perm").unwrap_or(&reversed);
            let strides = row_major(&x.shape);
            let from: Option<Vec<i64>> = perm.iter().map(|p| strides.get(*p as usize).copied()).collect();
            taken(&x.values, &positions(&shape, &from?, 0)?)?
        }
        "Expand" => taken(&x.values, &positions(&shape, &spread(&x.shape, &shape)?, 0)?)?,
        "Slice" => {
            let mut from = row_major(&x.shape);
            let mut first = 0;
            for (axis, cut) in shapes::slices((consts, opset), node, &x.shape)? {
                first += cut.start as i64 * from[axis];
                // A step that is never taken can be any number.
                from[axis] = if cut.count > 1 { from[axis].checked_mul(cut.step)? } else { 0 };
            }
            taken(&x.values, &positions(&shape, &from, first)?)?
        }
        "Gather" => {
            let axis = wrap(node.int("axis", 0), x.shape.len()).filter(|a| *a < x.shape.len())?;
            let n = x.shape[axis] as i64;
            let indices = input(1)?.integers()?;
            let [outer, inner] = [volume(&x.shape[..axis])?, volume(&x.shape[axis + 1..])?];
            let mut positions = Vec::new();
            for o in 0..outer {
                for index in &indices {
                    let index = if *index < 0 { index + n } else { *index };
                    let index = usize::try_from(index).ok().filter(|i| *i < n as usize)?;
                    let first = (o * n as usize + index) * inner;
                    positions.extend(first..first + inner);
                }
            }
            taken(&x.values, &positions)?
        }
        "Concat" => concatenated(node, consts, &shape)?,
        "Split" => return parts(node, x, &found),
        "Clip" => {
            let bound = |i: usize, name: &str, none: f64| match (input(i), node.attribute(name)) {
                (Some(c), _) => f64_values(&c.values)?.first().copied(),
                (None, Some(a)) => Some(f64::from(a.f)),
                (None, None) => Some(none),
            };
            let (low, high) = (bound(1, "min", f64::NEG_INFINITY)?, bound(2, "max", f64::INFINITY)?);
            let clipped = f64_values(&x.values)?.into_iter().map(|v| v.max(low).min(high)).collect();
            from_values(clipped, &x.values)?
        }
        "Add" | "Sub" | "Mul" | "Div" | "Min" | "Max" if node.inputs.len() == 2 => {
            arithmetic(&node.op, x, input(1)?, &shape)?
        }
        "Sqrt" | "Neg" | "Abs" | "Reciprocal" => {
            let f: fn(f32) -> f32 = match node.op.as_str() {
                "Sqrt" => f32::sqrt,
                "Neg" => |x| -x,
                "Abs" => f32::abs,
                _ => |x| 1.0 / x,
            };
            Values::F32(x.as_f32()?.iter().map(|x| f(*x)).collect::<Vec<_>>().into())
        }
        QUANTISE => quantised(node, x, [input(1)?, input(2)?])?,
        _ => return None,
    };
    if let Values::F32(v) = &values
        && v.get().iter().any(|v| v.is_nan())
    {
        return None;
    }
    let whole = length(&values)? == volume(&shape)?;
    whole.then(|| vec![Const { shape, values }])
}

/// What Shape and Size say of a shape.
fn of_shape(node: &Node, shape: &[usize]) -> Option<Const<'static>> {
    let dims: Vec<i64> = shape.iter().map(|d| *d as i64).collect();
    if node.op == "Size" {
        let size = i64::try_from(volume(shape)?).ok()?;
        return Some(Const { shape: vec![], values: Values::I64(vec![size]) });
    }
    let rank = dims.len() as i64;
    let place = |i: i64| if i < 0 { i + rank } else { i }.clamp(0, rank) as usize;
    let dims = dims.get(place(node.int("start", 0))..place(node.int("end", rank))).unwrap_or(&[]).to_vec();
    Some(Const { shape: vec![dims.len()], values: Values::I64(dims) })
}

fn length(values: &Values) -> Option<usize> {
    Some(match values {
        Values::F32(v) => v.len(),
        Values::U8(v) | Values::I8(v) => v.len(),
        Values::I32(v) => v.len(),
        Values::I64(v) => v.len(),
        Values::Other(_) => return None,
    })
}

fn row_major(shape: &[usize]) -> Vec<i64> {
    let mut strides = vec![1i64; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i].saturating_mul(shape[i] as i64);
    }
    strides
}

/// Places of the elements of `shape` at `strides`, in order; `None` where one lies before the first.
fn positions(shape: &[usize], strides: &[i64], first: i64) -> Option<Vec<usize>> {
    if shape.contains(&0) {
        return Some(Vec::new());
    }
    let mut positions = vec![first];
    for (n, stride) in shape.iter().zip(strides) {
        positions = positions.iter().flat_map(|p| (0..*n as i64).map(move |i| p + i * stride)).collect();
    }
    positions.into_iter().map(|p| usize::try_from(p).ok()).collect()
}

/// Strides of a tensor under a shape that it is broadcast to.
fn spread(own: &[usize], shape: &[usize]) -> Option<Vec<i64>> {
    let missing = shape.len().checked_sub(own.len())?;
    let strides = row_major(own);
    let of = |i: usize| match i.checked_sub(missing) {
        None => Some(0),
        Some(at) if own[at] == 1 => Some(0),
        Some(at) if own[at] == shape[i] => Some(strides[at]),
        Some(_) => None,
    };
    (0..shape.len()).map(of).collect()
}

/// The elements at `positions`.
fn taken<'a>(values: &Values<'a>, positions: &[usize]) -> Option<Values<'a>> {
    fn at<T: Copy>(values: &[T], positions: &[usize]) -> Option<Vec<T>> {
        positions.iter().map(|p| values.get(*p).copied()).collect()
    }
    Some(match values {
        Values::F32(v) => Values::F32(at(&v.get(), positions)?.into()),
        Values::U8(v) => Values::U8(Raw::Own(at(&v.get(), positions)?)),
        Values::I8(v) => Values::I8(Raw::Own(at(&v.get(), positions)?)),
        Values::I32(v) => Values::I32(at(v, positions)?),
        Values::I64(v) => Values::I64(at(v, positions)?),
        Values::Other(_) => return None,
    })
}

/// As numbers that hold every integer of 32 bits and every size exactly.
fn f64_values(values: &Values) -> Option<Vec<f64>> {
    Some(match values {
        Values::F32(v) => v.get().iter().map(|v| f64::from(*v)).collect(),
        Values::U8(v) => v.get().iter().map(|v| f64::from(*v)).collect(),
        Values::I8(v) => v.signed().iter().map(|v| f64::from(*v)).collect(),
        Values::I32(v) => v.iter().map(|v| f64::from(*v)).collect(),
        Values::I64(v) => {
            let exact = v.iter().all(|v| v.unsigned_abs() < 1 << 53);
            return exact.then(|| v.iter().map(|v| *v as f64).collect());
        }
        Values::Other(_) => return None,
    })
}

/// Numbers in the type of `like`; `None` where an integer type does not hold them.
fn from_values(f64_values: Vec<f64>, like: &Values) -> Option<Values<'static>> {
    let fit = |low: f64, high: f64| f64_values.iter().all(|v| (low..=high).contains(v) && v.fract() == 0.0);
    Some(match like {
        Values::F32(_) => Values::F32(f64_values.iter().map(|v| *v as f32).collect::<Vec<_>>().into()),
        Values::U8(_) if fit(0.0, 255.0) => Values::U8(Raw::Own(f64_values.iter().map(|v| *v as u8).collect())),
        Values::I8(_) if fit(-128.0, 127.0) => {
            Values::I8(Raw::Own(f64_values.iter().map(|v| *v as i8 as u8).collect()))
        }
        Values::I32(_) if fit(-2_147_483_648.0, 2_147_483_647.0) => {
            Values::I32(f64_values.iter().map(|v| *v as i32).collect())
        }
        Values::I64(_) if fit(-9e15, 9e15) => Values::I64(f64_values.iter().map(|v| *v as i64).collect()),
        _ => return None,
    })
}

/// ONNX Cast to a type that constants here have; `None` where a value does not fit it.
fn cast<'a>(values: &Values<'a>, to: i64) -> Option<Values<'a>> {
    let like = match to {
        1 => Values::F32(vec![].into()),
        2 => Values::U8(Raw::Own(vec![])),
        3 => Values::I8(Raw::Own(vec![])),
        6 => Values::I32(vec![]),
        7 => Values::I64(vec![]),
        _ => return None,
    };
    // From floats to integers what is behind the point goes.
    let integer = !matches!(like, Values::F32(_));
    let f64_values = f64_values(values)?.into_iter().map(|v| if integer { v.trunc() } else { v }).collect();
    from_values(f64_values, &like)
}

fn filled(node: &Node, count: usize) -> Option<Values<'static>> {
    use tract_onnx::pb::tensor_proto::DataType;
    let Some(value) = node.attribute("value").and_then(|a| a.t.as_ref()) else {
        return Some(Values::F32(vec![0.0; count].into()));
    };
    let raw = &value.raw_data[..];
    let first = |list: &[i32]| list.first().copied();
    Some(match DataType::try_from(value.data_type).ok()? {
        DataType::Float => {
            let x = raw.try_into().ok().map(f32::from_le_bytes).or(value.float_data.first().copied())?;
            Values::F32(vec![x; count].into())
        }
        DataType::Int64 => {
            let x = raw.try_into().ok().map(i64::from_le_bytes).or(value.int64_data.first().copied())?;
            Values::I64(vec![x; count])
        }
        DataType::Int32 => {
            let x = raw.try_into().ok().map(i32::from_le_bytes).or(first(&value.int32_data))?;
            Values::I32(vec![x; count])
        }
        DataType::Uint8 => {
            let x = raw.first().copied().or(first(&value.int32_data).map(|v| v as u8))?;
            Values::U8(Raw::Own(vec![x; count]))
        }
        DataType::Int8 => {
            let x = raw.first().copied().or(first(&value.int32_data).map(|v| v as u8))?;
            Values::I8(Raw::Own(vec![x; count]))
        }
        _ => return None,
    })
}

fn concatenated<'a>(node: &Node, consts: &Consts<'a>, shape: &[usize]) -> Option<Values<'a>> {
    let axis = wrap(node.int("axis", 0), shape.len())?;
    let parts: Option<Vec<&Arc<Const<'a>>>> = node.inputs.iter().map(|i| consts.get(i)).collect();
    let parts = parts?;
    let outer = volume(&shape[..axis])?;
    let like = &parts[0].values;
    let same = parts.iter().all(|p| p.values.dtype() == like.dtype() && p.shape.len() == shape.len());
    if !same || shape.contains(&0) {
        return None;
    }
    let values: Option<Vec<(usize, Vec<f64>)>> =
        parts.iter().map(|part| Some((volume(&part.shape[axis..])?, f64_values(&part.values)?))).collect();
    let values = values?;
    let mut all = Vec::new();
    for o in 0..outer {
        for (inner, part) in &values {
            all.extend_from_slice(part.get(o * inner..(o + 1) * inner)?);
        }
    }
    from_values(all, like)
}

fn parts<'a>(node: &Node, x: &Const<'a>, found: &[Vec<usize>]) -> Option<Vec<Const<'a>>> {
    let axis = wrap(node.int("axis", 0), x.shape.len())?;
    let strides = row_major(&x.shape);
    let mut at = 0;
    let mut parts = Vec::new();
    for shape in found {
        let values = taken(&x.values, &positions(shape, &strides, at as i64 * strides.get(axis)?)?)?;
        at += shape.get(axis)?;
        parts.push(Const { shape: shape.clone(), values });
    }
    Some(parts)
}

/// Of floats in single precision; of integers as ONNX has them, division towards 0.
fn arithmetic(op: &str, a: &Const, b: &Const, shape: &[usize]) -> Option<Values<'static>> {
    if a.values.dtype() != b.values.dtype() || broadcast(&a.shape, &b.shape)?[..] != *shape {
        return None;
    }
    let (pa, pb) = (positions(shape, &spread(&a.shape, shape)?, 0)?, positions(shape, &spread(&b.shape, shape)?, 0)?);
    if let (Values::F32(x), Values::F32(y)) = (&a.values, &b.values) {
        let f: fn(f32, f32) -> f32 = match op {
            "Add" => |a, b| a + b,
            "Sub" => |a, b| a - b,
            "Mul" => |a, b| a * b,
            "Div" => |a, b| a / b,
            "Min" => f32::min,
            _ => f32::max,
        };
        let (x, y) = (x.get(), y.get());
        return Some(Values::F32(pa.iter().zip(&pb).map(|(a, b)| f(x[*a], y[*b])).collect::<Vec<_>>().into()));
    }
    let (x, y) = (f64_values(&a.values)?, f64_values(&b.values)?);
    let f = |a: f64, b: f64| match op {
        "Add" => Some(a + b),
        "Sub" => Some(a - b),
        "Mul" => Some(a * b),
        "Div" => (b != 0.0).then(|| (a / b).trunc()),
        "Min" => Some(a.min(b)),
        _ => Some(a.max(b)),
    };
    let values: Option<Vec<f64>> = pa.iter().zip(&pb).map(|(a, b)| f(x[*a], y[*b])).collect();
    from_values(values?, &a.values)
}

/// Weights that the graph quantises: `saturate(round(x / scale) + zero point)`, ties to even.
fn quantised(node: &Node, x: &Const, [scale, zero]: [&Arc<Const>; 2]) -> Option<Values<'static>> {
    if node.int("block_size", 0) != 0 {
        return None;
    }
    let (scales, zeros) = (scale.as_f32()?, zero.as_integers()?);
    if scales.len() != zeros.len() || scales.iter().any(|s| !(s.is_finite() && *s > 0.0)) {
        return None;
    }
    let inner: usize = match (scales.len(), wrap(node.int("axis", 1), x.shape.len())) {
        (1, _) => 1,
        (n, Some(axis)) if x.shape.get(axis) == Some(&n) => volume(&x.shape[axis + 1..])?.max(1),
        _ => return None,
    };
    let shift = match zero.values {
        Values::U8(_) => 0,
        Values::I8(_) => 128,
        _ => return None,
    };
    let mut bytes = Vec::with_capacity(x.len());
    for (i, x) in x.as_f32()?.iter().enumerate() {
        let channel = i / inner % scales.len();
        let zero = u8::try_from(zeros[channel] + shift).ok()?;
        bytes.push(round_saturate(x / scales[channel], zero, 0, 255));
    }
    Some(match zero.values {
        Values::U8(_) => Values::U8(Raw::Own(bytes)),
        _ => Values::I8(Raw::Own(bytes.into_iter().map(|b| b ^ 0x80).collect())),
    })
}
