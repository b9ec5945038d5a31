"""Bridle: a control stack for learned robot policies, from demonstrations to a guarded robot.

The parts are `bridle.policies`, `bridle.sim`, `bridle.training`, `bridle.deploy` and
`bridle.ros_nodes`; `docs/architecture.md` shows how they fit. Nothing is imported here, so that the
robot side stays light.
"""

__version__ = "0.1.0"
