"""Bundles that mean harm, made from a valid one by seed."""

from . import folders, graphs, manifests, robots, signatures, tables
from .draft import Attack, draft_of

ATTACKS: tuple[Attack, ...] = tuple(
    attack
    for part in (folders, manifests, graphs, tables, robots, signatures)
    for attack in part.ATTACKS
)
HONEST: tuple[Attack, ...] = (lambda d: None, signatures.honest, graphs.harmless)
"""Done in the same way, and nothing that a reader may refuse."""
RUN: tuple[Attack, ...] = (
    *graphs.CONFINED,
    graphs.disagreement,
    graphs.not_finite,
    graphs.other_inputs,
    graphs.other_outputs,
    manifests.other_inputs,
    manifests.other_shapes,
    robots.no_tool,
    robots.other_joints,
)
"""Attacks that only running the bundle shows: they take a second each, or many."""

__all__ = ["ATTACKS", "HONEST", "RUN", "draft_of"]
