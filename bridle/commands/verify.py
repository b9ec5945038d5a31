"""Check a bundle: every hash, the schema, and that its graphs load and give finite numbers.

It runs in a process of its own with little memory and time, so a bundle from anywhere may be
checked. With --key, the owner of that key must have signed it. With --run, its sampler is also
compared with the PyTorch policy it came from.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from bridle.cli import write_json
from bridle.commands import parse
from bridle.deploy.bundle import load_bundle
from bridle.deploy.confinement import verify_confined


@dataclass(frozen=True)
class Options:
    """Options of `bridle verify`."""

    bundle: Positional[Path]
    """Bundle to check."""
    run: Path | None = None
    """Training run it was exported from, for a comparison with PyTorch."""
    key: Path | None = None
    """Public key (PEM) whose owner must have signed it."""
    json: Path | None = None
    """Write the result here."""


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    options = parse(Options, "verify", arguments, __doc__)
    bundle = load_bundle(options.bundle, options.key)
    difference = verify_confined(bundle)
    manifest = bundle.manifest
    result: dict[str, object] = {
        "bundle": str(options.bundle),
        "format_version": manifest.format_version,
        "task": manifest.task,
        "robot": manifest.robot,
        "files": len(manifest.files),
        "weights_digest": manifest.weights_digest,
        "signed": options.key is not None,
        "loop_against_steps_max_abs_error": difference,
    }
    print(
        f"{options.bundle}: {len(manifest.files)} files as exported, {manifest.task} on "
        f"{manifest.robot}, weights {manifest.weights_digest[:12]}"
    )
    if options.key is not None:
        print(f"signed by the owner of {options.key}")
    if options.run is not None:
        from bridle.deploy.export import TOLERANCES, verify_parity
        from bridle.training.runs import load_policy

        error = verify_parity(load_policy(options.run)[0], bundle)
        result["onnx_max_abs_error"] = error.radians
        result["onnx_max_normalised_error"] = error.normalised
        allowed = TOLERANCES[manifest.precision]
        if not error.normalised <= allowed:
            raise ValueError(
                f"{options.bundle} differs from {options.run} by {error.radians:.2e} rad, which is "
                f"{error.normalised:.1e} of the actions' spread; allowed is {allowed:.0e}"
            )
        print(f"differs from {options.run} by at most {error.radians:.1e} rad")
    write_json(options.json, result)
