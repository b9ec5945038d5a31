"""Looks at the parts of a bundle before any library loads them."""

from bridle.deploy.inspection.graph import inspect_graph
from bridle.deploy.inspection.kinematic_model import inspect_kinematic_model
from bridle.deploy.inspection.table import Tables, inspect_tables
from bridle.deploy.inspection.tokenizer import inspect_tokenizer

__all__ = [
    "Tables",
    "inspect_graph",
    "inspect_kinematic_model",
    "inspect_tables",
    "inspect_tokenizer",
]
