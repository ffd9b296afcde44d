//! From the bytes of a file to a plan that can run.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::ensure;
use tract_onnx::tract_core::ops::konst::Const;

use super::channels;
use super::check;
use super::coverage;
use super::distances;
use super::graph::{self, Graph, is_onnx};
use super::guard::catch;
use super::lower::{self, Part};
use super::normalise;
use super::operators;
use super::ops::{self, ProgramOp, Tables};
use super::origin::Origin;
use super::rewrite;
use super::shapes;
use super::softmax;
use super::{Engine, Options, Port, Step, Summary};
use crate::bundle::Bundle;
use crate::error::{Error, Result, UnsupportedNode};
use crate::limits::Limits;
use crate::preprocess::Normaliser;
use oltr_int8::kernels;

/// Readers that a small constant has at most, and elements of a small one.
const READERS: usize = 8;
const SMALL: usize = 64;

/// A plan of tract's, shared by sessions.
pub(super) type Plan = Arc<TypedSimplePlan>;

/// Everything about a file that sessions share.
#[derive(Debug)]
pub(super) struct Loaded {
    pub name: Arc<str>,
    pub sha256: String,
    pub graph_sha256: Option<String>,
    pub bundle: Option<Bundle>,
    pub metadata: BTreeMap<String, String>,
    pub inputs: Vec<Port>,
    pub outputs: Vec<Port>,
    pub summary: Summary,
    pub limits: Limits,
    /// Threads of one session.
    pub threads: usize,
    /// Runs on numbers.
    f32_plan: Mutex<F32Plan>,
    /// Runs on the bytes of a picture, where the network begins with quantising it.
    pub picture_plan: Option<Plan>,
}

/// The plan that runs on numbers. A camera never needs it where there is one that runs on pictures.
#[derive(Debug)]
enum F32Plan {
    Built(Plan),
    /// What it is built from.
    Later(Box<Source>),
}

/// What plans are built from.
#[derive(Clone, Debug)]
struct Source {
    model: InferenceModel,
    parts: Vec<Part>,
    threads: usize,
    name: Arc<str>,
    limits: Limits,
}

impl Loaded {
    /// The plan that runs on numbers, built when first asked for.
    ///
    /// # Errors
    /// [`Error::BadModel`] if tract cannot build it.
    pub fn f32_plan(&self) -> Result<Plan> {
        let mut f32_plan = self.f32_plan.lock().unwrap_or_else(PoisonError::into_inner);
        if let F32Plan::Later(source) = &*f32_plan {
            let source = source.clone();
            *f32_plan = F32Plan::Built(guard(&self.name, || source.build(None))?);
        }
        match &*f32_plan {
            F32Plan::Built(plan) => Ok(plan.clone()),
            F32Plan::Later(_) => Err(Error::Internal("a plan that was built is not there".into())),
        }
    }
}

