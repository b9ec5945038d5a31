"""Attacks by the archive of tables; every hash is right."""

import io
import pickle
import zipfile

import numpy as np

from .draft import Draft

NAME = "table.npz"


def tables(d: Draft) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(d.contents[NAME])) as content:
        return dict(content)


def write(d: Draft, content: dict[str, np.ndarray]) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, **content)
    d.contents[NAME] = buffer.getvalue()


def pack(d: Draft, members: list[tuple[str, bytes]], how: int = zipfile.ZIP_DEFLATED) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", how) as archive:
        for name, data in members:
            archive.writestr(name, data)
    d.contents[NAME] = buffer.getvalue()


def header(text: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


def bomb(d: Draft) -> None:
    """Sixty-four megabytes of zeros in sixty-four kilobytes."""
    text = "{'descr': '<f4', 'fortran_order': False, 'shape': (4, 4194304), }"
    pack(d, [("4.npy", header(text) + bytes(2**26))])


def many_bombs(d: Draft) -> None:
    text = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 524288), }"
    pack(d, [(f"{i}.npy", header(text) + bytes(2**21)) for i in range(1, 40)])


def lying_size(d: Draft) -> None:
    """More comes out than the directory says."""
    text = "{'descr': '<f4', 'fortran_order': False, 'shape': (4, 1048576), }"
    data = header(text) + bytes(2**24)
    pack(d, [("4.npy", data)])
    true, lie = len(data).to_bytes(4, "little"), (128).to_bytes(4, "little")
    d.contents[NAME] = d.contents[NAME].replace(true, lie)


def giant_header(d: Draft) -> None:
    shape = d.random.choice(["(4, 10**12)", "(1000000000000,)", "(4, 1099511627776)", "(-4, -4)"])
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}"
    pack(d, [("4.npy", header(text) + bytes(64))])


def code_in_header(d: Draft) -> None:
    text = d.random.choice(
        ["__import__('os').system('touch owned')", "(" * 5000, "{" * 900, "9" * 60000]
    )
    pack(d, [("4.npy", header(text[:65000]) + bytes(64))])


def pickled(d: Draft) -> None:
    array = np.empty((4, 2), object)
    array[:] = print
    if d.random.random() < 0.5:
        write(d, tables(d) | {"4": array})
    else:
        pack(d, [("4.npy", pickle.dumps(array))])


def not_finite(d: Draft) -> None:
    content = tables(d)
    table = content[d.random.choice(sorted(content))]
    table[0, 0] = d.random.choice([np.nan, np.inf, -np.inf])
    write(d, content)


def other_type(d: Draft) -> None:
    kind = d.random.choice(["f8", "i4", ">f4", "U1", "c8", "M8[s]", "f4,f4"])
    content = tables(d)
    write(d, content | {"4": np.zeros(content["4"].shape, kind)})


def other_shape(d: Draft) -> None:
    shape = d.random.choice([(5, 3), (4,), (4, 0), (0, 3), (4, 3, 1), (4, 7), ()])
    write(d, tables(d) | {"4": np.zeros(shape, np.float32)})


def odd_name(d: Draft) -> None:
    name = d.random.choice(
        ["../outside/4", "/etc/4", "", "４", "-4", "4.0", "9" * 5000, "0", "a\x00b"]
    )
    pack(d, [(f"{name}.npy", b"x")])


def twice(d: Draft) -> None:
    buffer = io.BytesIO(d.contents[NAME])
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("4.npy", archive.read("4.npy"))
    d.contents[NAME] = buffer.getvalue()


def too_many(d: Draft) -> None:
    n = d.random.choice([200, 5000, 30_000])
    pack(d, [(f"{i}.npy", b"") for i in range(1, n)], zipfile.ZIP_STORED)


def unusual_packing(d: Draft) -> None:
    with zipfile.ZipFile(io.BytesIO(d.contents[NAME])) as archive:
        members = [(n, archive.read(n)) for n in archive.namelist()]
    pack(d, members, d.random.choice([zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]))


def encrypted(d: Draft) -> None:
    data = bytearray(d.contents[NAME])
    at = data.index(b"PK\x01\x02")
    data[at + 8] |= 1
    d.contents[NAME] = bytes(data)


def none_of_own(d: Draft) -> None:
    content = tables(d)
    del content[str(d.manifest["n_steps"])]
    write(d, content if d.random.random() < 0.5 else {})


ATTACKS = (
    bomb,
    many_bombs,
    lying_size,
    giant_header,
    code_in_header,
    pickled,
    not_finite,
    other_type,
    other_shape,
    odd_name,
    twice,
    too_many,
    unusual_packing,
    encrypted,
    none_of_own,
)
