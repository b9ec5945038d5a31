"""The command line: a table of commands, each in its own file, loaded only when it is used."""

import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, is_dataclass
from importlib import import_module
from keyword import iskeyword
from pathlib import Path
from typing import Any

import bridle

COMMANDS = {
    "demo": "the whole way in one go: collect, train, evaluate, export, run on ROS 2, correct",
    "collect": "record demonstrations of a task's expert",
    "data": "look at demonstration sets, check them and change them",
    "train": "train a policy on a demonstration set",
    "finetune": "make a trained policy better by rewards and costs: iql, fisor",
    "sweep": "train seeds and settings side by side and compare them",
    "import": "make a run of a policy that was trained elsewhere: LeRobot",
    "evaluate": "count a policy's successes in simulation",
    "compare": "set training runs side by side: a table and a picture",
    "export": "turn a trained policy into a bundle for the robot",
    "verify": "check a bundle, byte by byte and number by number",
    "calibrate": "teach a bundle to notice what is unfamiliar",
    "guard": "try to make the guard fail, and check the limits that it holds",
    "sign": "vouch for a bundle with a key, or make a key",
    "benchmark": "measure Bridle: sim, data, train, latency, guard, chunks, familiarity",
    "reproduce": "make again what the documentation reports",
    "up": "start policy, guard, correction and robot, and watch over them",
    "say": "tell the running robot what to do better",
    "reset": "release a stopped robot",
    "doctor": "what works on this machine, what is missing, and how to get it",
}
"""Command -> what it does; each lives in `bridle.commands.<name>` and has a `main(args)`."""


def usage() -> str:
    """The text of `bridle --help`."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {what}" for name, what in COMMANDS.items()]
    return "\n".join(
        [
            f"Bridle {bridle.__version__}: learned robot policies, from demonstrations to a robot.",
            "",
            "usage: bridle COMMAND [options]        bridle COMMAND --help explains one",
            "",
            *lines,
            "",
            "The usual way:",
            "  bridle collect --out data/pick-place",
            "  bridle train --data data/pick-place --out runs/pick-place",
            "  bridle evaluate --run runs/pick-place",
            "  bridle export --run runs/pick-place --out bundles/pick-place",
            "  bridle up --bundle bundles/pick-place        and, beside it:",
            '  bridle say "a bit to the left"',
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status (0 well, 1 the answer is no, 2 bad input, 3 a fault)."""
    args = list(sys.argv[1:] if arguments is None else arguments)
    if not args or args[0] in ("-h", "--help", "help"):
        print(usage())
        return 0 if args else 2
    if args[0] in ("-V", "--version"):
        print(bridle.__version__)
        return 0
    name, *rest = args
    if name not in COMMANDS:
        from difflib import get_close_matches

        near = get_close_matches(name, COMMANDS, 1)
        hint = f"; did you mean {near[0]}?" if near else "; bridle --help lists them"
        return _complain(f"there is no command {name!r}{hint}")
    # Spinning OpenMP threads make small networks many times slower on shared cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("KMP_BLOCKTIME", "0")
    try:
        # A word of the language cannot be the name of a module.
        module = f"{name}_" if iskeyword(name) else name
        command: Callable[[list[str]], int | None] = import_module(f"bridle.commands.{module}").main
        return command(rest) or 0
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.startswith("bridle"):
            raise
        return _complain(
            f"{error.name} is not installed; `bridle doctor` says which extra brings it"
        )
    except BrokenPipeError:
        # The reader has gone, as in `| head`; Python must not complain again at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return _complain("interrupted")
    except Exception as error:
        if os.environ.get("BRIDLE_TRACEBACK"):
            raise
        if isinstance(error, ValueError | OSError):
            return _complain(str(error))
        what = f"unexpected {type(error).__name__}: {error}"
        return _complain(f"{what} (BRIDLE_TRACEBACK=1 shows where)", 3)


def _complain(why: str, status: int = 2) -> int:
    print(f"bridle: {' '.join(why.split())}", file=sys.stderr)
    return status


def write_json(path: Path | None, result: Any) -> None:
    """Write a command's result, a dataclass or a mapping, where `--json` says."""
    if path is None:
        return
    content = asdict(result) if is_dataclass(result) and not isinstance(result, type) else result
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2, default=str) + "\n")
