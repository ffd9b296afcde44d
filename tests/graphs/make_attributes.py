"""Writes attributes.zip: small graphs for each attribute of each operator, each with the right output.

    python make_attributes.py            # needs onnx and onnxruntime

Each attribute that an operator has in any of the operator sets 7 and later stands in at least one case with a value
other than its default. The output is ONNX Runtime's, or onnx.reference's where ONNX Runtime has no such operator;
where both compute it, they must agree, unless the case says whose answer is the standard's. What oltr can compute in
int8 stands there twice, as it is and between quantisers.

The archive holds one file, `cases`: for each case five parts, each with its length in bytes before it (32 bits, little
endian): name, ONNX file, input `x` and output `y` as float32, and how far a value of the output may be off.
"""

import io
import os
import sys
import zipfile

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

HERE = os.path.dirname(os.path.abspath(__file__))
LATEST = 25
RANDOM = np.random.default_rng(7)
CASES: dict[str, tuple[onnx.ModelProto, np.ndarray, np.ndarray, float]] = {}
SEEN: set[tuple[str, str]] = set()
PROBLEMS: list[str] = []


def numbers(*shape, low=-4.0, high=4.0):
    """Multiples of an eighth: ties of rounding are among them."""
    return (np.round(RANDOM.uniform(low, high, shape) * 8) / 8).astype(np.float32)


def ints(*values):
    return np.array(values, np.int64)


X = np.clip(numbers(1, 4, 6, 5), -4, 3.875)
X2 = numbers(3, 5)
X3 = numbers(2, 3, 4)
POSITIVE = np.abs(X) + np.float32(0.25)


def case(op, *inputs, opset, cast=None, outputs=1, output=0, domain="", note="", want=None, **attributes):
    """A graph of `op`; the first input that is float32 comes from outside, the others are constants, None is left out.

    `cast` is the type that the first input is cast to, and the output back from. `want` names whose answer counts
    where the two differ: 'ort' or 'reference'.
    """
    for version in opset if isinstance(opset, (list, tuple)) else [opset]:
        slug = "-".join(
            f"{k}={','.join(map(str, v)) if isinstance(v, (list, tuple)) else getattr(v, 'decode', lambda: v)()}"
            for k, v in attributes.items()
            if not isinstance(v, onnx.TensorProto)
        )
        name = "-".join(filter(None, [op, str(version), slug, note])).replace(" ", "").replace("/", "")
        if name in CASES:
            continue
        one(name, op, version, inputs, cast, outputs, output, domain, want, attributes)


