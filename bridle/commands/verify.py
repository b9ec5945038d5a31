"""Check a bundle: every hash, the schema, and that its graphs load and give finite numbers.

With --run, its sampler is also compared with the PyTorch policy it came from.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from bridle.cli import write_json
from bridle.commands import parse
from bridle.deploy.bundle import load_bundle
from bridle.deploy.verification import verify


@dataclass(frozen=True)
class Options:
    """Options of `bridle verify`."""

    bundle: Positional[Path]
    """Bundle to check."""
    run: Path | None = None
    """Training run it was exported from, for a comparison with PyTorch."""
    json: Path | None = None
    """Write the result here."""


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    options = parse(Options, "verify", arguments, __doc__)
    bundle = load_bundle(options.bundle)
    difference = verify(bundle)
    manifest = bundle.manifest
    result: dict[str, object] = {
        "bundle": str(options.bundle),
        "format_version": manifest.format_version,
        "task": manifest.task,
        "robot": manifest.robot,
        "files": len(manifest.files),
        "weights_digest": manifest.weights_digest,
        "loop_against_steps_max_abs_error": difference,
    }
    print(
        f"{options.bundle}: {len(manifest.files)} files as exported, {manifest.task} on "
        f"{manifest.robot}, weights {manifest.weights_digest[:12]}"
    )
    if options.run is not None:
        from bridle.deploy.export import TOLERANCE, verify_parity
        from bridle.training.runs import load_policy

        error = verify_parity(load_policy(options.run)[0], bundle)
        result["onnx_max_abs_error"] = error
        if not error <= TOLERANCE:
            raise ValueError(
                f"{options.bundle} differs from {options.run} by {error:.2e} rad, "
                f"allowed {TOLERANCE:.0e}"
            )
        print(f"differs from {options.run} by at most {error:.1e} rad")
    write_json(options.json, result)