/// Loads a model from its file.
pub(super) fn load(name: &str, origin: &Origin, options: &Options) -> Result<Loaded> {
    let file = graph::read(name, origin, options.hash_graph, &options.limits)?;
    let mut graph = file.graph;
    let operators = count_operators(&graph);
    let quantisation = describe(&graph);
    let bundle = Bundle::from_metadata(name, &file.metadata, &options.limits)?;
    let order: HashMap<String, usize> =
        graph.nodes.iter().enumerate().map(|(i, n)| (n.label().to_string(), i)).collect();
    let mut unsupported = check::nodes(name, &graph)?;
    unsupported.extend(normalise::normalise(name, &mut graph, &options.limits)?);
    if !unsupported.is_empty() {
        unsupported.sort_by_key(|n| order.get(&n.node));
        unsupported.dedup_by(|a, b| a.node == b.node);
        return Err(Error::UnsupportedNodes { model: name.into(), nodes: unsupported });
    }
    check::geometry(name, &graph, &options.limits)?;
    let unsupported = rewrite::rewrite(&mut graph);
    if !unsupported.is_empty() {
        return Err(Error::UnsupportedNodes { model: name.into(), nodes: unsupported });
    }
    let kernels = kernels::select().map_err(Error::Config)?;
    let quantised = lower::is_quantised(&graph);
    if options.engine == Engine::Int8 {
        distances::fuse(&mut graph);
    }
    let (parts, coverage) = match options.engine {
        Engine::Int8 if quantised => lower::lower(&mut graph, kernels)?,
        engine => {
            let told = engine == Engine::Int8 && (coverage::is_dynamic(&graph) || !graph.why.is_empty());
            (Vec::new(), coverage::of(&graph, &shapes::infer(&graph), &HashSet::new(), told))
        }
    };
    lower::fold_constants(&mut graph);
    lower::prune(&mut graph);
    channels::put_first(&mut graph);
    write_shapes(&mut graph, &parts);
    if options.engine == Engine::Int8 {
        softmax::fuse(&mut graph);
    }
    let onnx = ops::onnx();
    let unknown = |n: &&graph::Node| !knows(&onnx, n);
    let unsupported: Vec<_> = graph.nodes.iter().filter(unknown).map(unsupported_by_tract).collect();
    if !unsupported.is_empty() {
        return Err(Error::UnsupportedNodes { model: name.into(), nodes: unsupported });
    }

    check_float_nodes(name, graph.nodes.iter().map(steps_of).sum(), most_readers(&graph), &options.limits)?;
    let picture = bundle.as_ref().and_then(|b| picture_input(&graph, &parts, b));
    let weights = float_weights(&graph) + parts.iter().map(|p| p.program.weights_bytes() as u64).sum::<u64>();
    let arena = parts.iter().map(|p| p.program.arena_bytes() as u64).sum();
    let scratch = parts.iter().map(|p| p.program.scratch_bytes(options.threads) as u64).sum();
    let proto = graph.to_proto();
    let inputs: Vec<Port> = graph.inputs.iter().map(|(n, s)| Port { name: n.clone(), shape: s.clone() }).collect();
    let output_names = std::mem::take(&mut graph.outputs);
    drop(graph);
    // Everything that is ever read of the file was read.
    origin.check()?;
    let shared_name: Arc<str> = name.into();
    let (plan, f32_plan) = guard(&shared_name, || -> TractResult<_> {
        let model = onnx.model_for_proto_model(&proto)?;
        drop(proto);
        let (name, limits) = (shared_name.clone(), options.limits.clone());
        let source = Source { model, parts, threads: options.threads, name, limits };
        match picture {
            Some(picture) => {
                let plan = source.clone().build(Some(picture))?;
                Ok((plan, F32Plan::Later(Box::new(source))))
            }
            None => {
                let plan = source.build(None)?;
                Ok((plan.clone(), F32Plan::Built(plan)))
            }
        }
    })?;
    let outputs = ports(name, &plan, output_names)?;
    if let Some(bundle) = &bundle {
        check_bundle(name, bundle, &inputs, &outputs)?;
    }
    let summary = Summary {
        file_bytes: origin.length(),
        isa: kernels.isa().into(),
        weights_bytes: weights,
        arena_bytes: arena,
        scratch_bytes: scratch,
        operators,
        quantisation,
        coverage,
        steps: steps(&plan),
    };
    let limits = options.limits.clone();
    let metadata = file.metadata;
    let threads = options.threads;
    Ok(Loaded {
        name: shared_name,
        sha256: file.sha256,
        graph_sha256: file.graph_sha256,
        bundle,
        metadata,
        inputs,
        outputs,
        summary,
        limits,
        threads,
        picture_plan: matches!(f32_plan, F32Plan::Later(_)).then_some(plan),
        f32_plan: Mutex::new(f32_plan),
    })
}

/// What is said of an operator that no program computes and tract does not know.
fn unsupported_by_tract(node: &graph::Node) -> UnsupportedNode {
    match node.op.as_str() {
        operators::RESIZE_BYTES => UnsupportedNode {
            operator: "Resize".into(),
            ..node.unsupported("is computed on the bytes of one map only; quantise the model with it between DQ and Q")
        },
        _ => node.unsupported("tract has no such operator"),
    }
}