def one(name, op, version, inputs, cast, outputs, output, domain, want, attributes):
    nodes, names, initializers, feed = [], [], [], None
    for i, value in enumerate(inputs):
        if value is None:
            names.append("")
        elif feed is None and isinstance(value, np.ndarray) and value.dtype == np.float32:
            feed = value
            names.append("x")
            if cast:
                nodes.append(helper.make_node("Cast", ["x"], ["x.cast"], to=cast))
                names[-1] = "x.cast"
        else:
            names.append(f"c{i}")
            initializers.append(numpy_helper.from_array(np.asarray(value), f"c{i}"))
    if feed is None:
        # The graph has an input all the same: it is added to the output.
        feed = np.zeros(1, np.float32)
    results = [f"r{i}" for i in range(outputs)]
    nodes.append(helper.make_node(op, names, results, domain=domain, **attributes))
    for attribute in attributes:
        SEEN.add((op, attribute))
    last = results[output]
    nodes.append(helper.make_node("Cast", [last], ["r.cast"], to=TensorProto.FLOAT))
    if "x" not in names and "x.cast" not in names:
        nodes.append(helper.make_node("Add", ["r.cast", "x"], ["y"]))
    else:
        nodes.append(helper.make_node("Identity", ["r.cast"], ["y"]))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, feed.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        initializers,
    )
    imports = [helper.make_opsetid("", version)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    model = helper.make_model(graph, opset_imports=imports, ir_version=min(10, onnx.IR_VERSION))
    answers = {}
    errors = {}
    with np.errstate(all="ignore"):
        try:
            answers["reference"] = ReferenceEvaluator(model).run(None, {"x": feed})[0]
        except Exception as error:  # noqa: BLE001  Whatever it cannot do.
            errors["reference"] = error
        try:
            options = onnxruntime.SessionOptions()
            options.log_severity_level = 4
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
            # Exact products on processors without VNNI.
            options.add_session_config_entry("session.x64quantprecision", "1")
            session = onnxruntime.InferenceSession(model.SerializeToString(), options)
            answers["ort"] = session.run(None, {"x": feed})[0]
        except Exception as error:  # noqa: BLE001
            errors["ort"] = error
    if not answers:
        PROBLEMS.append(f"{name}: neither computes it: {errors['ort']!s:.160}")
        return
    if len(answers) == 2 and not close(*answers.values()) and want is None:
        PROBLEMS.append(f"{name}: the two differ:\n  {describe(answers['reference'])}\n  {describe(answers['ort'])}")
        return
    answer = answers.get(want) if want else answers.get("ort", answers.get("reference"))
    if answer is None:
        PROBLEMS.append(f"{name}: {want} does not compute it: {errors[want]!s:.160}")
        return
    CASES[name] = (model, feed, np.array(answer, np.float32, order="C"), 0.0)
    if want != "reference":
        between_quantisers(name, op, version, inputs, cast, outputs, domain, attributes, answer)


# What runs in int8, or in the floating point of int8 programs.
QUANTISED = (
    "Conv Gemm MatMul Add Mul Sub Div Max Min Pow MaxPool AveragePool GlobalAveragePool ReduceMean ReduceSum ReduceL2 "
    "ReduceMax ReduceMin Relu Clip LeakyRelu Sigmoid Tanh HardSigmoid HardSwish Concat Reshape Flatten Squeeze Unsqueeze "
    "Transpose Softmax Elu Swish Gelu Selu Celu ThresholdedRelu Softplus Pad Slice Resize DepthToSpace SpaceToDepth"
).split()


def between_quantisers(name, op, version, inputs, cast, outputs, domain, attributes, answer):
    """The same with a quantised input, weights and output; the numbers are such that they stay as they are."""
    is_float = [isinstance(v, np.ndarray) and v.dtype == np.float32 for v in inputs]
    if op not in QUANTISED or version < 10 or cast or outputs != 1 or domain or not is_float[0] or answer.size == 0:
        return
    largest = float(np.abs(answer).max())
    if not np.isfinite(largest) or largest == 0.0:
        return
    step = float(2.0 ** np.ceil(np.log2(largest / 127)))
    constants = {"xs": np.array(1 / 32, np.float32), "xz": np.array(128, np.uint8)}
    constants |= {"ys": np.array(step, np.float32), "yz": np.array(128, np.uint8)}
    nodes = [helper.make_node("QuantizeLinear", ["x", "xs", "xz"], ["q"]), helper.make_node("DequantizeLinear", ["q", "xs", "xz"], ["d"])]
    names = ["d"]
    for i, value in enumerate(inputs[1:], 1):
        if value is None:
            names.append("")
        elif op in ("Conv", "Gemm", "MatMul") and is_float[i]:
            names.append(f"c{i}")
            bits, scale = (np.int8, 1 / 32) if i == 1 else (np.int32, 1 / 1024)
            limit = np.iinfo(bits)
            constants[f"c{i}.q"] = np.clip(np.round(value / scale), limit.min, limit.max).astype(bits)
            constants[f"c{i}.s"] = np.array(scale, np.float32)
            constants[f"c{i}.z"] = np.array(0, bits)
            nodes.append(helper.make_node("DequantizeLinear", [f"c{i}.{part}" for part in "qsz"], [f"c{i}"]))
        else:
            names.append(f"c{i}")
            constants[f"c{i}"] = value
    nodes.append(helper.make_node(op, names, ["r"], **attributes))
    nodes.append(helper.make_node("QuantizeLinear", ["r", "ys", "yz"], ["rq"]))
    nodes.append(helper.make_node("DequantizeLinear", ["rq", "ys", "yz"], ["y"]))
    save(f"{name}-quantised", nodes, inputs[0], constants, version, tolerance=step * 1.001)


def close(a, b):
    return a.shape == b.shape and np.allclose(a, b, rtol=1e-4, atol=1e-5, equal_nan=True)


def describe(a):
    return f"{a.shape} {a.flatten()[:8]}"


def activations():
    for op, first, options in [
        ("Elu", 7, [{"alpha": 2.0}]),
        ("LeakyRelu", 7, [{"alpha": 0.25}, {"alpha": -0.5}]),
        ("LeakyRelu", 16, [{"alpha": 0.25}]),
        ("HardSigmoid", 7, [{"alpha": 0.5}, {"beta": 0.25}, {"alpha": 0.125, "beta": 0.75}]),
        ("Selu", 7, [{"alpha": 2.0}, {"gamma": 2.0}, {"alpha": 3.0, "gamma": 0.5}]),
        ("Celu", 12, [{}, {"alpha": 2.0}]),
        ("ThresholdedRelu", 10, [{}, {"alpha": 2.0}, {"alpha": -1.0}, {"alpha": 0.0}]),
        ("Shrink", 9, [{}, {"lambd": 1.5}, {"bias": 0.5}, {"lambd": 1.0, "bias": 0.25}]),
        ("Swish", 24, [{}, {"alpha": 1.0}, {"alpha": 2.0}, {"alpha": -0.5}, {"alpha": 0.0}]),
        ("Gelu", 20, [{}, {"approximate": "tanh"}, {"approximate": "none"}]),
        ("Mish", 18, [{}]),
        ("HardSwish", 14, [{}]),
        ("Softplus", 7, [{}]),
        ("Softsign", 7, [{}]),
    ]:
        for attributes in options:
            case(op, X, opset=[first, LATEST] if first < 16 else first, **attributes)
    for op in ["Softmax", "LogSoftmax", "Hardmax"]:
        for axis in [None, 0, 1, 2, -1, -2]:
            where = {} if axis is None else {"axis": axis}
            # onnx.reference computes the later definition for all sets.
            case(op, X3, opset=[7, 11], want="ort", **where)
            case(op, X3, opset=[13, LATEST], **where)
    for lo, hi in [(-1.0, 2.0), (None, 1.5), (-0.5, None)]:
        bounds = {k: v for k, v in (("min", lo), ("max", hi)) if v is not None}
        case("Clip", X, opset=[7, 10], **bounds)
        scalars = [None if v is None else np.float32(v) for v in (lo, hi)]
        case("Clip", X, *[None if v is None else np.array(v) for v in scalars], opset=[11, 13], note=f"{lo},{hi}")
    case("Clip", X, opset=[7, 11], note="none")
    case("Clip", X, np.array(3, np.float32), np.array(-1, np.float32), opset=13, note="crossed")
    case("PRelu", X, numbers(4, 1, 1), opset=[7, 9, 16])
    case("PRelu", X, numbers(1), opset=9, note="one")
    for op in ["Relu", "Sigmoid", "Tanh", "Erf", "Abs", "Neg", "Floor", "Ceil", "Sign", "Sin", "Cos", "Atan", "Exp"]:
        case(op, X, opset=13)
    case("Round", X, opset=11)
    special = np.array([np.inf, -np.inf, 0, 1, -2], np.float32)
    for attributes in [{}, {"detect_positive": 0}, {"detect_negative": 0}, {"detect_positive": 0, "detect_negative": 0}]:
        case("IsInf", special, opset=10, **attributes)


def arithmetic():
    a = np.array([5, -5, 5, -5, 7, -7, 6, -6, 0], np.float32)
    b = [3, 3, -3, -3, 2, -2, -4, 4, 5]
    for kind, dtype in [(TensorProto.INT32, np.int32), (TensorProto.INT64, np.int64), (TensorProto.INT8, np.int8)]:
        for fmod in [None, 0, 1]:
            case("Mod", a, np.array(b, dtype), opset=[10, 13], cast=kind, note=dtype.__name__, **({} if fmod is None else {"fmod": fmod}))
    case("Mod", np.abs(a), np.array([3, 3, 2, 5, 7, 9, 1, 2, 4], np.uint8), opset=13, cast=TensorProto.UINT8, note="uint8")
    case("Mod", a + np.float32(0.5), np.array(b, np.float32), opset=[10, 13], fmod=1, note="float")
    for transposed in [{}, {"transA": 1}, {"transB": 1}, {"transA": 1, "transB": 1}]:
        left = numbers(*((4, 3) if "transA" in transposed else (3, 4)))
        right = numbers(*((2, 4) if "transB" in transposed else (4, 2)))
        case("Gemm", left, right, numbers(2), opset=[7, 9, 11, 13], **transposed)
        case("Gemm", left, right, numbers(3, 1), opset=13, alpha=0.5, beta=2.0, **transposed)
        case("Gemm", left, right, opset=13, alpha=0.25, note="nobias", **transposed)
        case("Gemm", left, right, numbers(1, 2), opset=13, beta=0.0, **transposed)
        case("Gemm", left, right, numbers(3, 2), opset=13, alpha=0.0, note="whole", **transposed)
    for exclusive in [0, 1]:
        for reverse in [0, 1]:
            for axis in [0, 1, -1]:
                case("CumSum", X3, np.array(axis, np.int64), opset=[11, 14], exclusive=exclusive, reverse=reverse, note=f"axis{axis}")
    for equation, others in [("bij->bji", []), ("bij,bjk->bik", [numbers(2, 4, 3)]), ("bij->b", []), ("...j->...", []), ("bij,bij->bij", [X3]), ("bii->bi", None), ("bij", [])]:
        x = numbers(2, 3, 3) if others is None else X3
        case("Einsum", x, *(others or []), opset=12, equation=equation)
    for op in ["Max", "Min", "Sum", "Mean"]:
        case(op, X2, numbers(5), numbers(3, 1), opset=[8, 13])
        case(op, X2, opset=13, note="one")
    for op in ["Add", "Sub", "Mul", "Div", "Pow"]:
        case(op, np.abs(X2) + 1, np.abs(numbers(5)) + 1, opset=[7, 13])
    case("Div", a, np.array(b, np.int32), opset=13, cast=TensorProto.INT32, note="int")
    case("Div", a, np.array(b, np.int64), opset=13, cast=TensorProto.INT64, note="int64")
    case("Pow", X2, np.array(2, np.int64), opset=[12, 15], note="int")


def windows():
    w = numbers(6, 4, 3, 3)
    bias = numbers(6)
    common = [
        {}, {"pads": [1, 1, 1, 1]}, {"pads": [0, 1, 2, 0]}, {"strides": [2, 1]}, {"dilations": [2, 1]},
        {"auto_pad": "VALID"}, {"auto_pad": "SAME_UPPER"}, {"auto_pad": "SAME_LOWER"}, {"auto_pad": "NOTSET", "pads": [1, 0, 0, 1]},
        {"auto_pad": "SAME_UPPER", "strides": [2, 2]}, {"auto_pad": "SAME_LOWER", "strides": [2, 2]},
        {"kernel_shape": [3, 3]}, {"strides": [2, 2], "pads": [1, 1, 0, 0], "dilations": [1, 2]},
        {"auto_pad": "SAME_LOWER", "strides": [2, 2], "dilations": [2, 1]},
    ]
    for attributes in common:
        if "auto_pad" in attributes and "dilations" in attributes:
            continue
        case("Conv", X, w, bias, opset=[7, 22], **attributes)
    case("Conv", X, numbers(6, 2, 3, 3), opset=11, group=2)
    case("Conv", X, numbers(4, 1, 3, 3), bias[:4], opset=11, group=4, pads=[1, 1, 1, 1])
    case("Conv", numbers(1, 4, 9), numbers(2, 4, 3), opset=11, strides=[2], pads=[1, 2], note="1d")
    case("Conv", numbers(1, 4, 9), numbers(2, 4, 3), opset=11, auto_pad="SAME_LOWER", strides=[2], note="1d")
    case("Conv", numbers(1, 2, 5, 4, 4), numbers(2, 2, 2, 2, 2), opset=11, strides=[2, 1, 1], pads=[1, 0, 0, 0, 1, 1], note="3d")
    t = numbers(4, 3, 3, 3)
    for attributes in [
        {}, {"pads": [1, 1, 1, 1]}, {"pads": [0, 1, 2, 0]}, {"strides": [2, 3]}, {"dilations": [2, 1]}, {"kernel_shape": [3, 3]},
        {"output_padding": [1, 1], "strides": [2, 2]}, {"output_padding": [1, 0], "strides": [2, 2], "pads": [1, 1, 1, 1]},
        {"auto_pad": "SAME_UPPER", "strides": [2, 2]}, {"auto_pad": "SAME_LOWER", "strides": [2, 2]}, {"auto_pad": "VALID", "strides": [2, 2]},
        {"auto_pad": "SAME_UPPER", "strides": [1, 1]}, {"auto_pad": "SAME_LOWER", "strides": [1, 1]},
        {"output_shape": [12, 10], "strides": [2, 2]}, {"output_shape": [14, 12], "strides": [2, 2]}, {"output_shape": [13, 11], "strides": [2, 2]}, {"output_shape": [14, 12], "strides": [2, 2], "auto_pad": "SAME_UPPER"},
        {"output_shape": [12, 11], "strides": [2, 2]}, {"output_shape": [11, 10], "strides": [2, 2]},
        {"output_shape": [12, 10], "strides": [2, 2], "auto_pad": "SAME_UPPER"}, {"output_shape": [11, 9], "strides": [2, 2], "auto_pad": "SAME_UPPER"},
        {"output_shape": [12, 10], "strides": [2, 2], "auto_pad": "SAME_LOWER"}, {"output_shape": [11, 9], "strides": [2, 2], "auto_pad": "SAME_LOWER"},
        {"output_shape": [12, 10], "strides": [2, 2], "pads": [1, 1, 1, 1]},
        {"output_shape": [12, 10], "strides": [2, 2], "output_padding": [1, 1]},
        {"auto_pad": "SAME_UPPER", "strides": [2, 2], "output_padding": [1, 1]},
        {"auto_pad": "SAME_UPPER", "strides": [2, 2], "dilations": [2, 2]},
    ]:
        case("ConvTranspose", X, t, opset=[11, 22], want="ort", **attributes)
    case("ConvTranspose", X, numbers(4, 2, 2, 2), numbers(4), opset=11, group=2, strides=[2, 2])
    case("ConvTranspose", numbers(1, 2, 5), numbers(2, 3, 3), opset=11, strides=[2], output_padding=[1], note="1d")
    for attributes in common + [
        {"ceil_mode": 1, "strides": [2, 2]}, {"ceil_mode": 1, "strides": [2, 2], "pads": [1, 1, 1, 1]}, {"ceil_mode": 1, "strides": [3, 3], "pads": [0, 0, 1, 1]},
        {"ceil_mode": 1, "auto_pad": "VALID", "strides": [2, 2]}, {"ceil_mode": 1, "auto_pad": "SAME_UPPER", "strides": [2, 2]},
        {"ceil_mode": 1, "strides": [2, 2], "dilations": [2, 1]},
    ]:
        attributes = {"kernel_shape": [3, 3]} | attributes
        newer = "ceil_mode" in attributes
        dilated = "dilations" in attributes
        if dilated and attributes.get("auto_pad") == "SAME_LOWER":
            continue  # Neither is right: computed by hand, the windows begin elsewhere.
        for op in ["MaxPool", "AveragePool"]:
            sets = [22] if dilated and op == "AveragePool" else [10, 12 if op == "MaxPool" else 11, 22] if newer or dilated else [8, 12, 22]
            case(op, X, opset=sets, want=standard(attributes), **attributes)
        sets = [22] if dilated else [10, 11, 19, 22] if newer else [7, 11, 22]
        case("AveragePool", X, opset=sets, want=standard(attributes), count_include_pad=1, **attributes)
    for order in [0, 1]:
        case("MaxPool", X, opset=[8, 12], outputs=2, output=1, kernel_shape=[2, 2], strides=[2, 2], storage_order=order, want="ort")
        case("MaxPool", X, opset=12, outputs=2, output=1, kernel_shape=[3, 2], pads=[1, 1, 1, 0], storage_order=order, want="ort", note="padded")
        case("MaxPool", X, opset=12, kernel_shape=[2, 2], storage_order=order, note="values")
    case("MaxPool", numbers(1, 2, 9), opset=12, kernel_shape=[3], strides=[2], ceil_mode=1, note="1d")
    case("AveragePool", numbers(1, 2, 9), opset=11, kernel_shape=[3], strides=[2], pads=[1, 1], count_include_pad=1, note="1d")
    case("AveragePool", numbers(1, 2, 4, 4, 4), opset=11, kernel_shape=[2, 2, 2], note="3d")
    case("GlobalAveragePool", X, opset=11)
    case("GlobalMaxPool", X, opset=11)
    u = np.abs(np.round(X * 8)).astype(np.float32)
    kernel = np.arange(-8, 64, dtype=np.int32).reshape(2, 4, 3, 3).clip(0, 255).astype(np.uint8)
    for attributes in [{}, {"pads": [1, 1, 1, 1]}, {"strides": [2, 2]}, {"dilations": [2, 1]}, {"auto_pad": "SAME_UPPER"}, {"auto_pad": "SAME_LOWER", "strides": [2, 2]}, {"kernel_shape": [3, 3]}]:
        case("ConvInteger", u, kernel, np.array(3, np.uint8), np.array(9, np.uint8), opset=10, cast=TensorProto.UINT8, want="ort", **attributes)
    case("ConvInteger", u, kernel[:, :2], opset=10, cast=TensorProto.UINT8, group=2)
    case("MatMulInteger", np.abs(np.round(X2 * 8)), np.arange(10, dtype=np.uint8).reshape(5, 2), np.array(3, np.uint8), np.array(9, np.uint8), opset=10, cast=TensorProto.UINT8)
    case("MatMulInteger", np.abs(np.round(X2 * 8)), np.arange(10, dtype=np.uint8).reshape(5, 2), None, np.array([9, 1], np.uint8), opset=10, cast=TensorProto.UINT8, note="columns")
    case("MatMulInteger", np.abs(np.round(X2 * 8)), np.arange(10, dtype=np.uint8).reshape(5, 2), opset=10, cast=TensorProto.UINT8, note="nozero")


def standard(attributes):
    """Whose pool is ONNX's: ONNX Runtime counts another window where padding follows from sizes."""
    return "reference" if "ceil_mode" in attributes and attributes.get("auto_pad") == "VALID" else "ort"


def normalisations():
    ones = [np.abs(numbers(4)) + np.float32(0.5), numbers(4), numbers(4), np.abs(numbers(4)) + np.float32(0.5)]
    case("BatchNormalization", X, *ones, opset=[7, 9, 15], epsilon=0.25, want="ort")
    case("BatchNormalization", X, *ones, opset=[7, 9, 15], momentum=0.5, want="ort")
    case("BatchNormalization", X, *ones, opset=[14, 15], training_mode=1, outputs=3)
    case("BatchNormalization", X, *ones, opset=15, training_mode=1)
    case("BatchNormalization", X, *[np.tile(v[:, None, None], (1, 6, 5)) for v in ones], opset=7, spatial=0)
    case("InstanceNormalization", X, numbers(4), numbers(4), opset=[7, 22], epsilon=0.25)
    for axis in [None, 1, 2, -1, -2]:
        where = {} if axis is None else {"axis": axis}
        shape = X3.shape[-1 if axis is None else axis:]
        case("LayerNormalization", X3, numbers(*shape), numbers(*shape), opset=17, epsilon=0.25, **where)
        case("RMSNormalization", X3, numbers(*shape), opset=23, epsilon=0.25, **where)
    case("LayerNormalization", X3, numbers(4), opset=17, note="nobias")
    case("LayerNormalization", X3, numbers(4), numbers(4), opset=17, outputs=2, output=1, note="mean", want="reference")
    case("LayerNormalization", X3, numbers(4), numbers(4), opset=17, outputs=3, output=2, note="deviation", want="reference")
    for stash in [TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE]:
        case("LayerNormalization", X3, numbers(4), numbers(4), opset=17, stash_type=stash, want="reference")
        case("RMSNormalization", X3, numbers(4), opset=23, stash_type=stash, want="reference")
    case("GroupNormalization", X, numbers(2), numbers(2), opset=18, num_groups=2, epsilon=0.25, want="reference")
    case("GroupNormalization", X, numbers(4), numbers(4), opset=21, num_groups=2, epsilon=0.25)
    case("GroupNormalization", X, numbers(4), numbers(4), opset=21, num_groups=2, stash_type=TensorProto.FLOAT16, want="reference")
    for attributes in [{"size": 3}, {"size": 3, "alpha": 0.5}, {"size": 3, "beta": 0.5, "alpha": 0.5}, {"size": 3, "bias": 2.0}, {"size": 2, "alpha": 0.5}, {"size": 5, "alpha": 0.5}]:
        case("LRN", X, opset=[7, 13], want="ort", **attributes)
    for p in [1, 2]:
        for axis in [None, 0, 1, -1]:
            case("LpNormalization", POSITIVE, opset=[7, 22], p=p, **({} if axis is None else {"axis": axis}))
    case("LpNormalization", X, opset=22, p=1, note="signs", want="ort")
    for axes in [None, [0, 2, 3], [1], [2, 3], [-1, -2]]:
        case("MeanVarianceNormalization", X, opset=[9, 13], **({} if axes is None else {"axes": axes}))
    case("Dropout", X, opset=[7, 10], ratio=0.25)
    case("Dropout", X, opset=[12, 22], seed=3)
    case("Dropout", X, np.array(0.5, np.float32), np.array(False), opset=13)
    case("Dropout", X, np.array(0.0, np.float32), np.array(True), opset=13, note="training0")
    case("Dropout", X, opset=13, outputs=2, output=1, note="mask")


def reductions():
    for op in ["ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare"]:
        x = np.abs(X3) + np.float32(0.5)
        new = 13 if op == "ReduceSum" else 18
        old = [7, 11] if op == "ReduceSum" else [7, 11, 13]
        for keep in [None, 0, 1]:
            keeps = {} if keep is None else {"keepdims": keep}
            for axes in [None, [1], [-1], [0, 2]]:
                case(op, x, opset=old, **keeps, **({} if axes is None else {"axes": axes}))
                case(op, x, *([] if axes is None else [ints(*axes)]), opset=[new, LATEST], note=f"axes{axes}", **keeps)
            for noop in [0, 1]:
                case(op, x, ints(), opset=new, noop_with_empty_axes=noop, note="empty", want="ort", **keeps)
                case(op, x, opset=new, noop_with_empty_axes=noop, note="absent", want="ort", **keeps)
            case(op, x, ints(1), opset=new, noop_with_empty_axes=1, note="given", **keeps)
    ties = np.array([[1, 3, 3, 0], [2, 2, 1, 2], [5, 5, 5, 5]], np.float32)
    for op in ["ArgMax", "ArgMin"]:
        for axis in [None, 0, 1, -1]:
            where = {} if axis is None else {"axis": axis}
            for keep in [None, 0]:
                keeps = {} if keep is None else {"keepdims": keep}
                case(op, ties, opset=[7, 11, 13], **where, **keeps)
                case(op, ties, opset=[12, 13], select_last_index=1, **where, **keeps)
    for axis in [None, 0, 1, -1]:
        where = {} if axis is None else {"axis": axis}
        for output in [0, 1]:
            case("TopK", X2, ints(2), opset=[10, 11], outputs=2, output=output, note=f"out{output}", **where)
            for attributes in [{"largest": 0}, {"largest": 0, "sorted": 1}, {"sorted": 1}]:
                case("TopK", X2, ints(2), opset=[11, 24], outputs=2, output=output, note=f"out{output}", **where, **attributes)
    # Any order is right: that of onnx.reference is sorted.
    case("TopK", X2, ints(2), opset=11, outputs=2, sorted=0, want="reference")
    case("TopK", ties, ints(3), opset=11, outputs=2, output=1, note="ties", want="ort")
    case("TopK", ties, ints(3), opset=11, outputs=2, output=1, largest=0, note="ties", want="ort")


def moves():
    for mode in [None, "DCR", "CRD"]:
        modes = {} if mode is None else {"mode": mode}
        case("DepthToSpace", numbers(1, 8, 2, 3), opset=[11, 13], blocksize=2, **modes)
        case("SpaceToDepth", numbers(1, 2, 4, 6), opset=28, blocksize=2, want="reference", **modes)
    case("DepthToSpace", numbers(1, 8, 2, 3), opset=7, blocksize=2)
    case("SpaceToDepth", numbers(1, 2, 4, 6), opset=[7, 13], blocksize=2)
    case("SpaceToDepth", numbers(1, 2, 9, 6), opset=13, blocksize=3)
    for axis in [0, 1, 2, 3, -1, -3]:
        if axis >= 0:
            case("Flatten", X3, opset=[7, 13], axis=axis)
        else:
            case("Flatten", X3, opset=[11, 13], axis=axis)
    case("Flatten", X3, opset=9)
    for perm in [None, [0, 2, 1], [2, 0, 1]]:
        case("Transpose", X3, opset=[7, 13], **({} if perm is None else {"perm": perm}))
    for start, end in [(None, None), (1, None), (0, 2), (-2, None), (0, -1), (-9, 9), (2, 1)]:
        attributes = {k: v for k, v in (("start", start), ("end", end)) if v is not None}
        case("Shape", X3, opset=15, **attributes)
    case("Shape", X3, opset=13)
    case("Size", X3, opset=13)
    case("Reshape", X3, ints(0, -1), opset=[7, 14])
    case("Reshape", X3, ints(2, 12), opset=14, allowzero=1)
    case("Reshape", X3, ints(-1, 0, 4), opset=14, allowzero=0)
    for axis in [0, 1, -1]:
        case("Concat", X3, numbers(*X3.shape), opset=[7, 11, 13], axis=axis)
        case("Gather", X3, ints(1, 0, -1), opset=[11, 13], axis=axis)
        case("Gather", X3, np.array(1, np.int64), opset=13, axis=axis, note="scalar")
        case("GatherElements", X3, RANDOM.integers(-2, 2, X3.shape).astype(np.int64), opset=11, axis=axis)
        sizes = {0: [1, 1], 1: [1, 2], -1: [1, 3]}[axis]
        for output in [0, 1]:
            case("Split", X3, opset=[7, 11], axis=axis, split=sizes, outputs=2, output=output, note=f"out{output}")
            case("Split", X3, ints(*sizes), opset=[13, 18], axis=axis, outputs=2, output=output, note=f"out{output}")
            if axis != 1:
                case("Split", X3, opset=[11, 13], axis=axis, outputs=2, output=output, note=f"even{output}")
                case("Split", X3, opset=18, axis=axis, num_outputs=2, outputs=2, output=output, note=f"even{output}")
    for output in [0, 1, 2]:
        case("Split", numbers(7, 2), opset=18, num_outputs=3, outputs=3, output=output, note=f"uneven{output}")
    case("Split", X3, opset=18, num_outputs=2, outputs=2, note="noaxis")
    case("Split", X3, ints(1, 2), opset=13, axis=-2, outputs=2, output=1)
    for spec in [((0,), (9,), (1,), None), ((-2,), (9,), (2,), None), ((3,), (-9,), (-1,), (-2,)), ((0, 1), (2, 3), None, None), ((-1,), (-9,), (2,), (-1,)), ((1,), (2,), (-1,), None), ((5,), (9,), (1,), None)]:
        starts, ends, axes, steps = spec
        note = "_".join(",".join(map(str, part)) if part else "none" for part in spec)
        case("Slice", X3, ints(*starts), ints(*ends), ints(*axes) if axes else None, *([ints(*steps)] if steps else []), opset=[10, 13], note=note) if starts[0] < 4 else None
        if steps is None:
            attributes = {"starts": list(starts), "ends": list(ends)} | ({"axes": list(axes)} if axes else {})
            case("Slice", X3, opset=7, **attributes) if starts[0] < 4 else None
    ones = numbers(1, 3, 1, 2)
    for axes in [[0], [2], [0, 2], [-2], [-4]]:
        case("Squeeze", ones, opset=11 if min(axes) < 0 else [7, 11], axes=axes)
        case("Squeeze", ones, ints(*axes), opset=13, note=f"axes{axes}")
    case("Squeeze", ones, opset=[7, 11, 13], note="all")
    for axes in [[0], [1, 3], [-1], [0, -1]]:
        case("Unsqueeze", X2, opset=11 if min(axes) < 0 else [7, 11], axes=axes)
        case("Unsqueeze", X2, ints(*axes), opset=13, note=f"axes{axes}")
    case("Expand", X2, ints(2, 1, 5), opset=8)
    case("Tile", X2, ints(2, 3), opset=[7, 13])
    for axis in [None, 0, 1, -1, -2]:
        where = {} if axis is None else {"axis": axis}
        case("OneHot", np.array([[0, 2], [-1, 4]], np.float32), np.array(4, np.int64), np.array([0.25, 5], np.float32), opset=[9, 11], cast=TensorProto.INT64, **where)
    for dtype, value in [(np.float32, 2.5), (np.int64, 3), (np.int32, -2), (np.uint8, 7)]:
        tensor = numpy_helper.from_array(np.array([value], dtype))
        case("ConstantOfShape", ints(2, 3), opset=9, value=tensor, note=dtype.__name__)
    case("ConstantOfShape", ints(2, 3), opset=9)
    SEEN.add(("ConstantOfShape", "value"))
    case("Constant", opset=12, value_float=1.5)
    case("Constant", opset=12, value_floats=[1.5, 2.5])
    case("Constant", opset=12, value_int=3)
    case("Constant", opset=12, value_ints=[3, -4])
    case("Constant", opset=[7, 12], value=numpy_helper.from_array(X2), note="tensor")
    case("Where", np.array([[True, False], [False, True]]), numbers(2, 2), numbers(2), opset=9)


def pads():
    square = [0, 1, 2, 0, 0, 2, 1, 0]
    x = numbers(1, 3, 4, 3)
    wide = [0, 5, 0, 7, 0, 4, 9, 5]
    for mode in [None, "constant", "reflect", "edge"]:
        modes = {} if mode is None else {"mode": mode}
        case("Pad", x, opset=[7, 10], pads=[0, 1, 2, 0, 0, 2, 1, 0], **modes)
        case("Pad", x, ints(*square), opset=[11, 13, 18], **modes)
        case("Pad", x, ints(1, 0, 2, 1), None, ints(3, -2), opset=[18, 25], note="axes", **modes)
        case("Pad", x, ints(0, -1, 1, 0, 0, 0, -2, 0), opset=[11, 18], note="negative", want="ort", **modes)
        case("Pad", x, opset=7, pads=[0, 0, -1, 0, 0, 0, 0, -1], want="ort", note="negative", **modes)
        case("Pad", x, ints(0, 0, 3, 2, 0, 0, 3, 2), opset=13, note="all", **modes)
        case("Pad", x, ints(0, 0, 6, 0, 0, 0, 0, 0), opset=13, note="far", want="ort", **modes) if mode != "reflect" else None
    case("Pad", x, ints(*square), np.array(1.5, np.float32), opset=[11, 18])
    case("Pad", x, ints(*square), np.array(1.5, np.float32), opset=11, mode="edge", note="value")
    case("Pad", x, ints(*square), np.array(-2.5, np.float32), opset=11, mode="constant", note="value")
    case("Pad", x, opset=7, pads=square, value=1.5)
    case("Pad", x, opset=7, pads=square, value=1.5, mode="constant")
    case("Pad", x, ints(*square), opset=[19, 25], mode="wrap")
    case("Pad", x, ints(*wide), opset=19, mode="wrap", note="far")
    case("Pad", x, ints(0, 0, 3, 2, 0, 0, 3, 2), opset=13, mode="reflect", note="whole")
    case("Pad", np.round(x), ints(*square), np.array(9, np.int64), opset=13, cast=TensorProto.INT64, note="int64")


def resizes():
    x = numbers(1, 2, 4, 5)
    empty = np.array([], np.float32)
    up, down, odd = [np.array(s, np.float32) for s in ([1, 1, 2, 2], [1, 1, 0.5, 0.6], [1, 1, 1.5, 2.4])]
    for mode in ["nearest", "linear"]:
        case("Resize", x, up, opset=10, mode=mode)
        case("Resize", x, down, opset=10, mode=mode)
    transforms = ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "half_pixel_symmetric", "tf_half_pixel_for_nn"]
    for transform in transforms:
        sets = [19] if transform == "half_pixel_symmetric" else [11] if transform == "tf_half_pixel_for_nn" else [11, 13, 19]
        for mode in ["nearest", "linear", "cubic"]:
            for note, scales in [("up", up), ("down", down), ("odd", odd)]:
                case("Resize", x, empty, scales, opset=sets, mode=mode, coordinate_transformation_mode=transform, note=note, want="ort")
        case("Resize", x, None, None, ints(1, 2, 3, 8), opset=13, mode="linear", coordinate_transformation_mode=transform, note="sizes", want="ort") if transform in transforms[:4] else None
    for rounding in ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]:
        for transform in ["half_pixel", "asymmetric", "align_corners"]:
            for note, scales in [("up", up), ("down", down), ("odd", odd)]:
                case("Resize", x, empty, scales, opset=[11, 19], mode="nearest", nearest_mode=rounding, coordinate_transformation_mode=transform, note=note, want="ort")
    for attributes in [{"cubic_coeff_a": -0.5}, {"exclude_outside": 1}, {"cubic_coeff_a": -0.5, "exclude_outside": 1}]:
        for note, scales in [("up", up), ("down", down)]:
            case("Resize", x, empty, scales, opset=[11, 19], mode="cubic", note=note, want="ort", **attributes)
    roi = np.array([0, 0, 0.25, -0.5, 1, 1, 0.75, 1.5], np.float32)
    case("Resize", x, roi, np.array([1, 1, 1.5, 2], np.float32), opset=[11, 19], mode="linear", coordinate_transformation_mode="tf_crop_and_resize", extrapolation_value=7.5, want="ort")
    case("Resize", x, roi, np.array([1, 1, 1.5, 2], np.float32), opset=11, mode="nearest", coordinate_transformation_mode="tf_crop_and_resize", want="ort")
    for mode in ["linear", "cubic", "nearest"]:
        case("Resize", x, None, down, opset=[18, 19], mode=mode, antialias=1, want="ort" if mode != "nearest" else None)
        case("Resize", x, None, None, ints(3, 8), opset=[18, 19], mode=mode, axes=[2, 3], note="sizes", want="ort")
        case("Resize", x, None, np.array([2, 1.5], np.float32), opset=19, mode=mode, axes=[3, 2], note="scales", want="ort")
        case("Resize", x, None, np.array([2, 1.5], np.float32), opset=19, mode=mode, axes=[-1, -2], note="negative", want="ort")
        for policy in ["stretch", "not_larger", "not_smaller"]:
            case("Resize", x, None, None, ints(7, 6), opset=[18, 19], mode=mode, axes=[2, 3], keep_aspect_ratio_policy=policy, want="reference")


