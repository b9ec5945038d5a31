"""One process or several: devices, precision, and what the main process does for all.

`torchrun --nproc_per_node N -m bridle train ...` starts several; accelerate finds them and their
devices.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import torch
from accelerate import Accelerator, PartialState
from accelerate.state import AcceleratorState, is_initialized
from accelerate.utils import broadcast_object_list

from bridle.training.exceptions import TrainingError

T = TypeVar("T")

PATIENCE = timedelta(hours=6)
"""How long processes wait for the main one, which also evaluates in simulation."""


def processes() -> PartialState:
    """The processes of this run, connected on the first call."""
    # Without an accelerator, accelerate must be told that several processes share the CPU.
    return PartialState(cpu=not torch.accelerator.is_available(), timeout=PATIENCE)


def accelerator(precision: str) -> Accelerator:
    """The accelerator of one run of perhaps many in this process."""
    processes()
    # Accelerate has one state per process and refuses another precision than its first one.
    if is_initialized() and AcceleratorState().mixed_precision != precision:
        AcceleratorState._reset_state()
    return Accelerator(cpu=not torch.accelerator.is_available(), mixed_precision=precision)


def on_main(work: Callable[[], T]) -> T:
    """What the main process alone works out, in every process; its failure fails all of them.

    Raises:
        TrainingError: another process could not do it.
    """
    state = processes()
    if state.num_processes == 1:
        return work()
    outcome: list[Any] = [None, None]
    failure: Exception | None = None
    if state.is_main_process:
        try:
            outcome[0] = work()
        except Exception as error:
            failure, outcome[1] = error, str(error)
    broadcast_object_list(outcome)
    if failure is not None:
        raise failure
    if outcome[1] is not None:
        raise TrainingError(outcome[1])
    result: T = outcome[0]
    return result
