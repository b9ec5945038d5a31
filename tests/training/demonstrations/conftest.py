import pytest

from tests.training.demonstrations.sets import record


@pytest.fixture(autouse=True)
def cache_home(tmp_path, monkeypatch):
    """What is kept between runs stays in the test's folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache-home"))


@pytest.fixture
def recorded(tmp_path):
    path = tmp_path / "set"
    record(path)
    return path