def quantisers():
    scale, zero = np.array(0.25, np.float32), np.array(3, np.uint8)
    many = np.array([0.25, 0.5, 0.125, 1], np.float32)
    for axis in [None, 1, -3]:
        where = {} if axis is None else {"axis": axis}
        case("QuantizeLinear", X, many, np.array([0, 3, 128, 7], np.uint8), opset=[13, 19, 21], **where)
    case("QuantizeLinear", X3, np.array([0.25, 0.5], np.float32), np.array([0, 3], np.int8), opset=13, axis=0)
    case("QuantizeLinear", X3 * 16, np.array([0.25, 0.5, 1], np.float32), opset=13, axis=-2)
    case("QuantizeLinear", X, scale, zero, opset=[10, 13])
    case("QuantizeLinear", X, scale, opset=21, output_dtype=TensorProto.INT8)
    case("QuantizeLinear", X, scale, opset=21, output_dtype=TensorProto.UINT8)
    case("QuantizeLinear", X * 4, scale, opset=21, output_dtype=TensorProto.INT16)
    case("QuantizeLinear", X * 4, scale, opset=21, output_dtype=TensorProto.UINT16)
    case("QuantizeLinear", X, scale, zero, opset=[19, 21], saturate=0)
    case("QuantizeLinear", X, scale, zero, opset=23, precision=TensorProto.FLOAT, want="reference")
    case("QuantizeLinear", numbers(1, 4), np.array([[0.25, 0.5]], np.float32), np.array([[3, 4]], np.uint8), opset=21, axis=1, block_size=2)
    case("QuantizeLinear", numbers(2, 2), np.array([[0.25, 0.5]], np.float32), np.array([[3, 4]], np.uint8), opset=21, axis=0, block_size=2)
    for axis in [None, 1, -3]:
        where = {} if axis is None else {"axis": axis}
        both(X, many, np.array([0, 3, 128, 7], np.uint8), [13, 19, 21], where)
    case("DynamicQuantizeLinear", X, opset=11, outputs=3)
    case("DynamicQuantizeLinear", X, opset=11, outputs=3, output=1)
    case("DynamicQuantizeLinear", X, opset=11, outputs=3, output=2)
    for to in [TensorProto.INT32, TensorProto.INT64, TensorProto.BOOL, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.INT16]:
        case("Cast", X, opset=[9, 13, 21], to=to)
    for to in [TensorProto.UINT8, TensorProto.UINT32]:
        case("Cast", np.abs(X), opset=13, to=to)
    case("Cast", X * 300, opset=13, to=TensorProto.INT32, note="large")
    case("Cast", X, opset=19, to=TensorProto.INT32, saturate=0)
    case("Cast", X, opset=19, to=TensorProto.FLOAT8E4M3FN, saturate=0)
    case("Cast", X * 300, opset=19, to=TensorProto.FLOAT8E4M3FN, saturate=1)
    case("Cast", X, opset=25, to=TensorProto.FLOAT8E8M0, round_mode="down", want="reference")
    case("Cast", X, opset=25, to=TensorProto.INT32, round_mode="down", want="ort")
    case("Cast", X, opset=25, to=TensorProto.FLOAT, round_mode="up", want="ort")


