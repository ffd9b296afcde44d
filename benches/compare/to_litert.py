"""Makes an int8 `.tflite` of a float ONNX graph: `python -m compare.to_litert FLOAT.onnx SAMPLES.npz OUT.tflite`.

onnx2tf lays it out channels last, AI Edge Quantizer quantises what the QDQ graph has in int8
(per-channel weights, int8 activations, ranges from the samples). Distances, norms and softmaxes
stay float. Runs in an environment of its own: requirements-litert.txt.
"""

import contextlib
import os
import sys
import tempfile
from pathlib import Path

import numpy as np

INT8 = [
    "CONV_2D",
    "DEPTHWISE_CONV_2D",
    "FULLY_CONNECTED",
    "BATCH_MATMUL",
    "ADD",
    "PAD",
    "PADV2",
    "AVERAGE_POOL_2D",
    "MAX_POOL_2D",
    "MEAN",
    "RESHAPE",
    "TRANSPOSE",
]


def main() -> None:
    source, samples, out = (Path(argument).resolve() for argument in sys.argv[1:])
    with np.load(samples) as file:
        images = [file[name] for name in sorted(file)]
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        # onnx2tf would fetch photos under this name to compare layouts with: any images do.
        count = 20
        photos = np.random.default_rng(0).random((count, 128, 128, 3), dtype=np.float32)
        np.save(f"calibration_image_sample_data_{count}x128x128x3_float32.npy", photos)
        quantise(to_float(source, Path(folder)), images, out)


class Enough(Exception):
    """onnx2tf has written what is wanted."""


def to_float(source: Path, folder: Path) -> Path:
    """A float32 `.tflite` in `folder`."""
    import onnx2tf
    import tensorflow

    def written() -> list[Path]:
        return list(folder.glob("*_float32.tflite"))

    def converting_once(factory):
        # After float32 comes float16, which takes as long and cannot be turned off.
        def make(*arguments):
            converter = factory(*arguments)
            convert = converter.convert

            def unless_written():
                if written():
                    raise Enough
                return convert()

            converter.convert = unless_written
            return converter

        return staticmethod(make)

    kind = tensorflow.lite.TFLiteConverter
    kind.from_keras_model = converting_once(kind.from_keras_model)
    kind.from_concrete_functions = converting_once(kind.from_concrete_functions)
    with contextlib.suppress(Enough):
        onnx2tf.convert(input_onnx_file_path=str(source), output_folder_path=str(folder), non_verbose=True)
    (out,) = written()
    return out


def quantise(source: Path, images: list[np.ndarray], out: Path) -> None:
    """Static int8 of the operators in `INT8`, in batch order of `images` (`[1, 3, H, W]`)."""
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer import qtyping, quantizer, recipe_manager

    recipe = recipe_manager.RecipeManager()
    for name in INT8:
        recipe.add_static_config(
            regex=".*",
            operation_name=qtyping.TFLOperationName[name],
            activation_num_bits=8,
            weight_num_bits=8,
            algorithm_key="min_max_uniform_quantize",
        )
    model = quantizer.Quantizer(str(source), recipe.get_quantization_recipe())
    (key, names), *_ = Interpreter(str(source)).get_signature_list().items()
    (name,) = names["inputs"]
    channels_last = [np.ascontiguousarray(image.transpose(0, 2, 3, 1)) for image in images]
    ranges = model.calibrate({key: [{name: image} for image in channels_last]})
    model.quantize(ranges).export_model(str(out), overwrite=True)


if __name__ == "__main__":
    main()
