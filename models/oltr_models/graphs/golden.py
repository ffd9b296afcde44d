"""Golden outputs: what ONNX Runtime computes on one thread of the CPU."""

import numpy as np
import onnx
import onnxruntime as ort


def session(
    model: onnx.ModelProto, *, optimised: bool = True, exact: bool = True, threads: int = 1
) -> ort.InferenceSession:
    """A session whose integer products are exact on every processor.

    On x86 without VNNI, ONNX Runtime multiplies uint8 by int8 with an instruction that
    adds two products in 16 bits and saturates. Large weights then give results that no
    other machine gives. `session.x64quantprecision` asks for the slower exact way; without
    `exact` the session runs as fast as users run it.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    level = ort.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimised else level.ORT_DISABLE_ALL
    options.log_severity_level = 3
    if exact:
        options.add_session_config_entry("session.x64quantprecision", "1")
        model = _with_own_weights(model)
    return ort.InferenceSession(
        model.SerializeToString(),
        options,
        providers=["CPUExecutionProvider"],
        disabled_optimizers=["ConstantSharing"] if exact else [],
    )


def outputs(run: ort.InferenceSession, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every output by name."""
    names = [output.name for output in run.get_outputs()]
    return dict(zip(names, run.run(names, feeds), strict=True))


def goldens(model: onnx.ModelProto, samples: list[dict[str, np.ndarray]]) -> list[dict[str, np.ndarray]]:
    """For each sample one set of arrays, named after the graph's inputs and outputs."""
    run = session(model)
    return [feeds | outputs(run, feeds) for feeds in samples]


def _with_own_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model with a copy of each shared int8 weight (the centroids) per consumer.

    ONNX Runtime 1.32 rewrites weights for the exact way and fails with "Attempt to replace
    the existing tensor" where two nodes share one. For the same reason the session does
    without the optimisation that lets equal zero points share one tensor.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    int8 = {t.name: t for t in graph.initializer if t.data_type == onnx.TensorProto.INT8}
    shared = {n.output[0]: n for n in graph.node if n.op_type == "DequantizeLinear" and n.input[0] in int8}
    # Their zero points too; those of activations stay as they are.
    per_tensor = {node.input[2] for node in shared.values() if len(node.input) > 2}
    weights = {name: t for name, t in int8.items() if len(t.dims) > 0 or name in per_tensor}
    nodes: list[onnx.NodeProto] = []
    seen: set[str] = set()
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name in shared:
                if name in seen:
                    duplicate = onnx.NodeProto()
                    duplicate.CopyFrom(shared[name])
                    duplicate.name = f"{duplicate.name}.{len(nodes)}"
                    duplicate.output[0] = node.input[index] = f"{name}.{len(nodes)}"
                    _own_initializers(graph, duplicate, weights, seen)
                    nodes.append(duplicate)
                seen.add(name)
        _own_initializers(graph, node, weights, seen)
        nodes.append(node)
    graph.ClearField("node")
    graph.node.extend(nodes)
    return copy


def _own_initializers(
    graph: onnx.GraphProto, node: onnx.NodeProto, weights: dict[str, onnx.TensorProto], seen: set[str]
) -> None:
    """Replace the weights of `node` that another node has `seen` by copies."""
    for index, name in enumerate(node.input):
        if name in weights and name in seen:
            duplicate = graph.initializer.add()
            duplicate.CopyFrom(weights[name])
            duplicate.name = node.input[index] = f"{name}.{node.name}"
        elif name in weights:
            seen.add(name)
