"""Attacks by the manifest."""

import json

from .draft import Draft

WRONG = (
    None,
    True,
    -1,
    2**70,
    1e300,
    "",
    "x" * 500,
    [],
    [[]],
    {},
    {"a": 1},
    [1, "a", None],
    "\x00",
)


def wrong_type(d: Draft) -> None:
    name = d.random.choice(sorted(d.manifest.keys() - {"files", "tolerance", "versions"}))
    own = type(d.manifest[name])
    d.manifest[name] = d.random.choice([v for v in WRONG if type(v) is not own])


def wrong_type_inside(d: Draft) -> None:
    spec = d.random.choice(d.manifest["inputs"] + d.manifest["outputs"])
    name = d.random.choice(sorted(spec))
    own = type(spec[name])
    spec[name] = d.random.choice([v for v in WRONG if type(v) is not own])


def field_missing(d: Draft) -> None:
    # What has a default anyway may be missing.
    names = sorted(d.manifest.keys() - {"tolerance"})
    name = d.random.choice(names)
    content = {k: v for k, v in json.loads(d.text()).items() if k != name}
    d.raw_manifest = json.dumps(content).encode()


def field_unknown(d: Draft) -> None:
    d.manifest[d.random.choice(["surprise", "__class__", "files ", "Horizon", ""])] = 1


def given_twice(d: Draft) -> None:
    name = d.random.choice(["files", "robot", "n_steps", "format_version"])
    value = json.dumps(d.manifest[name])
    d.raw_manifest = d.text().replace("{", f'{{"{name}": {value},', 1).encode()


def huge(d: Draft) -> None:
    d.raw_manifest = d.text().encode() + b" " * d.random.choice([2**20, 2**24, 2**26])


def deep(d: Draft) -> None:
    depth = d.random.choice([10, 900, 5000, 100_000])
    brackets = d.random.choice([("[", "]"), ('{"a":', "}")])
    nested = brackets[0] * depth + "1" + brackets[1] * depth
    d.raw_manifest = d.text().replace('"robot":', f'"more": {nested}, "robot":', 1).encode()


def not_a_number(d: Draft) -> None:
    text = d.random.choice(["NaN", "Infinity", "-Infinity", "1e999", "1" * 5000, "-0.0"])
    d.raw_manifest = (
        d.text()
        .replace(f'"control_rate": {d.manifest["control_rate"]}', f'"control_rate": {text}')
        .encode()
    )


def out_of_range(d: Draft) -> None:
    name = d.random.choice(["horizon", "n_obs_steps", "n_action_steps", "first_action", "n_steps"])
    d.manifest[name] = d.random.choice([-1, 2**31, 10**18, 10**100])


def odd_names(d: Draft) -> None:
    text = d.random.choice(["\u202e", "\x1b[2J", "\ud800", "\x00", "a\nb", "\u200b", "\x7f"])
    where = d.random.choice(["robot", "task", "joint", "input", "instruction", "version"])
    if where in ("robot", "task"):
        d.manifest[where] += text
    elif where == "joint":
        d.manifest["joint_names"][0] += text
    elif where == "input":
        d.manifest["inputs"][0]["name"] += text
    elif where == "instruction":
        d.manifest["instructions"].append(text)
    else:
        d.manifest["versions"][text] = "1"


def file_outside(d: Draft) -> None:
    target = d.outside / "precious"
    name = d.random.choice(
        [
            "../outside/precious",
            str(target),
            "..",
            ".",
            "",
            "a/b",
            "a\\b",
            "card.md\x00",
            "~",
            "-rf /",
        ]
    )
    d.manifest["files"][name] = "0" * 64


def bad_hash(d: Draft) -> None:
    d.stale = True
    files = d.manifest["files"]
    name = d.random.choice(sorted(files))
    digest = files[name]
    options = ["0" * 64, "", digest[:-1], digest.upper() + "0", digest + "\n", 1, None, [digest]]
    files[name] = d.random.choice(options)


def lists_itself(d: Draft) -> None:
    d.manifest["files"][d.random.choice(["manifest.json", "signature.json"])] = "0" * 64


def lists_too_little(d: Draft) -> None:
    d.stale = True
    for name in d.random.sample(sorted(d.manifest["files"]), d.random.randint(1, 6)):
        del d.manifest["files"][name]


def long_lists(d: Draft) -> None:
    name = d.random.choice(["joint_names", "instructions", "inputs", "versions", "files"])
    n = 20_000
    if name in ("versions", "files"):
        d.manifest[name] |= {f"f{i}": "0" * 64 for i in range(n)}
    elif name == "inputs":
        d.manifest[name] *= n // 4
    else:
        d.manifest[name] += [f"n{i}" for i in range(n)]


def giant_input(d: Draft) -> None:
    d.manifest["inputs"][0]["shape"] = d.random.choice(
        [
            [-1, 1, 10**9],
            [-1, 1, 10**6, 10**6],
            [-1, 1, -(10**9)],
            [-1, 1] + [2] * 60,
            [-1, 10**6, 1],
        ]
    )


def no_json(d: Draft) -> None:
    d.raw_manifest = d.random.choice(
        [
            b"",
            b"{",
            b"\xff\xfe{\x00",
            b"[]",
            b"null",
            b"\xef\xbb\xbf{}",
            b"\x80\x04K\x01.",
            b"{}{}",
            b"1",
        ]
    )


def other_version(d: Draft) -> None:
    d.manifest["format_version"] = d.random.choice([0, -1, 99, 10**30, True, "2", 2.0, None])


def unknown_robot(d: Draft) -> None:
    d.manifest["robot"] = d.random.choice(
        ["../../etc/passwd", "nobody", "/etc/passwd", "a.yaml", "-"]
    )


def other_joints(d: Draft) -> None:
    names = d.manifest["joint_names"]
    d.manifest["joint_names"] = d.random.choice(
        [names[::-1], names[1:] + names[:1], [*names[:-1], "finger"], names[:1] * len(names)]
    )


def other_shapes(d: Draft) -> None:
    # Consistent in itself, and not what the graphs compute.
    horizon = d.manifest["horizon"] + d.random.choice([1, 5, 100])
    d.manifest["horizon"] = horizon
    for spec in d.manifest["outputs"]:
        if spec["name"] == "chunk":
            spec["shape"][1] = horizon


def other_inputs(d: Draft) -> None:
    spec = d.random.choice(d.manifest["inputs"])
    spec["name"] = d.random.choice(["noise", "table", "unknown_thing"])


def no_such_table(d: Draft) -> None:
    d.manifest["n_steps"] = d.random.choice([3, 5, 999])


ATTACKS = (
    wrong_type,
    wrong_type_inside,
    field_missing,
    field_unknown,
    given_twice,
    huge,
    deep,
    not_a_number,
    out_of_range,
    odd_names,
    file_outside,
    bad_hash,
    lists_itself,
    lists_too_little,
    long_lists,
    giant_input,
    no_json,
    other_version,
    unknown_robot,
    other_joints,
    other_shapes,
    other_inputs,
    no_such_table,
)