/// Whether tract, with our operators, knows this one.
fn knows(onnx: &tract_onnx::Onnx, node: &graph::Node) -> bool {
    is_onnx(&node.domain) && onnx.op_register.0.contains_key(&node.op)
}

/// Runs `f`, which hands a file's content to tract: an error or a panic there is the file's fault.
fn guard<T>(name: &Arc<str>, f: impl FnOnce() -> TractResult<T>) -> Result<T> {
    catch(name, "the graph does not hold together, and checking it failed", f)?.map_err(|e| {
        e.downcast::<Error>().unwrap_or_else(|e| Error::BadModel {
            model: name.to_string(),
            reason: format!("the graph does not hold together: {e:#}"),
        })
    })
}

/// Refuses what tract would take too long to load: `nodes` operators, of which `readers` read the same tensor.
fn check_float_nodes(model: &str, nodes: usize, readers: usize, limits: &Limits) -> Result<()> {
    let bounds = [("float_nodes", nodes, limits.float_nodes), ("tensor_readers", readers, limits.tensor_readers)];
    match bounds.into_iter().find(|(_, value, limit)| value > limit) {
        None => Ok(()),
        Some((what, value, limit)) => {
            Err(Error::Limit { subject: model.into(), what, value: value as u64, limit: limit as u64 })
        }
    }
}

/// The most nodes that read one tensor, constants apart.
fn most_readers(graph: &Graph) -> usize {
    let consumers = graph.consumers();
    consumers.iter().filter(|(name, _)| !graph.consts.contains_key(**name)).map(|(_, r)| r.len()).max().unwrap_or(0)
}

/// As how many operators a node counts for [`Limits::float_nodes`]: tract computes what has many inputs or outputs in
/// steps.
fn steps_of(node: &graph::Node) -> usize {
    1 + node.inputs.len().saturating_sub(3) + node.outputs.len().saturating_sub(1)
}

impl Source {
    /// Types the graph, puts the programs in, and makes a plan; for a picture of this side with these tables, if one is
    /// given.
    fn build(self, picture: Option<(Tables, usize)>) -> TractResult<Plan> {
        let Source { mut model, parts, threads, name: file, limits } = self;
        let tensor_elements = limits.tensor_elements;
        if let Some((_, side)) = &picture {
            model.set_input_fact(0, u8::fact([1, *side, *side, 3]).into())?;
        }
        let tables = picture.map(|p| p.0);
        let mut typed = model.into_typed()?;
        share_less(&mut typed)?;
        let computed = typed.nodes().iter().filter(|node| node.op_as::<Const>().is_none()).count();
        let readers = typed.nodes().iter().flat_map(|node| &node.outputs).map(|outlet| outlet.successors.len()).max();
        check_float_nodes(&file, computed, readers.unwrap_or(0), &limits)?;
        // The last look before constants are computed: shapes that only tract could infer.
        let (mut own, mut computed) = (0u64, 0u64);
        let mut constant = vec![false; typed.nodes().len()];
        for node in typed.nodes() {
            let follows = !node.inputs.is_empty() && node.inputs.iter().all(|i| constant.get(i.node) == Some(&true));
            let given = node.op_as::<Const>().is_some();
            constant[node.id] = given || follows;
            for shape in node.outputs.iter().filter_map(|o| o.fact.shape.as_concrete()) {
                let volume = shape.iter().try_fold(1u64, |v, d| v.checked_mul(*d as u64)).unwrap_or(u64::MAX);
                let name = &node.name;
                ensure!(
                    volume <= tensor_elements,
                    "'{name}' has the shape {shape:?}, the limit is {tensor_elements} elements"
                );
                *(if given { &mut own } else { &mut computed }) += if constant[node.id] { volume } else { 0 };
            }
        }
        let limit = limits.computed_constants(own);
        ensure!(computed <= limit, "{computed} elements follow from constants alone, the limit is {limit}");
        let ops: HashMap<usize, ProgramOp> = parts
            .iter()
            .enumerate()
            .map(|(index, p)| (index, ProgramOp { index, program: p.program.clone(), threads, tables: tables.clone() }))
            .collect();
        ops::install(&mut typed, &ops);
        typed.into_optimized()?.into_runnable()
    }
}

