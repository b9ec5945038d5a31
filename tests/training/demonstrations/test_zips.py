import shutil
import stat
import struct
import zipfile
import zlib

import pytest

from bridle.training.demonstrations import DemonstrationError, load
from bridle.training.demonstrations.filtering import Wanted, filter_set
from bridle.training.demonstrations.merging import merge
from bridle.training.demonstrations.splitting import split
from bridle.training.demonstrations.summary import info
from bridle.training.demonstrations.validation import validate
from bridle.training.demonstrations.zips import pack
from tests.training.demonstrations.sets import errors, record


@pytest.fixture
def packed(recorded, tmp_path):
    pack(recorded, tmp_path / "set.zip")
    return tmp_path / "set.zip"


def rewritten(path, change):
    """Write a zip again entry by entry; `change(entry, content)` gives what to write instead."""
    with zipfile.ZipFile(path) as archive:
        entries = [(entry, archive.read(entry)) for entry in archive.infolist()]
    with zipfile.ZipFile(path, "w") as archive:
        for entry, content in entries:
            for name_or_entry, data in change(entry, content):
                archive.writestr(name_or_entry, data)


def added(path, entry, content=b"x", **options):
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(entry, content, **options)


# Packing


def test_a_packed_set_is_stored_and_always_the_same(recorded, packed, tmp_path):
    pack(recorded, tmp_path / "again.zip")
    assert packed.read_bytes() == (tmp_path / "again.zip").read_bytes()
    with zipfile.ZipFile(packed) as archive:
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}
        assert archive.testzip() is None
    assert load(packed).digest == load(recorded).digest
    assert validate(packed) == []
    assert not list(tmp_path.glob("*.partial"))


def test_unfinished_files_are_not_packed(recorded, tmp_path):
    (recorded / "data/action/0.0.partial").write_text("")
    pack(recorded, tmp_path / "set.zip")
    with zipfile.ZipFile(tmp_path / "set.zip") as archive:
        assert not [name for name in archive.namelist() if name.endswith(".partial")]


