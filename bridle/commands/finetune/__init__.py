"""Make a trained policy better than its demonstrations."""

from collections.abc import Sequence

from bridle.commands import dispatch

ACTIONS = {
    "iql": "by the rewards of a set: imitate what was worth it (implicit Q-learning)",
    "fisor": "by its rewards and costs: imitate what was worth it and stayed safe (FISOR)",
}
"""Action -> what it does; each lives in `bridle.commands.finetune.<action>`."""


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    return dispatch("finetune", ACTIONS, arguments)