/// Gives a small constant that very many nodes read, such as the 0 of every Relu, to a few of them each: tract changes the
/// list of a tensor's readers with each node that it optimises, which takes the square of their number.
fn share_less(model: &mut TypedModel) -> TractResult<()> {
    for id in 0..model.nodes().len() {
        let node = model.node(id);
        let Some(value) = node.op_as::<Const>().map(|c| c.val().clone()) else { continue };
        let Some(outlet) = node.outputs.first().filter(|o| o.successors.len() > READERS && value.len() <= SMALL) else {
            continue;
        };
        let (name, fact, readers) = (node.name.clone(), outlet.fact.clone(), outlet.successors.to_vec());
        for (i, readers) in readers.chunks(READERS).enumerate().skip(1) {
            let copy = model.add_node(format!("{name}.{i}"), Const::new(value.clone())?, tvec![fact.clone()])?;
            for reader in readers {
                model.add_edge(OutletId::new(copy, 0), *reader)?;
            }
        }
    }
    Ok(())
}

/// Tells the program nodes the shapes of their results.
fn write_shapes(graph: &mut Graph, parts: &[Part]) {
    for node in graph.nodes.iter_mut().filter(|n| n.op == operators::PROGRAM) {
        let part = &parts[node.int("index", 0) as usize];
        for (i, shape) in part.program.outputs().iter().enumerate() {
            let dims: Vec<i64> = shape.iter().map(|d| *d as i64).collect();
            let with = std::mem::replace(node, graph::Node::new("", "", &[], ""));
            *node = with.with_ints(&format!("shape{i}"), &dims);
        }
    }
}

/// The quantising tables for a picture of bytes and its side, if the network does nothing with its only input but
/// quantise it.
fn picture_input(graph: &Graph, parts: &[Part], bundle: &Bundle) -> Option<(Tables, usize)> {
    let [(input, shape)] = &graph.inputs[..] else { return None };
    let side = bundle.preprocess.size as usize;
    let mut readers = graph.nodes.iter().filter(|n| n.inputs.contains(input));
    let (node, None) = (readers.next()?, readers.next()) else { return None };
    if node.op != operators::PROGRAM || shape[..] != [1, 3, side, side] {
        return None;
    }
    let part = &parts[node.int("index", 0) as usize];
    let quant = part.program.input_quant(part.inputs.iter().position(|i| i == input)?)?;
    let mask = part.program.storage().mask();
    let normaliser = Normaliser::new(&bundle.preprocess);
    let tables = [0, 1, 2].map(|c| normaliser.table(c).map(|x| quant.quantise(x) ^ mask));
    Some((Arc::new(tables), side))
}

fn ports(name: &str, plan: &Plan, names: Vec<String>) -> Result<Vec<Port>> {
    let model = plan.model();
    names
        .into_iter()
        .enumerate()
        .map(|(i, output)| {
            let bad =
                |reason: &str| Error::BadModel { model: name.into(), reason: format!("output '{output}' {reason}") };
            let fact = model.output_fact(i).map_err(|_| bad("is not computed"))?;
            let shape = fact.shape.as_concrete().ok_or_else(|| bad("has no fixed shape"))?.to_vec();
            if fact.datum_type != f32::datum_type() {
                return Err(bad("is not float32; export the model with float32 outputs"));
            }
            Ok(Port { name: output.clone(), shape })
        })
        .collect()
}

