//! What an ordinary image classifier in ONNX is: where its picture comes in, where its logits are, and the tensor that
//! they are made of.

use crate::error::{Error, Result};
use crate::model::edit::{Edit, EditNode, NewNode};

/// Nodes that are passed between a graph's output and the product that makes its logits.
const MOST_STEPS: usize = 32;

/// Names of what is added.
const PREFIX: &str = "oltr.adopt.";

/// How long a feature is made: reachability is 10 / distance, and the shipped networks have features of this length.
const RADIUS: f32 = 10.0;

/// How the classifier is to be read.
#[derive(Clone, Debug, Default)]
pub struct Reading<'a> {
    /// Classes.
    pub classes: usize,
    /// Side of the picture, where the graph does not fix it.
    pub size: Option<u32>,
    /// The feature tensor, where it is not the input of the product that makes the logits.
    pub features: Option<&'a str>,
    /// Whether to leave features out.
    pub logits_only: bool,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Side of the picture.
    pub size: u32,
    /// Whether the graph takes channels last.
    pub channels_last: bool,
    /// Tensor of the logits.
    pub logits: String,
    /// Whether the graph ended in a softmax, which was left out.
    pub softmax: bool,
    /// Tensor of the features; `None` without.
    pub features: Option<String>,
}

/// A tensor of the classifier, and what makes it floats of the right shape.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Tensor {
    name: String,
    /// Scale and zero point, where it is bytes.
    quantised: Option<[String; 2]>,
    /// Whether it is a map to be averaged.
    map: bool,
}

impl Tensor {
    fn new(name: impl Into<String>) -> Tensor {
        Tensor { name: name.into(), quantised: None, map: false }
    }

    /// The first input of a quantised operator, whose scale and zero point come after it.
    fn first_of(node: &EditNode, map: bool) -> Option<Tensor> {
        let [name, scale, zero] = [0, 1, 2].map(|i| node.inputs.get(i).filter(|name| !name.is_empty()).cloned());
        Some(Tensor { name: name?, quantised: Some([scale?, zero?]), map })
    }

    /// The tensor as floats, which `part` names where a node has to make them.
    fn floats(&self, edit: &mut Edit, part: &str) -> String {
        match &self.quantised {
            None => self.name.clone(),
            Some([scale, zero]) => {
                let output = format!("{PREFIX}{part}");
                let inputs = [self.name.as_str(), scale, zero];
                edit.push(&NewNode { op: "DequantizeLinear", inputs: &inputs, output: &output, int: &[], ints: &[] });
                output
            }
        }
    }
}

/// Makes the input of `edit` `image [1, 3, S, S]` and its outputs `logits [1, K]` and `features [1, D]`.
///
/// # Errors
/// [`Error::BadModel`] for a graph that is no image classifier as far as can be seen, with a remedy.
pub fn standardise(edit: &mut Edit, reading: &Reading) -> Result<Found> {
    let (size, channels_last) = input(edit, reading.size)?;
    let output = output(edit, reading)?;
    let (logits, softmax) = logits(edit, output);
    let features = match (reading.logits_only, reading.features) {
        (true, _) => None,
        (false, Some(name)) if edit.producer(name).is_some() => Some(Tensor::new(name)),
        (false, Some(name)) => {
            return Err(bad(
                edit,
                format!("computes no tensor '{name}'; 'oltr inspect' lists its steps, --features names one"),
            ));
        }
        (false, None) => Some(features(edit, &logits.name)?),
    };
    edit.rename("image", "oltr.adopt.image");
    let old = edit.inputs()[0].0.clone();
    let old = if old == "image" { "oltr.adopt.image".to_string() } else { old };
    if channels_last {
        edit.prepend(&NewNode {
            op: "Transpose",
            inputs: &["image"],
            output: &old,
            int: &[],
            ints: &[("perm", &[0, 2, 3, 1])],
        });
    } else {
        edit.rename(&old, "image");
    }
    let side = size as usize;
    edit.set_input("image", &[1, 3, side, side]);
    let renamed = |name: &str| match name {
        "image" => "oltr.adopt.image".to_string(),
        name => name.to_string(),
    };
    let (mut logits_from, mut features_from) = (logits.clone(), features.clone());
    let mut tensors: Vec<&mut Tensor> = std::iter::once(&mut logits_from).chain(&mut features_from).collect();
    tensors.iter_mut().for_each(|tensor| tensor.name = renamed(&tensor.name));
    for name in ["logits", "features", "distances"] {
        let aside = format!("{PREFIX}{name}");
        edit.rename(name, &aside);
        tensors.iter_mut().filter(|tensor| tensor.name == name).for_each(|tensor| tensor.name.clone_from(&aside));
    }
    let logits_from = logits_from.floats(edit, "logits.float");
    let classes = reading.classes;
    edit.push_i64(&format!("{PREFIX}row"), &[1, classes as i64]);
    let row = format!("{PREFIX}row");
    edit.push(&NewNode { op: "Reshape", inputs: &[&logits_from, &row], output: "logits", int: &[], ints: &[] });
    edit.set_outputs(&[("logits", &[1, classes])]);
    if let Some(from) = &features_from {
        let name = from.floats(edit, "features.float");
        sphere(edit, &name, from.map);
    }
    Ok(Found { size, channels_last, logits: logits.name, softmax, features: features.map(|tensor| tensor.name) })
}

