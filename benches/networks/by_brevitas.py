#!/usr/bin/env python3
"""Exports a small network as Brevitas writes it (QCDQ): by_brevitas.py tensor|channels QUANTISED.onnx (needs PyTorch)."""

import sys

import brevitas.nn as qnn
import torch
from brevitas.export import export_onnx_qcdq
from brevitas.quant import (
    Int8ActPerTensorFloat,
    Int8WeightPerChannelFloat,
    Int8WeightPerTensorFloat,
    Int32Bias,
    Uint8ActPerTensorFloat,
)

WEIGHTS = {"tensor": Int8WeightPerTensorFloat, "channels": Int8WeightPerChannelFloat}[sys.argv[1]]


def conv(inputs, outputs, size, stride=1, groups=1):
    options = dict(weight_quant=WEIGHTS, bias_quant=Int32Bias, return_quant_tensor=True)
    return qnn.QuantConv2d(inputs, outputs, size, stride, size // 2, groups=groups, **options)


def relu():
    return qnn.QuantReLU(act_quant=Uint8ActPerTensorFloat, return_quant_tensor=True)


def identity():
    return qnn.QuantIdentity(act_quant=Int8ActPerTensorFloat, return_quant_tensor=True)


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        convs = [conv(3, 16, 3, 2), conv(16, 16, 3, 1, 16), conv(16, 32, 1), conv(32, 32, 3)]
        self.body = torch.nn.Sequential(identity(), *[layer for c in convs for layer in (c, relu())])
        self.pooled = identity()
        self.classes = qnn.QuantLinear(32, 10, True, weight_quant=WEIGHTS, bias_quant=Int32Bias)

    def forward(self, x):
        x = self.body(x)
        x = torch.nn.functional.adaptive_avg_pool2d(getattr(x, "value", x), 1).flatten(1)
        return self.classes(self.pooled(x))


torch.manual_seed(0)
network = Network().train()
for _ in range(3):
    network(torch.randn(4, 3, 32, 32))
export_onnx_qcdq(network.eval(), torch.randn(1, 3, 32, 32), export_path=sys.argv[2], opset_version=13)