def both(x, scale, zero, sets, where):
    """QuantizeLinear and DequantizeLinear with the same attributes."""
    for version in sets:
        nodes = [
            helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], **where),
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], **where),
        ]
        save(f"DequantizeLinear-{version}-{where}", nodes, x, {"s": scale, "z": zero}, version)
    SEEN.update(("DequantizeLinear", a) for a in where)


def save(name, nodes, x, constants, version, domains=(), tolerance=0.0):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    imports = [helper.make_opsetid("", version)] + [helper.make_opsetid(d, 1) for d in domains]
    model = helper.make_model(graph, opset_imports=imports, ir_version=10)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.x64quantprecision", "1")
    try:
        answer = onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, {"x": x})[0]
    except Exception as error:  # noqa: BLE001
        try:
            answer = ReferenceEvaluator(model).run(None, {"x": x})[0]
        except Exception:  # noqa: BLE001
            PROBLEMS.append(f"{name}: {error!s:.200}")
            return
    CASES[name.replace(" ", "")] = (model, x, np.array(answer, np.float32, order="C"), tolerance)


def dequantisers():
    """What only DequantizeLinear has."""
    x = numbers(1, 4)
    for attributes in [{"axis": 1, "block_size": 2}]:
        scale, zero = np.array([[0.25, 0.5]], np.float32), np.array([[3, 4]], np.uint8)
        nodes = [
            helper.make_node("QuantizeLinear", ["x", "s1", "z1"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], **attributes),
        ]
        constants = {"s1": np.array(0.25, np.float32), "z1": np.array(3, np.uint8), "s": scale, "z": zero}
        save("DequantizeLinear-21-block_size=2", nodes, x, constants, 21)
    constants = {"s": np.array(0.25, np.float32), "z": np.array(3, np.uint8)}
    for dtype in [TensorProto.FLOAT, TensorProto.FLOAT16]:
        nodes = [
            helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"], output_dtype=dtype),
            helper.make_node("Cast", ["d"], ["y"], to=TensorProto.FLOAT),
        ]
        save(f"DequantizeLinear-23-output_dtype={dtype}", nodes, X, constants, 23)
    # An axis that one scale makes meaningless.
    for axis in [0, 3, -1]:
        nodes = [
            helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], axis=axis),
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], axis=axis),
        ]
        save(f"DequantizeLinear-13-scalar-axis={axis}", nodes, X, constants, 13)
    SEEN.update({("DequantizeLinear", "block_size"), ("DequantizeLinear", "output_dtype")})


