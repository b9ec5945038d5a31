import functools
import json
import threading
import time
import warnings
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import pytest

from bridle.training.demonstrations import (
    DemonstrationError,
    DemonstrationWriter,
    create_or_resume,
    load,
    publishing,
)
from bridle.training.demonstrations.filtering import Wanted, filter_set
from bridle.training.demonstrations.merging import merge
from bridle.training.demonstrations.places import locate
from bridle.training.demonstrations.repairing import repair
from bridle.training.demonstrations.splitting import split
from bridle.training.demonstrations.statistics import statistics
from bridle.training.demonstrations.summary import info
from bridle.training.demonstrations.validation import validate
from bridle.training.demonstrations.zips import pack
from tests.training.demonstrations.sets import SETTINGS, assert_holds, episode, record


@pytest.fixture
def memory():
    """The store behind memory:// URLs, empty."""
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    yield fs
    fs.store.clear()


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ("data/set", Path("data/set")),
        ("/data/a:b/set", Path("/data/a:b/set")),
        ("file:///data/my%20set", Path("/data/my set")),
        ("local:///data/set", Path("/data/set")),
        ("s3://bucket/set/", "s3://bucket/set"),
        (Path("s3://bucket/set"), "s3://bucket/set"),
        (Path("gs://bucket/set.zip"), "gs://bucket/set.zip"),
        (Path("memory://set"), "memory://set"),
        (Path("nonsense:/set"), Path("nonsense:/set")),
        ("simplecache::s3://bucket/set.zip", "simplecache::s3://bucket/set.zip"),
    ],
)
def test_places_are_paths_or_urls(given, place):
    assert locate(given) == place


@pytest.mark.parametrize("ending", ["", ".zip"])
def test_a_set_behind_a_url_is_read_like_a_folder(recorded, memory, tmp_path, ending):
    url = f"memory://bucket/set{ending}"
    if ending:
        pack(recorded, tmp_path / "set.zip")
        memory.put_file(str(tmp_path / "set.zip"), "/bucket/set.zip")
    else:
        publishing.publish(recorded, "memory://bucket/set")
    for place in (url, Path(url)):
        assert load(place).digest == load(recorded).digest
        assert validate(place) == []
        assert info(place).digest == statistics(place).digest == info(recorded).digest
        assert load(place, memory="memmap").digest == load(recorded).digest
    assert repair(url, tmp_path / "repaired").episodes == 3
    filter_set(url, tmp_path / "some", Wanted(episodes="1-"))
    assert load(tmp_path / "some").n_episodes == 2


def test_damage_behind_a_url_is_found(recorded, memory):
    publishing.publish(recorded, "memory://bucket/set")
    memory.rm_file("/bucket/set/data/action/0.0")
    memory.pipe_file("/bucket/set/data/reward/0", b"short")
    found = [str(p) for p in validate("memory://bucket/set")]
    assert found[0].startswith("error: data/action/0.0, row 0, episode 0: the chunk is missing")
    assert any("data/reward" in text and "truncated chunk" in text for text in found)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("memory://bucket/none", "memory://bucket/none does not exist"),
        ("memory://bucket/none.zip", "memory://bucket/none.zip does not exist"),
        ("gopher://bucket/none", "cannot be opened: ValueError Protocol not known: gopher"),
        ("http://127.0.0.1:9/none", "http://127.0.0.1:9/none"),
    ],
)
def test_urls_that_lead_nowhere_are_named(memory, url, message):
    for use in (load, info):
        with pytest.raises(DemonstrationError, match=message):
            use(url)
    assert message in str(validate(url)[0])


@pytest.mark.parametrize("ending", ["", ".zip"])
def test_commands_write_behind_urls(recorded, memory, tmp_path, ending):
    record(tmp_path / "other", (4, 1100))
    both = [recorded, tmp_path / "other"]
    merge(both, tmp_path / "merged")
    url = f"memory://bucket/merged{ending}"
    assert merge(both, url).resumed == 0
    assert validate(url) == []
    assert load(url).digest == load(tmp_path / "merged").digest
    split(url, f"memory://bucket/t{ending}", f"memory://bucket/v{ending}", count=2)
    assert load(f"memory://bucket/v{ending}").n_episodes == 2
    # Nothing stays: no lock, no folder here.
    assert not [name for name in memory.find("/") if name.endswith(".lock")]
    assert not list((tmp_path / "cache-home/bridle/staging").iterdir())
    # The same again is done already, something else is refused.
    before = dict(memory.store)
    assert merge(both, url).resumed == 5
    with pytest.raises(DemonstrationError, match="exists; choose another --out"):
        merge(both[::-1], url)
    assert memory.store == before


def test_a_recorder_may_write_behind_a_url(memory):
    url = "memory://bucket/set"
    for n in range(2):
        writer = create_or_resume(Path(url), **SETTINGS)
        assert writer.n_episodes == n
        writer.append(episode(5, n))
        writer.close()
        with pytest.raises(DemonstrationError, match="does not exist"):
            load(url)
    with create_or_resume(url, **SETTINGS) as writer:
        writer.append(episode(6, 2))
    assert_holds(load(url), [episode(5, 0), episode(5, 1), episode(6, 2)])