/// The metadata must fit the graph: input size, number of classes.
fn check_bundle(name: &str, bundle: &Bundle, inputs: &[Port], outputs: &[Port]) -> Result<()> {
    let bad = |key, reason| Err(Error::Metadata { model: name.into(), key, reason });
    let side = bundle.preprocess.size as usize;
    let [input] = inputs else {
        return bad("oltr.preprocess", format!("is for one picture, the graph has {} inputs", inputs.len()));
    };
    if input.shape[..] != [1, 3, side, side] {
        let shape = &input.shape;
        return bad("oltr.preprocess", format!("size {side} needs an input of [1,3,{side},{side}], it is {shape:?}"));
    }
    let classes = bundle.classes.len();
    for output in ["logits", "distances"] {
        match outputs.iter().find(|o| o.name == output) {
            None if output == "distances" && !bundle.open.rule.needs_distances() => {}
            None => {
                let remedy = if output == "distances" { "'oltr adopt' adds it" } else { "export it again" };
                return bad("oltr.classes", format!("the graph has no output '{output}'; {remedy}"));
            }
            Some(o) if o.volume() != classes => {
                let shape = &o.shape;
                return bad("oltr.classes", format!("names {classes} classes, but '{output}' is {shape:?}"));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

fn count_operators(graph: &Graph) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for node in &graph.nodes {
        let name = if is_onnx(&node.domain) { node.op.clone() } else { format!("{}.{}", node.domain, node.op) };
        *counts.entry(name).or_insert(0) += 1;
    }
    counts
}

/// How a file is quantised, for people.
fn describe(graph: &Graph) -> String {
    let qdq: Vec<&graph::Node> = graph.nodes.iter().filter(|n| n.op == operators::QUANTISE).collect();
    let operators = graph.nodes.iter().filter(|n| n.op.starts_with("QLinear") || n.op == "QGemm").count();
    let per_channel = graph
        .nodes
        .iter()
        .filter(|n| matches!(n.op.as_str(), operators::DEQUANTISE | "QLinearConv" | "QLinearMatMul" | "QGemm"))
        .flat_map(|n| n.inputs.iter())
        .any(|i| graph.consts.get(i).is_some_and(|c| c.shape.len() == 1 && c.len() > 1 && c.values.dtype() == "f32"));
    let zero = |n: &&graph::Node| n.input(2).and_then(|z| graph.consts.get(z)).map(|c| c.values.dtype());
    let signed = qdq.iter().any(|n| zero(n) == Some("i8"));
    let form = match (operators, qdq.len()) {
        (0, 0) => return "float".into(),
        (0, _) => "QDQ",
        _ => "QOperator",
    };
    let dtype = if signed { "int8" } else { "uint8" };
    format!("{form}, {dtype} activations, weights {}", if per_channel { "per channel" } else { "per tensor" })
}

fn float_weights(graph: &Graph) -> u64 {
    let mut names: Vec<&String> = graph.nodes.iter().flat_map(|n| &n.inputs).collect();
    names.sort();
    names.dedup();
    names.iter().filter_map(|n| graph.consts.get(*n)).map(|c| 4 * c.len() as u64).sum()
}

/// The steps of a plan, the layers of its programs in their places.
fn steps(plan: &Plan) -> Vec<Step> {
    let model = plan.model();
    let mut steps = Vec::new();
    for id in plan.order_without_consts() {
        let node = model.node(*id);
        if let Some(op) = node.op_as::<ProgramOp>() {
            steps.extend(op.program.layers().map(|l| Step {
                name: l.name.clone(),
                op: l.op.clone(),
                dtype: l.dtype.into(),
                shape: l.shape.clone(),
                macs: l.macs,
                kernel: l.kernel.clone(),
                program: Some(op.index),
            }));
        } else {
            let fact = &node.outputs[0].fact;
            steps.push(Step {
                name: node.name.clone(),
                op: format!("tract {}", node.op().name()),
                dtype: format!("{:?}", fact.datum_type).to_lowercase(),
                shape: fact.shape.as_concrete().map(<[usize]>::to_vec).unwrap_or_default(),
                macs: 0,
                kernel: String::new(),
                program: None,
            });
        }
    }
    steps
}
