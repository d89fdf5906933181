"""Clips as stimuli: animated pictures, folders of frames, arrays of frames, and films where PyAV is installed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from brainbench.core.digests import digest, digest_array, digest_file
from brainbench.core.errors import UserError
from brainbench.core.files import mapped
from brainbench.core.order import natural
from brainbench.data.vision.picture import PICTURES, image_of, on_gray

ANIMATED = (".gif", ".webp", ".png", ".apng")
FILMS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg")
RATE_TOLERANCE = 0.02
"""Share by which a table's rate may differ from a file's own: 29.97 is called 30."""


@dataclass(frozen=True)
class Clip:
    """A moving picture.

    Attributes
    ----------
    name : str
        For messages.
    times : ndarray (n_frames,)
        Seconds at which every frame begins, the first at 0.
    duration : float
        Seconds, until the end of the last frame.
    digest : str
        Of its content.
    read : callable
        From indices of frames, rising, to uint8 ``(n, height, width, 3)``.
    """

    name: str
    times: np.ndarray
    duration: float
    digest: str
    read: Callable[[Sequence[int]], np.ndarray]

    @classmethod
    def of(cls, frames: np.ndarray, fps: float, name: str = "clip") -> Clip:
        """Return a clip that is held in memory, or in a memory map: uint8 ``(n_frames, height, width, 3)``."""
        _check_frames(frames, name)
        times = np.arange(len(frames)) / fps
        return cls(
            name, times, len(frames) / fps, digest([digest_array(frames), fps]), lambda k: np.array(frames[list(k)])
        )

    @property
    def fps(self) -> float:
        """Frames per second, on average."""
        return len(self.times) / self.duration

    def at(self, seconds: np.ndarray) -> np.ndarray:
        """Return the frames that are seen at some moments, rising, ``(n, height, width, 3)`` uint8."""
        index = np.searchsorted(self.times, np.asarray(seconds) + 1e-9, side="right") - 1
        index = np.clip(index, 0, len(self.times) - 1)
        distinct, place = np.unique(index, return_inverse=True)
        return self.read(distinct.tolist())[place]

    def sampled(self, n: int) -> np.ndarray:
        """Return `n` frames at the middles of as many equal parts of the clip."""
        return self.at((np.arange(n) + 0.5) * self.duration / n)


def _check_frames(frames: np.ndarray, name: str) -> None:
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or 0 in frames.shape:
        raise UserError(
            f"clip '{name}': {frames.dtype} of shape {frames.shape}; uint8 of shape (frames, height, width, 3), with "
            "frames, was expected"
        )


def open_clip(path: Path, fps: float | None = None) -> Clip:
    """Return a clip of a file, or of a folder of frames in the order of their names.

    Parameters
    ----------
    path : Path
    fps : float, optional
        Frames per second: needed where the file does not say (folders, .npy), and held against it where it does.

    Raises
    ------
    UserError
        If it holds no frame, cannot be read, or has another rate.
    """
    if path.is_dir():
        clip = _of_folder(path, fps)
    elif path.suffix.lower() == ".npy":
        clip = _of_array(path, fps)
    elif path.suffix.lower() in FILMS:
        clip = _of_film(path)
    elif path.suffix.lower() in ANIMATED:
        clip = _of_animation(path)
    else:
        raise UserError(f"{path}: no clip; {', '.join((*FILMS, *ANIMATED, '.npy'))} or a folder of frames are read")
    if fps is not None and abs(clip.fps / fps - 1) > RATE_TOLERANCE:
        raise UserError(f"{path}: the table says {fps:g} frames per second, the file has {clip.fps:.4g}")
    return clip


def _needed(path: Path, fps: float | None) -> float:
    if fps is None:
        raise UserError(f"{path}: it does not say its frames per second; give the table a column 'fps'")
    return fps


def _of_folder(path: Path, fps: float | None) -> Clip:
    files = [file for file in path.iterdir() if file.suffix.lower() in PICTURES]
    # Frames are numbered by programs that do not pad: frame_2 before frame_10.
    files.sort(key=lambda file: natural(file.name))
    if not files:
        raise UserError(f"{path}: a clip without frames ({', '.join(PICTURES)})")
    rate = _needed(path, fps)

    def read(index: Sequence[int]) -> np.ndarray:
        frames = [image_of(files[k]) for k in index]
        if len({frame.shape for frame in frames}) > 1:
            raise UserError(f"{path}: its frames differ in size")
        return np.stack(frames)

    content = digest([[digest_file(file) for file in files], rate])
    return Clip(path.name, np.arange(len(files)) / rate, len(files) / rate, content, read)


def _of_array(path: Path, fps: float | None) -> Clip:
    try:
        frames = mapped(path)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path}: not a readable array ({error})") from None
    _check_frames(frames, path.name)
    rate = _needed(path, fps)
    content = digest([digest_file(path), rate])
    times = np.arange(len(frames)) / rate
    return Clip(path.name, times, len(frames) / rate, content, lambda k: np.array(frames[list(k)]))


def _of_animation(path: Path) -> Clip:
    """Return an animated picture, whose frames say how long each is shown."""
    from PIL import Image, ImageSequence

    try:
        with Image.open(path) as image:
            lengths, transparent = [], False
            for frame in ImageSequence.Iterator(image):
                frame.load()  # WebP says how long a frame is shown when it is decoded
                lengths.append(frame.info.get("duration", 0) / 1000)
                transparent = transparent or frame.has_transparency_data
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{path}: not a readable image ({error})") from None
    if len(lengths) < 2 or min(lengths) <= 0:
        raise UserError(f"{path}: {len(lengths)} frames that are shown for {min(lengths):g} s or more: no clip")
    ends = np.cumsum(lengths)

    def read(index: Sequence[int]) -> np.ndarray:
        wanted, frames = set(index), []
        with Image.open(path) as image:
            for k, frame in enumerate(ImageSequence.Iterator(image)):
                if k in wanted:
                    frames.append(np.array(on_gray(frame)))
        return np.stack(frames)

    # Transparent parts were black before 2026-11-28.
    content = digest([digest_file(path), "on gray"]) if transparent else digest_file(path)
    return Clip(path.name, np.concatenate([[0.0], ends[:-1]]), float(ends[-1]), content, read)


def _of_film(path: Path) -> Clip:
    """Return a film; PyAV decodes it."""
    try:
        import av
    except ImportError:
        raise UserError(
            f"{path}: films are decoded by PyAV, which is not installed",
            hint="pip install 'brainbench[video]'; or a folder of frames with a column 'fps'",
        ) from None
    try:
        with av.open(str(path)) as film:
            if not film.streams.video:
                raise UserError(f"{path}: a clip without frames")
            stream = film.streams.video[0]
            # What a film that was cut without decoding keeps from before the cut is not shown.
            shown = (packet for packet in film.demux(stream) if not packet.is_discard)
            stamps = sorted(float(packet.pts * packet.time_base) for packet in shown if packet.pts is not None)
            # Pixels of old cameras and of discs are not square, and players stretch them.
            width = round(stream.width * (stream.sample_aspect_ratio or 1))
    except (av.FFmpegError, OSError) as error:
        raise UserError(f"{path}: not a readable film ({error})") from None
    if not stamps:
        raise UserError(f"{path}: a clip without frames")
    times = np.array(stamps) - stamps[0]
    step = float(np.median(np.diff(times))) if len(times) > 1 else 1 / 25

    def read(index: Sequence[int]) -> np.ndarray:
        wanted, frames, n = set(index), [], 0
        with av.open(str(path)) as film:
            for n, frame in enumerate(film.decode(video=0), start=1):
                if n - 1 in wanted:
                    pixels = frame.to_ndarray(format="rgb24", width=width)
                    frames.append(np.rot90(pixels, frame.rotation // 90))
        if n != len(times):  # then nobody knows when which of them is shown
            raise UserError(
                f"{path}: {n} frames could be decoded, and it has {len(times)}",
                hint="ffmpeg -i FILM -c:v libx264 -qp 10 WHOLE.mp4 makes a film of what can be decoded",
            )
        return np.stack(frames)

    content = digest([digest_file(path), "as players show it"])  # features of before 2026-11-28 were of other frames
    return Clip(path.name, times, float(times[-1] + step), content, read)