def quantised_operators():
    """QOperators, with weights of which two products do not saturate 16 bits: a quantised input, an attribute, a dequantised output."""
    given = {"s": np.array(0.0625, np.float32), "z": np.array(100, np.uint8), "ys": np.array(0.125, np.float32), "yz": np.array(90, np.uint8)}

    def quantised(op, inputs, x, more=None, opset=13, domain="com.microsoft", note="", ys=None, **attributes):
        nodes = [
            helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
            helper.make_node(op, inputs, ["r"], domain=domain, **attributes),
            helper.make_node("DequantizeLinear", ["r", "ys", "yz"], ["y"]),
        ]
        constants = given | (more or {}) | ({"ys": np.array(ys, np.float32)} if ys else {})
        slug = "-".join(f"{k}={v}" for k, v in attributes.items())
        save("-".join(filter(None, [op, str(opset), slug, note])), nodes, x, constants, opset, ["com.microsoft"])
        for attribute in attributes:
            SEEN.add((op, attribute))

    unary = ["q", "s", "z", "ys", "yz"]
    softmax = {"yz": np.array(0, np.uint8)}
    for inner in [7, 11, 12, 13, 17]:
        for axis in [None, 0, 1, -1]:
            for outer in [11, 13]:
                nodes = [
                    helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
                    helper.make_node("QLinearSoftmax", unary, ["r"], domain="com.microsoft", **({"opset": inner} | ({} if axis is None else {"axis": axis}))),
                    helper.make_node("DequantizeLinear", ["r", "ys", "yz"], ["y"]),
                ]
                constants = given | softmax | {"ys": np.array(1 / 256, np.float32)}
                save(f"QLinearSoftmax-{outer}-opset={inner}-axis={axis}", nodes, X3, constants, outer, ["com.microsoft"])
    SEEN.add(("QLinearSoftmax", "opset"))
    quantised("QLinearLeakyRelu", unary, X, alpha=0.25)
    quantised("QLinearLeakyRelu", unary, X)
    quantised("QLinearSigmoid", unary, X, softmax, ys=1 / 256)
    for last in [0, 1]:
        quantised("QLinearGlobalAveragePool", unary, X, channels_last=last)
        quantised("QLinearAveragePool", unary, X, channels_last=last, kernel_shape=[2, 2])
    for attributes in [{"strides": [2, 1]}, {"pads": [1, 1, 1, 1]}, {"pads": [1, 1, 1, 1], "count_include_pad": 1}, {"ceil_mode": 1, "strides": [2, 2]}, {"auto_pad": "SAME_UPPER"}, {"auto_pad": "SAME_LOWER", "strides": [2, 2]}]:
        quantised("QLinearAveragePool", unary, X, kernel_shape=[3, 3], **attributes)
    for axis in [0, 1, -1]:
        quantised("QLinearConcat", ["ys", "yz", "q", "s", "z", "q", "s", "z"], X3, axis=axis)
    weights = {"w": RANDOM.integers(-63, 64, (4, 4, 3, 3)).astype(np.int8), "ws": np.array(0.0078125, np.float32), "wz": np.array(0, np.int8)}
    conv = ["q", "s", "z", "w", "ws", "wz", "ys", "yz"]
    for attributes in [{}, {"pads": [1, 1, 1, 1]}, {"strides": [2, 1]}, {"dilations": [2, 1]}, {"kernel_shape": [3, 3]}, {"auto_pad": "SAME_UPPER"}, {"auto_pad": "SAME_LOWER", "strides": [2, 2]}, {"auto_pad": "VALID"}]:
        quantised("QLinearConv", conv, X, weights, domain="", ys=0.5, **attributes)
    quantised("QLinearConv", conv, X, weights | {"w": weights["w"][:, :2]}, domain="", ys=0.5, group=2)
    gemm = {"b": RANDOM.integers(-127, 128, (5, 4)).astype(np.int8), "bs": np.array(0.0078125, np.float32), "bz": np.array(0, np.int8)}
    inputs = ["q", "s", "z", "b", "bs", "bz", "", "ys", "yz"]
    quantised("QGemm", inputs, X2, gemm, ys=0.25)
    quantised("QGemm", inputs, X2, gemm, ys=0.25, alpha=0.5)
    quantised("QGemm", inputs, X2, gemm | {"b": gemm["b"].T.copy()}, ys=0.25, transB=1)
    quantised("QGemm", inputs, numbers(5, 3), gemm, ys=0.25, transA=1)


