"""Trained policies of other projects become runs, with equal outputs and without their libraries.

Their files are read as what they are, JSON and safetensors, and every field that decides what a
policy does is checked: what cannot be carried over exactly is refused.
"""

from bridle.training.importing.importing import ImportConfig, Imported, import_lerobot

__all__ = ["ImportConfig", "Imported", "import_lerobot"]
