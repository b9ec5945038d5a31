"""What runs an ONNX graph: ONNX Runtime on a CPU or a GPU, or OpenVINO."""

from bridle.deploy.backends.graph import KEPT, Graph, Signature, UnavailableError
from bridle.deploy.backends.onnx_runtime import PROVIDERS, OnnxRuntime, Resident
from bridle.deploy.backends.open_vino import OpenVino
from bridle.deploy.exceptions import BundleError

__all__ = [
    "CHOICES",
    "KEPT",
    "PROVIDERS",
    "Graph",
    "OnnxRuntime",
    "OpenVino",
    "Resident",
    "Signature",
    "UnavailableError",
    "open_graph",
]

CHOICES = (*PROVIDERS, "openvino", "auto")


def open_graph(model: bytes, signature: Signature, provider: str, threads: int) -> Graph:
    """Load a graph.

    Args:
        model: ONNX.
        signature: what it must take and give.
        provider: one of `CHOICES`. `auto` is a GPU if there is one that works, else the CPU.
        threads: threads within one operator.

    Raises:
        BundleError: the provider is not there, or the graph cannot be loaded.
    """
    if provider not in CHOICES:
        raise BundleError(f"provider must be one of {', '.join(CHOICES)}, got {provider!r}")
    if threads < 1:
        raise BundleError(f"threads must be at least 1, got {threads}")
    if provider == "openvino":
        return OpenVino(model, signature, threads)
    if provider != "auto":
        return OnnxRuntime(model, signature, provider, threads)
    try:
        return OnnxRuntime(model, signature, "cuda", threads)
    except UnavailableError:
        return OnnxRuntime(model, signature, "cpu", threads)
