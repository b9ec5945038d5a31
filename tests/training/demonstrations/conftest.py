import shutil

import pytest

from tests.training.demonstrations.sets import record


@pytest.fixture(autouse=True)
def cache_home(tmp_path, monkeypatch):
    """What is kept between runs stays in the test's folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache-home"))


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    """A set of three episodes that nobody changes."""
    path = tmp_path_factory.mktemp("template") / "set"
    record(path)
    return path


@pytest.fixture
def recorded(template, tmp_path):
    """A set of three episodes: 30, 1 and 20 steps."""
    return shutil.copytree(template, tmp_path / "set")
