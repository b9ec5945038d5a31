"""From a trained policy to a bundle. The only part of `deploy` that needs PyTorch."""

from bridle.deploy.export.exporting import (
    ExportResult,
    Precision,
    Source,
    build_bundle,
    export_policy,
)
from bridle.deploy.export.parity import TOLERANCES, Parity, examples, verify_parity

__all__ = [
    "TOLERANCES",
    "ExportResult",
    "Parity",
    "Precision",
    "Source",
    "build_bundle",
    "examples",
    "export_policy",
    "verify_parity",
]
