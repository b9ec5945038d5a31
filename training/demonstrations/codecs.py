"""Decoding chunks that anyone may have written, without trusting a word of them.

Only codecs of numbers are known here; those that build objects or run code (pickle, json2, vlen-*)
are refused by their name. How much a chunk holds is fixed by the array's metadata, and is compared
with what the compressed bytes claim before a decoder allocates anything.
"""

import bz2
import lzma
import re
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numcodecs
import numpy as np

from bridle.training.demonstrations.schema import DemonstrationError

IMAGE_CODECS = "imagecodecs_"
"""Known once someone has registered them; diffusion_policy and UMI keep images with them."""
FILTERS = (
    *("shuffle", "delta", "fixedscaleoffset", "quantize", "packbits", "astype", "bitround"),
    *("crc32", "crc32c", "adler32", "fletcher32", "jenkins_lookup3"),
)
BLOSC_HEADER = 16
_MEMORY_OF_LZMA = 256 << 20
_BLOSC_NAMES = ("blosclz", "lz4", "lz4hc", "zlib", "zstd", "snappy")
_NUMBERS = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248]|float(16|32|64)|u?int(8|16|32|64)|bool)")


class Codec:
    """Compressor and filters of an array.

    Raises:
        DemonstrationError: one is unknown, or its settings are no settings.
    """

    def __init__(self, compressor: object, filters: object) -> None:
        self.name = _name(compressor) if compressor is not None else None
        if filters is not None and not isinstance(filters, list):
            raise DemonstrationError(f"filters must be a list or null, got {filters!r:.100}")
        for config in filters or []:
            if _name(config) not in FILTERS:
                raise DemonstrationError(f"the filter {_name(config)!r} is not read")
        if self.name is not None and not self._is_known(self.name):
            raise DemonstrationError(
                f"the codec {self.name!r} is not read; known are {', '.join(sorted(_DECODERS))}"
            )
        self._compressor = _build(compressor) if self.name in _LIBRARY or self._is_image else None
        self._filters = [_build(config) for config in filters or []]

    @property
    def has_filters(self) -> bool:
        """Whether anything is done besides compression."""
        return bool(self._filters)

    @property
    def _is_image(self) -> bool:
        return self.name is not None and self.name.startswith(IMAGE_CODECS)

    def _is_known(self, name: str) -> bool:
        return name in _DECODERS or (
            name.startswith(IMAGE_CODECS) and name in numcodecs.registry.codec_registry
        )

    def largest(self, n_bytes: int) -> int:
        """Bytes that a compressed chunk of `n_bytes` may take."""
        return self._bound(n_bytes) * 9 // 8 + 65536

    def _bound(self, n_bytes: int) -> int:
        # packbits is the filter that shrinks most; what enters it is eight times as large.
        return 8 * n_bytes + 4096 if self._filters else n_bytes

    def decode(self, content: bytes, n_bytes: int) -> bytes | memoryview:
        """The `n_bytes` of a chunk.

        Raises:
            DemonstrationError: it holds more, less, or nonsense.
        """
        if len(content) > self.largest(n_bytes):
            raise DemonstrationError(
                f"expected at most {self.largest(n_bytes)} bytes for {n_bytes}, got {len(content)}"
            )
        try:
            decoded: Any = content
            if self._is_image and self._compressor is not None:
                decoded = self._compressor.decode(content)
            elif self.name is not None:
                exact = None if self._filters else n_bytes
                decoded = _DECODERS[self.name](content, exact, self._bound(n_bytes))
            with np.errstate(all="ignore"):
                for filter_ in reversed(self._filters):
                    decoded = filter_.decode(decoded)
        except DemonstrationError:
            raise
        # A decoder may raise anything at all on damaged bytes.
        except Exception as error:
            what = " ".join(f"{type(error).__name__} {error}".split())[:200]
            raise DemonstrationError(f"cannot be decoded: {what}") from error
        flat = memoryview(numcodecs.compat.ensure_contiguous_ndarray(decoded)).cast("B")
        if len(flat) != n_bytes:
            raise DemonstrationError(f"expected {n_bytes} bytes, got {len(flat)}")
        return flat


def blosc_fault(header: bytes, size: int, n_bytes: int | None = None) -> str | None:
    """What is wrong with a Blosc chunk of `size` bytes, by its first 16; None if nothing.

    Bytes 4..7 are what it decodes to, 12..15 its own length; the decoder trusts both.
    """
    length = int.from_bytes(header[12:16], "little")
    if len(header) < BLOSC_HEADER or length != size:
        return f"truncated chunk: expected {max(length, BLOSC_HEADER)} bytes, got {size}"
    decoded = int.from_bytes(header[4:8], "little")
    if n_bytes is not None and decoded != n_bytes:
        return f"claims to decode to {decoded} bytes, expected {n_bytes}"
    return None