/// Adds the output `features`: the tensor `from` as a row of length 10, of a map the mean over its places.
fn sphere(edit: &mut Edit, from: &str, pool: bool) {
    let name = |part: &str| format!("{PREFIX}{part}");
    edit.push_i64(&name("flat"), &[1, -1]);
    if edit.opset() >= 13 {
        edit.push_i64(&name("axis"), &[1]);
    }
    edit.push_f32(&name("epsilon"), &[1, 1], &[1e-12]);
    edit.push_f32(&name("radius"), &[1, 1], &[RADIUS]);
    let opset = edit.opset();
    let mut node = |op: &str, inputs: &[&str], output: &str| {
        let mut int: &[(&str, i64)] = &[];
        let mut ints: &[(&str, &[i64])] = &[];
        let axis = name("axis");
        let mut inputs = inputs.to_vec();
        if op == "ReduceSum" {
            int = &[("keepdims", 1)];
            if opset >= 13 {
                inputs.push(&axis);
            } else {
                ints = &[("axes", &[1])];
            }
        }
        edit.push(&NewNode { op, inputs: &inputs, output, int, ints });
    };
    let pooled = name("pooled");
    if pool {
        node("GlobalAveragePool", &[from], &pooled);
    }
    node("Reshape", &[if pool { &pooled } else { from }, &name("flat")], &name("feature"));
    node("Mul", &[&name("feature"), &name("feature")], &name("elements"));
    node("ReduceSum", &[&name("elements")], &name("square"));
    node("Sqrt", &[&name("square")], &name("norm"));
    node("Add", &[&name("norm"), &name("epsilon")], &name("positive"));
    node("Div", &[&name("feature"), &name("positive")], &name("unit"));
    node("Mul", &[&name("unit"), &name("radius")], "features");
    // Its length is only known once the graph was loaded; runtimes infer it.
    edit.add_output("features", &[]);
}

/// Side of the picture and whether its channels come last.
fn input(edit: &Edit, wanted: Option<u32>) -> Result<(u32, bool)> {
    let inputs = edit.inputs();
    let [(name, dims)] = &inputs[..] else {
        return Err(bad(edit, format!("has {} inputs; a classifier of pictures has one", inputs.len())));
    };
    let [batch, a, b, c] = dims[..] else {
        return Err(bad(edit, format!("takes '{name}' of {} dimensions; a picture has 4, with its batch", dims.len())));
    };
    if batch.is_some_and(|n| n != 1) {
        return Err(bad(
            edit,
            format!("takes {} pictures at a time; export it for one, or with a free batch", batch.unwrap_or(0)),
        ));
    }
    let (channels_last, height, width) = match (a, c) {
        (Some(3), Some(3)) => {
            return Err(bad(edit, "takes pictures of 3 by 3 channels; export it with a larger input".into()));
        }
        (Some(3), _) => (false, b, c),
        (_, Some(3)) => (true, a, b),
        _ => {
            return Err(bad(
                edit,
                format!("takes '{name}' without 3 channels; oltr has colour pictures, and the channels must be fixed"),
            ));
        }
    };
    let side = match (height, width, wanted) {
        (Some(h), Some(w), _) if h != w => {
            return Err(bad(edit, format!("takes pictures of {w}x{h}; a bundle has square ones, export it with such")));
        }
        (Some(h), _, Some(size)) | (_, Some(h), Some(size)) if h != size as usize => {
            return Err(bad(edit, format!("takes pictures of {h}x{h}, --size says {size}; leave --size out")));
        }
        (Some(side), ..) | (_, Some(side), _) => u32::try_from(side).unwrap_or(u32::MAX),
        (None, None, Some(size)) => size,
        (None, None, None) => {
            return Err(bad(edit, "takes pictures of any size; say with --size which it was trained for".into()));
        }
    };
    Ok((side, channels_last))
}

