"""Ray, for work on many machines."""

import logging
from importlib import import_module
from typing import Any

from bridle.training.exceptions import TrainingError


def connect(asked_by: str) -> Any:
    """Ray, connected to RAY_ADDRESS or started on this machine.

    Args:
        asked_by: the option that wants it, for the message.

    Raises:
        TrainingError: it is not installed.
    """
    try:
        ray: Any = import_module("ray")
    except ModuleNotFoundError as error:
        raise TrainingError(
            f"{asked_by} needs Ray: pip install 'bridle[cluster]', here and on the cluster"
        ) from error
    if not ray.is_initialized():
        ray.init(logging_level=logging.ERROR, include_dashboard=False, log_to_driver=False)
    return ray