def test_only_whole_sets_are_written_behind_urls(memory):
    for begin in (
        lambda url: DemonstrationWriter.create(url, **SETTINGS),
        DemonstrationWriter.open,
    ):
        for url in ("memory://bucket/set", Path("memory://bucket/set")):
            with pytest.raises(DemonstrationError, match="is not on this machine"):
                begin(url)


# No reader sees half a set


def test_at_no_moment_is_half_a_set_there(recorded, memory, tmp_path, monkeypatch):
    """After every single change of the store, the set is the whole one or no set."""
    record(tmp_path / "other", (4, 1100))
    url, moments = "memory://bucket/set", []

    def look(work):
        def looking(self, *args, **kwargs):
            result = work(self, *args, **kwargs)
            if not str(args[0]).endswith(".lock"):
                try:
                    moments.append(load(url).digest)
                except DemonstrationError:
                    moments.append(None)
            return result

        return looking

    for name in ("put_file", "rm_file"):
        monkeypatch.setattr(type(memory), name, look(getattr(type(memory), name)))
    publishing.publish(recorded, url)
    whole = load(recorded).digest
    assert set(moments[:-1]) == {None}
    assert moments[-1] == whole
    # Another one in its place: the old one, none, the new one.
    moments.clear()
    publishing.publish(tmp_path / "other", url)
    assert set(moments[:-1]) <= {None, whole}
    assert None in moments
    assert moments[-1] == load(tmp_path / "other").digest
    assert validate(url) == []


def test_an_upload_that_failed_is_made_again(recorded, memory, tmp_path, monkeypatch):
    url, put_file, left = "memory://bucket/set", type(memory).put_file, [9]

    def failing(self, *args, **kwargs):
        left[0] -= 1
        if left[0] == 0:
            raise ConnectionError("the line is dead")
        return put_file(self, *args, **kwargs)

    monkeypatch.setattr(type(memory), "put_file", failing)
    with pytest.raises(DemonstrationError, match=r"cannot be written: .*the line is dead"):
        filter_set(recorded, url, Wanted())
    with pytest.raises(DemonstrationError):
        load(url)
    again = filter_set(recorded, url, Wanted())
    assert again.resumed == 3
    assert validate(url) == []
    filter_set(recorded, tmp_path / "local", Wanted())
    assert load(url).digest == load(tmp_path / "local").digest


# One writer


def test_a_second_writer_is_refused_while_the_first_gives_signs(recorded, memory):
    lock = {"owner": "process 7 on lab-3", "time": time.time() - 30}
    memory.pipe_file("/bucket/set.lock", json.dumps(lock).encode())
    with pytest.raises(DemonstrationError, match=r"written by process 7 on lab-3, .* 30 s ago"):
        publishing.publish(recorded, "memory://bucket/set")
    assert memory.find("/bucket") == ["/bucket/set.lock"]


def test_the_lock_of_the_dead_is_taken_over(recorded, memory):
    lock = {"owner": "process 7 on lab-3", "time": time.time() - publishing.LOCK_AGE - 1}
    memory.pipe_file("/bucket/set.lock", json.dumps(lock).encode())
    publishing.publish(recorded, "memory://bucket/set")
    assert validate("memory://bucket/set") == []
    assert not memory.exists("/bucket/set.lock")


def test_a_lock_that_nobody_can_read_is_respected(recorded, memory):
    memory.pipe_file("/bucket/set.lock", b"\xff")
    with pytest.raises(DemonstrationError, match=r"an unknown process.*remove .*set\.lock"):
        publishing.publish(recorded, "memory://bucket/set")


def test_a_long_upload_renews_its_lock(recorded, memory, monkeypatch):
    monkeypatch.setattr(publishing, "_SIGN_EVERY", 0.0)
    signs = []
    pipe_file = type(memory).pipe_file
    monkeypatch.setattr(
        type(memory),
        "pipe_file",
        lambda self, path, *rest, **options: (
            signs.append(path) or pipe_file(self, path, *rest, **options)
        ),
    )
    publishing.publish(recorded, "memory://bucket/set")
    assert len(signs) > 10


# Local files and web servers


def test_file_urls_are_paths(recorded, tmp_path):
    assert load(f"file://{recorded}").digest == load(recorded).digest
    filter_set(f"file://{recorded}", f"file://{tmp_path}/out", Wanted())
    assert validate(tmp_path / "out") == []


@pytest.fixture
def server(tmp_path):
    """A web server of the test's folder, without ranges."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as it:
        threading.Thread(target=it.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{it.server_port}"
        it.shutdown()


def test_sets_on_a_web_server_are_read(recorded, tmp_path, server):
    pytest.importorskip("aiohttp")
    pack(recorded, tmp_path / "packed.zip")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert load(f"{server}/packed.zip").digest == load(recorded).digest
        assert validate(f"{server}/packed.zip") == []
        # A folder, if the server lists it.
        assert load(f"{server}/set").digest == load(recorded).digest
        with pytest.raises(DemonstrationError, match=r"give a \.zip"):
            load(f"{server}/none")
