"""Videos frame by frame: never more than one of them in memory."""

import os
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from bridle.training.converters.source import require
from bridle.training.demonstrations.files import one_line
from bridle.training.demonstrations.schema import Array, DemonstrationError

_SEEK_AHEAD = 2.0
"""Seconds; further ahead a seek is faster than decoding what lies between."""
GROUP_OF_PICTURES = 2
"""Frames between key frames, as LeRobot writes them: training reads them at random."""
CODECS: Mapping[str, tuple[str, dict[str, str]]] = {
    "h264": ("libx264", {"crf": "18", "preset": "veryfast", "bf": "0", "threads": "2"}),
    "av1": ("libsvtav1", {"crf": "30", "preset": "8", "svtav1-params": "pred-struct=1:lp=2"}),
}
"""Codec -> encoder of FFmpeg and its settings. Frames are stored in the order they are shown."""


class VideoReader:
    """Frames of one file by time. Rising times are decoded once, in one go."""

    def __init__(self, path: Path, name: str) -> None:
        """`name` is what errors call it.

        Raises:
            DemonstrationError: there is no readable video.
        """
        self._av, self._name = require("av"), name
        try:
            # Only this container, and no reference to anything else it may hold.
            self._container = self._av.open(
                str(path), format="mp4", options={"protocol_whitelist": "file"}
            )
            self._stream = self._container.streams.video[0]
        except (self._av.FFmpegError, IndexError, OSError, ValueError) as error:
            raise DemonstrationError(
                f"{name} is not a readable video: {one_line(error)}"
            ) from error
        self._stream.thread_type = "AUTO"
        self._frames: Iterator[Any] = iter(())
        self._frame: Any = None
        self._time = float("inf")

    def frame(self, time: float, tolerance: float) -> Array:
        """The frame (H, W, 3) uint8 nearest to a time [s], within a tolerance [s].

        Raises:
            DemonstrationError: there is none, or it cannot be decoded.
        """
        try:
            if not self._time - tolerance <= time <= self._time + _SEEK_AHEAD:
                self._seek(time)
            while self._time < time - tolerance:
                self._next(time)
            if abs(self._time - time) > tolerance:
                raise DemonstrationError(
                    f"{self._name} has no frame at {time:.3f} s; the next is at {self._time:.3f} s"
                )
            rows: Array = self._frame.to_ndarray(format="rgb24")
        except (self._av.FFmpegError, OSError, ValueError) as error:
            if isinstance(error, DemonstrationError):
                raise
            raise DemonstrationError(
                f"{self._name} cannot be decoded at {time:.3f} s: {one_line(error)}"
            ) from error
        return rows

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def _seek(self, time: float) -> None:
        begin = self._stream.start_time or 0
        offset = max(begin, int(time / self._stream.time_base))
        self._container.seek(offset, stream=self._stream, backward=True, any_frame=False)
        self._frames = self._container.decode(self._stream)
        self._time = float("-inf")

    def _next(self, time: float) -> None:
        frame = next(self._frames, None)
        if frame is None:
            last = f"ends at {self._time:.3f} s" if np.isfinite(self._time) else "ends before that"
            raise DemonstrationError(
                f"{self._name} is shorter than the tables say: it {last}, "
                f"and a frame is needed at {time:.3f} s"
            )
        if frame.pts is None:
            raise DemonstrationError(f"{self._name}: a frame has no time")
        self._frame, self._time = frame, float(frame.pts * self._stream.time_base)


class VideoWriter:
    """Encodes frames at a fixed rate; the first one is at 0 s."""

    def __init__(self, path: Path, rate: float, shape: tuple[int, ...], codec: str) -> None:
        """`shape` is that of a frame (H, W, 3), with even H and W."""
        height, width = shape[:2]
        av = require("av")
        encoder, options = CODECS[codec]
        self._av, self._count = av, 0
        # SVT-AV1 tells its settings on stderr otherwise; 1 is errors only.
        os.environ.setdefault("SVT_LOG", "1")
        self._container = av.open(str(path), "w", format="mp4")
        self._rate = Fraction(rate).limit_denominator(1001)
        self._stream = self._container.add_stream(encoder, self._rate, options=dict(options))
        self._stream.pix_fmt = "yuv420p"
        self._stream.height, self._stream.width = height, width
        self._stream.gop_size = GROUP_OF_PICTURES

    def write(self, frames: Array) -> None:
        """Add frames (t, H, W, 3) uint8."""
        for frame in frames:
            picture = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            picture.pts, picture.time_base = self._count, 1 / self._rate
            self._container.mux(self._stream.encode(picture))
            self._count += 1

    def close(self) -> None:
        """Finish the file."""
        self._container.mux(self._stream.encode(None))
        self._container.close()


class VideoJoiner:
    """Puts videos of one codec, size and rate one after the other without encoding again."""

    def __init__(self, path: Path, rate: float) -> None:
        self._av = require("av")
        self._container = self._av.open(str(path), "w", format="mp4")
        self._step = 1 / Fraction(rate).limit_denominator(1001)
        self._stream: Any = None
        self._count = 0

    def add(self, path: Path, frames: int) -> None:
        """Append a video of so many frames that begins at 0 s."""
        with self._av.open(str(path), format="mp4") as part:
            source = part.streams.video[0]
            if self._stream is None:
                self._stream = self._container.add_stream_from_template(source, opaque=True)
            shift = round(self._count * self._step / source.time_base)
            for packet in part.demux(source):
                if packet.dts is None:
                    continue
                packet.pts += shift
                packet.dts += shift
                packet.stream = self._stream
                self._container.mux(packet)
        self._count += frames

    def close(self) -> None:
        """Finish the file."""
        self._container.close()


def video_info(path: Path) -> dict[str, Any]:
    """What LeRobot's info.json says about a video."""
    with require("av").open(str(path), format="mp4") as container:
        stream = container.streams.video[0]
        return {
            "video.height": stream.height,
            "video.width": stream.width,
            "video.codec": stream.codec_context.codec.canonical_name,
            "video.pix_fmt": stream.pix_fmt,
            "video.is_depth_map": False,
            "video.fps": _plain(stream.base_rate),
            "video.channels": 3,
            "has_audio": False,
        }


def _plain(rate: Fraction) -> float | int:
    return int(rate) if rate.denominator == 1 else float(rate)


def psnr(one: Array, other: Array) -> float:
    """Peak signal to noise ratio of two images of bytes [dB]; 100 for equal ones."""
    error = float(np.mean((one.astype(np.float64) - other.astype(np.float64)) ** 2))
    return 100.0 if error == 0 else float(10 * np.log10(255**2 / error))