/// The output that says the classes.
fn output(edit: &Edit, reading: &Reading) -> Result<String> {
    let outputs = edit.outputs();
    let last = |dims: &[Option<usize>]| dims.iter().flatten().copied().filter(|n| *n != 1).collect::<Vec<_>>();
    let fitting: Vec<&String> =
        outputs.iter().filter(|(_, dims)| last(dims) == [reading.classes]).map(|(name, _)| name).collect();
    // Shapes need not be written, and a single output can be nothing else.
    let unknown = |dims: &[Option<usize>]| dims.is_empty() || dims.iter().skip(1).any(Option::is_none);
    match (&fitting[..], &outputs[..]) {
        ([one], _) => Ok((*one).clone()),
        ([], [(one, dims)]) if unknown(dims) => Ok(one.clone()),
        ([], _) => {
            let said: Vec<String> = outputs.iter().map(|(name, dims)| format!("'{name}' {:?}", last(dims))).collect();
            Err(bad(
                edit,
                format!(
                    "has no output of {} classes, as the labels name; it has {}. Name the classes in the order of its outputs, \
                 one a line, with --classes FILE",
                    reading.classes,
                    said.join(", ")
                ),
            ))
        }
        (several, _) => match several.iter().find(|name| name.as_str() == "logits") {
            Some(logits) => Ok((*logits).clone()),
            None => Err(bad(
                edit,
                format!("has {} outputs of {} classes; export it with one", several.len(), reading.classes),
            )),
        },
    }
}

/// What passes values on without mixing them: the tensor that goes in.
fn passed(node: &EditNode) -> Option<String> {
    const PASSING: [&str; 9] = [
        "Identity",
        "Reshape",
        "Flatten",
        "Squeeze",
        "Unsqueeze",
        "Cast",
        "Dropout",
        "QuantizeLinear",
        "DequantizeLinear",
    ];
    let passes = PASSING.iter().any(|op| node.is(op));
    passes.then(|| node.inputs.first().cloned()).flatten()
}

/// The tensor of the logits behind the output `name`, and whether a softmax was passed on the way.
fn logits(edit: &Edit, name: String) -> (Tensor, bool) {
    let mut at = name.clone();
    for _ in 0..MOST_STEPS {
        let Some(node) = edit.producer(&at) else { break };
        if node.is("Softmax") {
            return (Tensor::new(node.inputs.first().cloned().unwrap_or(name)), true);
        }
        if let Some(tensor) = node.is("com.microsoft.QLinearSoftmax").then(|| Tensor::first_of(node, false)).flatten() {
            return (tensor, true);
        }
        match passed(node) {
            Some(before) => at = before,
            None => break,
        }
    }
    (Tensor::new(name), false)
}

/// The data that the product behind `logits` reads, and whether it is a map to be averaged.
fn features(edit: &Edit, logits: &str) -> Result<Tensor> {
    let unreachable = |what: &str| {
        bad(
            edit,
            format!(
                "its logits come from {what}, behind which no features can be found; name the tensor with --features, or take \
             --logits-only, which judges by the logits alone"
            ),
        )
    };
    let mut at = logits.to_string();
    for _ in 0..MOST_STEPS {
        let Some(node) = edit.producer(&at) else { return Err(unreachable("nothing that it computes")) };
        let data = || node.inputs.iter().find(|input| !input.is_empty() && !edit.is_constant(input)).cloned();
        if node.is("Conv") {
            let map = |name: &String| Tensor { map: true, ..Tensor::new(name.clone()) };
            return node.inputs.first().map(map).ok_or_else(|| unreachable("an empty Conv"));
        }
        if node.is("MatMul") || node.is("Gemm") {
            return data().map(Tensor::new).ok_or_else(|| unreachable("constants"));
        }
        if ["QLinearMatMul", "com.microsoft.QGemm", "QLinearConv"].iter().any(|op| node.is(op)) {
            let tensor = Tensor::first_of(node, node.is("QLinearConv"));
            return tensor.ok_or_else(|| unreachable("a product without a zero point"));
        }
        let next = match passed(node) {
            Some(before) => Some(before),
            // A bias, a scale, pooling behind a convolution.
            None if [
                "Add",
                "Sub",
                "Mul",
                "Div",
                "GlobalAveragePool",
                "ReduceMean",
                "AveragePool",
                "Transpose",
                "Clip",
                "Relu",
            ]
            .iter()
            .any(|op| node.is(op)) =>
            {
                data()
            }
            None => None,
        };
        at = next.ok_or_else(|| unreachable(&format!("{} ('{at}')", node.op())))?;
    }
    Err(unreachable("too long a chain"))
}

fn bad(edit: &Edit, reason: String) -> Error {
    Error::BadModel { model: edit.model().into(), reason }
}
