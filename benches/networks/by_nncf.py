#!/usr/bin/env python3
"""Quantises an ONNX file with NNCF's default preset: by_nncf.py FLOAT.onnx QUANTISED.onnx (pip install nncf onnx onnxruntime)."""

import logging
import sys

import nncf
import numpy as np
import onnx

logging.disable(logging.CRITICAL)
model = onnx.load(sys.argv[1])
random = np.random.default_rng(3)
shapes = {i.name: [d.dim_value for d in i.type.tensor_type.shape.dim] for i in model.graph.input}
feeds = [{n: random.normal(0, 1, s).astype(np.float32) for n, s in shapes.items()} for _ in range(4)]
onnx.save(nncf.quantize(model, nncf.Dataset(feeds), subset_size=len(feeds)), sys.argv[2])
