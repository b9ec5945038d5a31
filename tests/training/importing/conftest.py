from pathlib import Path

import pytest

from .written import policy_of


@pytest.fixture
def lerobot(tmp_path) -> Path:
    """The smallest one."""
    return policy_of("state", tmp_path / "lerobot")
