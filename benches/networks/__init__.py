"""Networks with random weights, and ONNX Runtime's ways of quantising them."""

from .define import NETWORKS
from .settings import FURTHER_ON, SETTINGS, quantised

__all__ = ["FURTHER_ON", "NETWORKS", "SETTINGS", "quantised"]
