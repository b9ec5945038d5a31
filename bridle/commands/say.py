"""Tell the running robot what to do better, and hear what came of it.

"stop" · "a bit to the left" · "2 cm up" · "too far right" · "open the gripper" · "slower"

With --dry-run nothing is sent: each sentence (or each line of standard input, when the text is -)
is parsed and printed as one line of JSON.
"""

import json as json_text
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from bridle.cli import write_json
from bridle.commands import parse
from bridle.deploy.bundle import read_manifest
from bridle.deploy.language import interpret, to_json


@dataclass(frozen=True)
class Options:
    """Options of `bridle say`."""

    text: Positional[str]
    """What to say; with --dry-run, - reads sentences from standard input."""
    dry_run: bool = False
    """Only show how the text is understood."""
    bundle: Path | None = None
    """With --dry-run: bundle whose instructions are known."""
    timeout: float = 5.0
    """Seconds to wait for the outcome."""
    json: Path | None = None
    """Write the outcome here."""


def _sentences(text: str) -> Iterator[str]:
    if text != "-":
        yield text
        return
    if sys.stdin is None:
        raise ValueError("there is no standard input to read sentences from")
    for line in sys.stdin.buffer:
        yield line.decode(errors="replace").rstrip("\r\n")


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    options = parse(Options, "say", arguments, __doc__)
    if options.dry_run:
        manifest = read_manifest(options.bundle) if options.bundle else None
        known = manifest.instructions if manifest else ()
        follows = manifest is None or manifest.follows_instructions
        parsed = []
        for sentence in _sentences(options.text):
            parsed.append(to_json(interpret(sentence, known, follows_instructions=follows)))
            print(json_text.dumps(parsed[-1]), flush=True)
        write_json(options.json, parsed)
        return 0
    from bridle.ros_nodes.operator import Operator

    with Operator() as operator:
        outcome = operator.say(options.text, seconds=options.timeout)
    write_json(options.json, outcome)
    print(f"{outcome['state']}: {outcome['kind']}", end="")
    details = {k: v for k, v in outcome.items() if k not in ("text", "state", "kind") and v}
    print("".join(f", {k} {v}" for k, v in details.items()))
    return 0 if outcome["state"] in ("sent", "done") else 1
