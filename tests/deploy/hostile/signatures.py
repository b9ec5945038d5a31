"""Attacks on a reader that asks for the signature of an owner."""

import base64
import json

from bridle.deploy import signature

from .draft import MANIFEST, Draft

NAME = "signature.json"


def signed(d: Draft, signer: str = "owner") -> bytes:
    """The signature of the manifest as it will be written; `owner` is the one asked for."""
    d.key = d.outside / "owner.pub"
    d.raw_manifest = d.text().encode()
    return signature.sign(d.raw_manifest, d.outside / signer)[0]


def put(d: Draft, content: bytes) -> None:
    d.afterwards.append(lambda f: (f / NAME).write_bytes(content))


def honest(d: Draft) -> None:
    """No attack."""
    put(d, signed(d))


def unsigned(d: Draft) -> None:
    d.key = d.outside / "owner.pub"


def signed_by_another(d: Draft) -> None:
    content = signed(d, "stranger")
    if d.random.random() < 0.5:
        # And says it is the owner's.
        mine = json.loads(signed(d))
        content = json.dumps(json.loads(content) | {"key": mine["key"]}).encode()
    put(d, content)


def of_another_bundle(d: Draft) -> None:
    content = signed(d)
    d.manifest["control_rate"] = 30.0
    d.raw_manifest = d.text().encode()
    put(d, content)


def altered_under_it(d: Draft) -> None:
    """A file and its hash are changed after the signature."""
    content = signed(d)
    name = d.random.choice(sorted(d.contents))
    data = bytearray(d.contents[name])
    data[d.random.randrange(len(data))] ^= 1
    d.contents[name] = bytes(data)
    d.raw_manifest = d.text().encode()
    put(d, content)


def file_altered(d: Draft) -> None:
    """A file alone is changed after the signature."""
    put(d, signed(d))
    name = d.random.choice(sorted(d.contents))
    d.contents[name] += b" "


def reformatted(d: Draft) -> None:
    put(d, signed(d))
    d.afterwards.append(lambda f: (f / MANIFEST).write_bytes((f / MANIFEST).read_bytes() + b"\n"))


def confused(d: Draft) -> None:
    content = json.loads(signed(d))
    change = d.random.choice(
        [
            {"algorithm": "none"},
            {"algorithm": ["ed25519"]},
            {"format_version": True},
            {"format_version": 2},
            {"key": None},
            {"key": content["key"].upper()},
            {"signature": None},
            {"signature": ""},
            {"signature": content["signature"][:-4]},
            {"signature": content["signature"] + "AAAA"},
            {"signature": base64.b64encode(bytes(64)).decode()},
            {"signature": "!" * 88},
            {"signature": [content["signature"]]},
            {"more": 1},
        ]
    )
    put(d, json.dumps(content | change).encode())


def no_json(d: Draft) -> None:
    content = signed(d)
    put(
        d,
        d.random.choice(
            [
                b"",
                b"[]",
                b"null",
                content[:-3],
                b"[" * 50_000,
                content + b" " * 2**21,
                b"\xff",
                content * 2,
            ]
        ),
    )


def given_twice(d: Draft) -> None:
    content = signed(d).decode()
    put(d, content.replace("{", '{"signature": "AAAA",', 1).encode())


def linked(d: Draft) -> None:
    content = signed(d)
    target = d.outside / "signature-elsewhere"
    d.afterwards.append(lambda f: target.write_bytes(content))
    d.afterwards.append(lambda f: (f / NAME).symlink_to(target))


ATTACKS = (
    unsigned,
    signed_by_another,
    of_another_bundle,
    altered_under_it,
    file_altered,
    reformatted,
    confused,
    no_json,
    given_twice,
    linked,
)