def _name(config: object) -> str:
    name = config.get("id") if isinstance(config, Mapping) else None
    if not isinstance(name, str):
        raise DemonstrationError(f"a codec must be an object with an id, got {config!r:.100}")
    return name


def _build(config: Any) -> Any:
    for setting in ("dtype", "astype", "encode_dtype", "decode_dtype"):
        value = config.get(setting)
        if value is not None and not (isinstance(value, str) and _NUMBERS.fullmatch(value)):
            raise DemonstrationError(
                f"codec {config['id']}: {setting} must be a type of numbers, got {value!r:.100}"
            )
    if config["id"] == "blosc":
        _check_blosc(config)
    try:
        return numcodecs.get_codec(dict(config))
    # The settings are handed to any constructor.
    except Exception as error:
        what = " ".join(str(error).split())[:200]
        raise DemonstrationError(f"codec {config['id']}: {what}") from error


def _check_blosc(config: Mapping[str, Any]) -> None:
    """Refuse settings that numcodecs takes, and trips over when it encodes."""
    name, level = config.get("cname", "lz4"), config.get("clevel", 5)
    rest = (config.get("shuffle", 1), config.get("blocksize", 0))
    if name not in _BLOSC_NAMES or type(level) is not int or not 0 <= level <= 9:
        raise DemonstrationError(f"codec blosc: cname {name!r:.50} and clevel {level!r:.50}")
    if not all(type(number) is int and -1 <= number < 1 << 31 for number in rest):
        raise DemonstrationError(f"codec blosc: shuffle and blocksize {rest!r:.100}")


# Decoders take the compressed bytes, the exact size or None, and the largest size to allow.


def _blosc(content: bytes, exact: int | None, bound: int) -> Any:
    fault = blosc_fault(content[:BLOSC_HEADER], len(content), exact)
    if fault is None and int.from_bytes(content[4:8], "little") > bound:
        fault = f"claims to decode to more than {bound} bytes"
    if fault:
        raise DemonstrationError(fault)
    return numcodecs.blosc.decompress(content)


def _lz4(content: bytes, exact: int | None, bound: int) -> Any:
    _check_claim(int.from_bytes(content[:4], "little"), exact, bound)
    return numcodecs.lz4.decompress(content)


def _zstd(content: bytes, exact: int | None, bound: int) -> Any:
    _check_claim(_zstd_size(content), exact, bound)
    return numcodecs.zstd.decompress(content)


def _zstd_size(content: bytes) -> int:
    """The size that a Zstandard frame declares (RFC 8878, section 3.1.1)."""
    if content[:4] != b"\x28\xb5\x2f\xfd" or len(content) < 5:
        raise DemonstrationError("is no Zstandard frame")
    descriptor = content[4]
    single = descriptor >> 5 & 1
    width = (single, 2, 4, 8)[descriptor >> 6]
    if not width:
        raise DemonstrationError("is a Zstandard frame without its size; rewrite the set")
    start = 5 + (1 - single) + (0, 1, 2, 4)[descriptor & 3]
    size = int.from_bytes(content[start : start + width], "little")
    return size + 256 if width == 2 else size


def _check_claim(size: int, exact: int | None, bound: int) -> None:
    if size > bound or (exact is not None and size != exact):
        raise DemonstrationError(f"claims to decode to {size} bytes, expected {exact or bound}")


def _inflate(window: int) -> Callable[[bytes, int | None, int], bytes]:
    def decode(content: bytes, _: int | None, bound: int) -> bytes:
        return zlib.decompressobj(window).decompress(content, bound + 1)

    return decode


def _bz2(content: bytes, _: int | None, bound: int) -> bytes:
    return bz2.BZ2Decompressor().decompress(content, bound + 1)


def _lzma(content: bytes, _: int | None, bound: int) -> bytes:
    return lzma.LZMADecompressor(memlimit=_MEMORY_OF_LZMA).decompress(content, bound + 1)


_LIBRARY = ("blosc", "lz4", "zstd")
"""Their settings are looked at by the library."""
_DECODERS: Mapping[str, Callable[[bytes, int | None, int], Any]] = {
    "blosc": _blosc,
    "lz4": _lz4,
    "zstd": _zstd,
    "zlib": _inflate(zlib.MAX_WBITS),
    "gzip": _inflate(zlib.MAX_WBITS | 16),
    "bz2": _bz2,
    "lzma": _lzma,
}
