"""From a trained policy to a bundle. The only part of `deploy` that needs PyTorch."""

from bridle.deploy.export.exporting import (
    TOLERANCE,
    ExportResult,
    Parity,
    Source,
    build_bundle,
    examples,
    export_policy,
    verify_parity,
)

__all__ = [
    "TOLERANCE",
    "ExportResult",
    "Parity",
    "Source",
    "build_bundle",
    "examples",
    "export_policy",
    "verify_parity",
]
