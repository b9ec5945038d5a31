"""Attacks by what lies in the folder."""

import os
import shutil

from .draft import MANIFEST, Draft

GRAPHS = ("encoder.onnx", "step.onnx", "policy.onnx")
READ = (*GRAPHS, "table.npz", "robot.xml")


def pick(d: Draft) -> str:
    return d.random.choice(sorted(d.contents))


def flipped_bit(d: Draft) -> None:
    name, d.stale = pick(d), True
    data = bytearray(d.contents[name])
    data[d.random.randrange(len(data))] ^= 1 << d.random.randrange(8)
    d.contents[name] = bytes(data)


def cut_off(d: Draft) -> None:
    name, d.stale = pick(d), True
    d.contents[name] = d.contents[name][: d.random.randrange(len(d.contents[name]))]


def cut_off_with_right_hash(d: Draft) -> None:
    name = d.random.choice(READ)
    d.contents[name] = d.contents[name][: d.random.randrange(len(d.contents[name]) - 1)]


def scrambled_with_right_hash(d: Draft) -> None:
    name = d.random.choice(READ)
    data = bytearray(d.contents[name])
    at = d.random.randrange(max(1, min(len(data), 4000) - 300))
    data[at : at + 300] = d.random.randbytes(300)
    d.contents[name] = bytes(data)


def noise_with_right_hash(d: Draft) -> None:
    d.contents[d.random.choice(READ)] = d.random.randbytes(d.random.randrange(5000))


def exchanged_with_right_hash(d: Draft) -> None:
    a, b = d.random.sample(READ, 2)
    d.contents[a], d.contents[b] = d.contents[b], d.contents[a]


def missing(d: Draft) -> None:
    name = pick(d)
    d.afterwards.append(lambda f: (f / name).unlink())


def not_listed(d: Draft) -> None:
    name = d.random.choice(["extra.onnx", ".hidden", "a\nb", "\u202etxt.onnx", "weights.data"])
    d.afterwards.append(lambda f: (f / name).write_bytes(b"x"))


def many_files(d: Draft) -> None:
    d.afterwards.append(lambda f: [(f / f"{i}.onnx").touch() for i in range(500)])


def link(d: Draft) -> None:
    name = d.random.choice([*sorted(d.contents), MANIFEST])

    def replace(folder):
        # The right bytes, from elsewhere.
        target = d.outside / f"{folder.name}-{name}"
        shutil.move(folder / name, target)
        (folder / name).symlink_to(target)

    d.afterwards.append(replace)


def link_to_device(d: Draft) -> None:
    name, target = pick(d), d.random.choice(["/dev/zero", "/dev/stdin", "/proc/self/mem", "."])
    d.afterwards += [lambda f: (f / name).unlink(), lambda f: (f / name).symlink_to(target)]


def pipe(d: Draft) -> None:
    name = d.random.choice([*sorted(d.contents), MANIFEST, "signature.json"])
    d.key = d.outside / "owner.pub" if name == "signature.json" else None
    d.afterwards += [
        lambda f: (f / name).unlink(missing_ok=True),
        lambda f: os.mkfifo(f / name),
    ]


def folder_instead(d: Draft) -> None:
    name = d.random.choice([*sorted(d.contents), MANIFEST])
    d.afterwards += [lambda f: (f / name).unlink(), lambda f: (f / name).mkdir()]


def sparse_giant(d: Draft) -> None:
    name = d.random.choice([*sorted(d.contents), MANIFEST])
    d.afterwards.append(lambda f: os.truncate(f / name, 2**33))


def no_folder(d: Draft) -> None:
    kind = d.random.choice(["file", "pipe", "nothing", "loop"])

    def replace(folder):
        shutil.rmtree(folder)
        if kind == "file":
            folder.write_bytes(b"x")
        elif kind == "pipe":
            os.mkfifo(folder)
        elif kind == "loop":
            folder.symlink_to(folder)

    d.afterwards.append(replace)


ATTACKS = (
    flipped_bit,
    cut_off,
    cut_off_with_right_hash,
    scrambled_with_right_hash,
    noise_with_right_hash,
    exchanged_with_right_hash,
    missing,
    not_listed,
    many_files,
    link,
    link_to_device,
    pipe,
    folder_instead,
    sparse_giant,
    no_folder,
)