def test_a_failed_packing_leaves_the_old_zip(packed, tmp_path, monkeypatch):
    before = packed.read_bytes()
    record(tmp_path / "other", (5,))
    monkeypatch.setattr(zipfile.ZipFile, "writestr", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        pack(tmp_path / "other", packed)
    assert packed.read_bytes() == before
    assert not list(tmp_path.glob("*.partial"))


def test_commands_write_zips_that_equal_their_folders(recorded, tmp_path):
    record(tmp_path / "other", (4, 4))
    both = [recorded, tmp_path / "other"]
    for ending in ("", ".zip"):
        merge(both, tmp_path / f"merged{ending}")
        split(recorded, tmp_path / f"t{ending}", tmp_path / f"v{ending}", count=1)
        filter_set(recorded, tmp_path / f"filtered{ending}", Wanted(episodes="1"))
    for name in ("merged", "t", "v", "filtered"):
        archive = tmp_path / f"{name}.zip"
        assert zipfile.is_zipfile(archive)
        assert load(archive).digest == load(tmp_path / name).digest
    assert not list(tmp_path.glob("*.staging*"))
    before = (tmp_path / "merged.zip").read_bytes()
    assert merge(both, tmp_path / "merged.zip").resumed == 5
    assert (tmp_path / "merged.zip").read_bytes() == before
    with pytest.raises(DemonstrationError, match=r"merged\.zip exists; choose another --out"):
        merge(both[::-1], tmp_path / "merged.zip")
    assert (tmp_path / "merged.zip").read_bytes() == before


def test_what_a_kill_left_beside_a_zip_is_removed(recorded, tmp_path):
    filter_set(recorded, tmp_path / "out.zip", Wanted())
    (tmp_path / "out.zip.staging.partial/data").mkdir(parents=True)
    (tmp_path / "out.zip.partial").write_text("half a zip")
    assert filter_set(recorded, tmp_path / "out.zip", Wanted()).resumed == 3
    assert sorted(p.name for p in tmp_path.glob("out*")) == ["out.zip"]


def test_deflated_zips_of_others_are_read(recorded, tmp_path):
    archive = shutil.make_archive(str(tmp_path / "deflated"), "zip", recorded)
    assert load(archive).digest == load(recorded).digest


# Zips that are made to harm


def link(name):
    entry = zipfile.ZipInfo(name)
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry


TRICKS = {
    "up": (lambda p: added(p, "../../evil"), "'../../evil' leads out of the archive"),
    "up inside": (lambda p: added(p, "data/../../evil"), "leads out of the archive"),
    "absolute": (lambda p: added(p, "/etc/passwd"), "'/etc/passwd' leads out of the archive"),
    "backslash": (lambda p: added(p, "..\\evil"), "leads out of the archive"),
    "link": (lambda p: added(p, link("data/action/1.0"), "/etc/passwd"), "is a link"),
    "pipe": (
        lambda p: added(p, _special("data/pipe", stat.S_IFIFO)),
        "is a link or a special file",
    ),
    "method": (
        lambda p: added(p, "data/x", compress_type=zipfile.ZIP_BZIP2),
        "compressed by method 12; repack it",
    ),
}


def _special(name, kind):
    entry = zipfile.ZipInfo(name)
    entry.external_attr = (kind | 0o644) << 16
    return entry


@pytest.mark.parametrize("name", TRICKS)
def test_tricks_with_entries_are_refused(packed, tmp_path, name):
    harm, message = TRICKS[name]
    harm(packed)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(AssertionError, match=message):
        raise AssertionError("\n".join(map(str, errors(packed))))
    for use in (load, info):
        with pytest.raises(DemonstrationError, match=message):
            use(packed)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_entry_that_is_there_twice_is_refused(packed):
    with pytest.warns(UserWarning, match="Duplicate"):
        added(packed, "data/action/0.0")
    assert "the entry is there twice" in str(errors(packed)[0])


def test_an_encrypted_entry_is_refused(packed):
    content = bytearray(packed.read_bytes())
    central = content.rindex(b"PK\x01\x02")
    content[central + 8] |= 1
    packed.write_bytes(content)
    assert "the entry is encrypted" in str(errors(packed)[0])


def bomb(size):
    """A deflate stream of so many zeros, a thousandth of that in size."""
    packer = zlib.compressobj(9, wbits=-15)
    piece = bytes(1 << 20)
    return b"".join(packer.compress(piece) for _ in range(size >> 20)) + packer.flush()


@pytest.mark.parametrize("name", [".zattrs", "data/action/.zarray", "data/action/0.0"])
def test_a_bomb_is_refused_by_its_size(packed, name):
    bombed = bytes(64 << 20)

    def change(entry, content):
        if entry.filename != name:
            return [(entry, content)]
        entry.compress_type = zipfile.ZIP_DEFLATED
        return [(entry, bombed)]

    rewritten(packed, change)
    assert packed.stat().st_size < 1 << 20
    message = str(errors(packed)[0])
    assert "is larger than the 16 MiB of metadata" in message or "at most" in message


def test_a_bomb_that_declares_little_gives_no_more_than_that(packed):
    """The entry declares 200 bytes, and its stream holds 64 MiB."""
    name = b"data/action/.zarray"
    stream = bomb(64 << 20)

    def change(entry, content):
        if entry.filename != name.decode():
            return [(entry, content)]
        return []

    rewritten(packed, change)
    entry = zipfile.ZipInfo(name.decode())
    entry.compress_type = zipfile.ZIP_DEFLATED
    added(packed, entry, bytes(64 << 20))
    content = bytearray(packed.read_bytes())
    assert stream  # the size in the directory is what readers go by
    central = content.rindex(b"PK\x01\x02")
    struct.pack_into("<I", content, central + 24, 200)
    packed.write_bytes(content)
    assert "data/action/.zarray" in str(errors(packed)[0])
    assert "cannot be read" in str(errors(packed)[0])


@pytest.mark.parametrize("cut", [0, 1, 10, 21, 22, 100])
def test_a_zip_that_is_cut_is_no_zip(packed, cut):
    content = packed.read_bytes()
    packed.write_bytes(content[: len(content) - cut - 1])
    assert "neither a folder nor a readable zip" in str(errors(packed)[0])


def test_a_set_in_a_folder_of_a_zip_is_pointed_at(recorded, tmp_path):
    shutil.copytree(recorded, tmp_path / "in/pusht/replay.zarr")
    archive = shutil.make_archive(str(tmp_path / "nested"), "zip", tmp_path / "in")
    assert "there is one inside: pusht/replay.zarr" in str(errors(archive)[0])
