"""What many cases show together."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bridle.fuzzing.judging import KINDS, Verdict
from bridle.fuzzing.running import Trace

SHARES = ("velocity", "acceleration", "jerk", "tool_speed")
"""Kinds whose margin is a share of the limit; of the others it is what is left to it."""
MOVED = 0.95
"""Share of the robots that could move of which as many have to."""
SHOWN = 100
"""Cases that are listed of each sort."""


def row(case: int, trace: Trace, verdict: Verdict, seconds: float) -> dict[str, Any]:
    """One case as it is written to a file."""
    return {
        "case": case,
        "kind": trace.setting.kind,
        "steps": verdict.physics_steps,
        "ticks": verdict.ticks,
        "violations": {kind: n for kind, n in verdict.violations.items() if n},
        "of_commands": {kind: n for kind, n in verdict.of_commands.items() if n},
        "margins": {kind: float(f"{x:.6g}") for kind, x in verdict.margins.items()},
        "margins_of_commands": {
            kind: float(f"{x:.6g}") for kind, x in verdict.margins_of_commands.items()
        },
        "details": verdict.details,
        "stopped": verdict.stopped,
        "moved": verdict.moved,
        "path_error": verdict.path_error,
        "path_error_of_robot": verdict.path_error_of_robot,
        "interventions": dict(trace.interventions),
        "refusals": dict(trace.refusals),
        "errors": trace.errors[:3],
        "n_errors": len(trace.errors),
        "seconds": seconds,
    }


def failed_row(case: int, error: str) -> dict[str, Any]:
    """A case that could not be carried through."""
    return {"case": case, "kind": "?", "errors": [error], "n_errors": 1}


@dataclass
class Tally:
    """Sums over cases; `add` them in any order."""

    cases: int = 0
    physics_steps: int = 0
    ticks: int = 0
    seconds: float = 0.0
    failures: int = 0
    violations: Counter[str] = field(default_factory=Counter)
    of_commands: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    interventions: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    clean_interventions: Counter[str] = field(default_factory=Counter)
    worst: dict[str, dict[str, float]] = field(default_factory=dict)
    paths: list[tuple[float, float]] = field(default_factory=list)
    stopped: list[bool] = field(default_factory=list)
    moved: list[bool] = field(default_factory=list)
    cases_with: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def add(self, found: dict[str, Any]) -> None:
        """Count a case, as `row` has it."""
        self.cases += 1
        self.failures += found["n_errors"]
        self.kinds[found["kind"]] += 1
        if found["n_errors"]:
            self._list("failures", found["case"], found["errors"])
        if "steps" not in found:
            return
        self.physics_steps += found["steps"]
        self.ticks += found["ticks"]
        self.seconds += found["seconds"]
        self.violations.update(found["violations"])
        self.of_commands.update(found["of_commands"])
        self.interventions.update(found["interventions"])
        self.refusals.update(found["refusals"])
        for who in ("margins", "margins_of_commands"):
            self._note_margins(who, found[who])
        if found["details"]:
            self._list("violations", found["case"], found["details"])
        if found["stopped"] is not None:
            self.stopped.append(found["stopped"])
            if not found["stopped"]:
                self._list("not_stopped", found["case"], [found["kind"]])
        if found["moved"] is not None:
            self.moved.append(found["moved"])
            self.paths.append((found["path_error"], found["path_error_of_robot"]))
            self.clean_interventions.update(found["interventions"])
            if not found["moved"]:
                why = [*found["interventions"], f"path {1e3 * found['path_error']:.2f} mm"]
                self._list("not_moved", found["case"], why)

    def _note_margins(self, who: str, margins: dict[str, float]) -> None:
        worst = self.worst.setdefault(who, {})
        for kind, value in margins.items():
            better = max if kind in SHARES else min
            worst[kind] = better(worst.get(kind, value), value)

    def _list(self, name: str, case: int, what: list[str]) -> None:
        self.cases_with.setdefault(name, []).append({"case": case, "what": what})

    @property
    def ok(self) -> bool:
        """Whether no limit was broken, nothing failed, every robot that had to stop did, and nearly
        every one that could move did.
        """
        broken = self.violations or self.of_commands or self.failures
        return not broken and all(self.stopped) and sum(self.moved) >= MOVED * len(self.moved)

    def result(self) -> dict[str, Any]:
        """For `--json`."""
        errors = 1e3 * np.array(self.paths).reshape(-1, 2)
        return {
            "cases": self.cases,
            "physics_steps": self.physics_steps,
            "ticks": self.ticks,
            "violations": _by_kind(self.violations),
            "violations_of_commands": _by_kind(self.of_commands),
            "violating_cases": len(self.cases_with.get("violations", [])),
            "worst_margins": self.worst.get("margins", {}),
            "worst_margins_of_commands": self.worst.get("margins_of_commands", {}),
            "stopped_when_it_should": _rate(self.stopped),
            "moved_when_it_could": _rate(self.moved),
            "clean_chunks": {
                "path_error_mm": _spread(errors[:, 0]),
                "path_error_of_robot_mm": _spread(errors[:, 1]),
                "interventions": dict(self.clean_interventions),
            },
            "failures": self.failures,
            "interventions": dict(self.interventions.most_common()),
            "refusals": dict(self.refusals.most_common()),
            "kinds": dict(self.kinds.most_common()),
            "seconds_per_case": self.seconds / max(1, self.cases),
            "cases_with": {
                name: sorted(found, key=lambda each: each["case"])[:SHOWN]
                for name, found in self.cases_with.items()
            },
        }


def _by_kind(counts: Counter[str]) -> dict[str, int]:
    return {**{kind: counts[kind] for kind in KINDS}, "total": sum(counts.values())}


def _rate(outcomes: list[bool]) -> dict[str, Any]:
    return {"rate": float(np.mean(outcomes)) if outcomes else None, "n": len(outcomes)}


def _spread(values: Any) -> dict[str, float] | None:
    if not len(values):
        return None
    return {
        "median": float(np.median(values)),
        "p99": float(np.percentile(values, 99)),
        "max": float(np.max(values)),
    }