def all_attributes():
    """Every attribute of every operator that check.rs names must have been seen."""
    source = open(os.path.join(HERE, "../../src/model/check.rs"), encoding="utf-8").read()
    block = source[source.index("const OPERATORS"):]
    block = block[: block.index("];")]
    names = {word for part in block.split('"')[1::2] for word in part.replace("\\\n", " ").split()}
    missing = set()
    for schema in onnx.defs.get_all_schemas_with_history():
        if schema.domain == "" and schema.name in names and not schema.deprecated:
            replaced = [
                other.since_version
                for other in onnx.defs.get_all_schemas_with_history()
                if other.domain == "" and other.name == schema.name and other.since_version > schema.since_version
            ]
            if min(replaced, default=99) > 7:
                missing |= {(schema.name, a) for a in schema.attributes} - SEEN
    return sorted(missing)


def main():
    for group in [activations, arithmetic, windows, normalisations, reductions, moves, pads, resizes, quantisers, dequantisers, quantised_operators]:
        group()
    for problem in PROBLEMS:
        print(problem, file=sys.stderr)
    for op, attribute in all_attributes():
        print(f"no case has the attribute {attribute} of {op}", file=sys.stderr)
    cases = io.BytesIO()
    for name in sorted(CASES):
        model, x, y, tolerance = CASES[name]
        parts = [name.encode(), model.SerializeToString(), x.tobytes(), y.tobytes(), np.float32(tolerance).tobytes()]
        for part in parts:
            cases.write(len(part).to_bytes(4, "little"))
            cases.write(part)
    with zipfile.ZipFile(os.path.join(HERE, "attributes.zip"), "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr(zipfile.ZipInfo("cases", (2000, 1, 1, 0, 0, 0)), cases.getvalue(), zipfile.ZIP_DEFLATED, 9)
    print(f"{len(CASES)} cases")


if __name__ == "__main__":
    main()
