"""Networks with random weights, and ONNX Runtime's ways of quantising them."""

from .define import NETWORKS
from .settings import SETTINGS, quantised

__all__ = ["NETWORKS", "SETTINGS", "quantised"]
