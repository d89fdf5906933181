"""Clips of every kind of file, and what is wrong with some."""

from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from brainbench.core.errors import UserError
from brainbench.data.base import Context
from brainbench.data.check import check_dataset
from brainbench.data.layouts.shown import folder_images
from brainbench.data.stimulus_files import given_stimuli, read_stimuli
from brainbench.data.vision.clip import Clip, open_clip
from brainbench.recipes.datasets import DATASETS, dataset_settings

FRAMES = np.stack([np.full((6, 8, 3), 20 * k, np.uint8) for k in range(1, 7)])


def shades(frames):
    return [round(float(frame.mean()) / 20) for frame in frames]


def write_folder(path):
    path.mkdir(parents=True)
    for k, frame in enumerate(FRAMES):
        Image.fromarray(frame).save(path / f"frame_{k + 8}.png")  # as programs number them: frame_9, frame_10
    return path


def write_gif(path, durations):
    pictures = [Image.fromarray(frame) for frame in FRAMES]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=durations, loop=0)
    return path


def test_frames_of_every_kind_of_file(tmp_path):
    np.save(tmp_path / "a.npy", FRAMES)
    write_gif(tmp_path / "a.gif", 100)
    opened = [
        Clip.of(FRAMES, 10.0), open_clip(tmp_path / "a.npy", 10), open_clip(tmp_path / "a.gif"),
        open_clip(write_folder(tmp_path / "frames"), 10),
    ]  # fmt: skip
    for clip in opened:
        assert clip.duration == pytest.approx(0.6) and clip.fps == pytest.approx(10)
        assert shades(clip.sampled(3)) == [2, 4, 6] and shades(clip.sampled(6)) == [1, 2, 3, 4, 5, 6]
        assert shades(clip.at(np.array([0.0, 0.05, 0.59, 9.0]))) == [1, 1, 6, 6]
        assert shades(clip.sampled(12))[:4] == [1, 1, 2, 2]
    assert len({clip.digest for clip in opened}) == 4


def test_frames_of_a_gif_are_shown_as_long_as_it_says(tmp_path):
    clip = open_clip(write_gif(tmp_path / "a.gif", [100, 100, 500, 100, 100, 100]))
    assert clip.duration == pytest.approx(1.0) and shades(clip.sampled(10)) == [1, 2, 3, 3, 3, 3, 3, 4, 5, 6]


def write_film(path, codec="mpeg4", n=12, ratio=None, **settings):
    """A film of 12 frames a second: of all gray, each lighter than the last."""
    with av.open(str(path), "w") as film:
        stream = film.add_stream(codec, rate=12)
        stream.width, stream.height, stream.pix_fmt = 32, 24, "yuv420p"
        for name, value in settings.items():
            setattr(stream.codec_context, name, value)
        if ratio is not None:
            stream.codec_context.sample_aspect_ratio = ratio
        for k in range(1, n + 1):
            frame = av.VideoFrame.from_ndarray(np.full((24, 32, 3), 20 * k, np.uint8), format="rgb24")
            film.mux(stream.encode(frame))
        film.mux(stream.encode())
    return path


def write_again(path, film, turned=0, after=0, late=0.0):
    """The packets of a film in another file, without decoding: turned by degrees, some left out, `late` s cut off."""
    with av.open(str(film)) as before, av.open(str(path), "w") as behind:
        stream = behind.add_stream_from_template(before.streams.video[0])
        if turned:
            stream.set_display_rotation(turned)
        for packet in [one for one in before.demux(video=0) if one.pts is not None][after:]:
            packet.pts, packet.dts = (t - round(late / packet.time_base) for t in (packet.pts, packet.dts))
            packet.stream = stream
            behind.mux(packet)
    return path


@pytest.mark.parametrize("ending", ["gif", "webp", "png"])
def test_animated_pictures_have_their_times_and_lie_on_gray(ending, tmp_path):
    """Transparent parts are what they are in still pictures; they were black."""
    pictures = []
    for k in range(3):
        pixels = np.zeros((8, 8, 4), np.uint8)
        pixels[2:6, 2:6] = [200, 50, 60 * k, 255]
        pictures.append(Image.fromarray(pixels))
    options = {"lossless": True} if ending == "webp" else {"disposal": 2 if ending == "gif" else 1}
    path = tmp_path / f"a.{ending}"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=[100, 300, 50], **options)
    clip = open_clip(path)
    np.testing.assert_allclose(clip.times, [0, 0.1, 0.4])
    assert clip.duration == pytest.approx(0.45)
    frames = clip.read([0, 1, 2])
    if ending != "webp":  # Pillow writes animated WebP without transparency
        assert frames[:, 0, 0].tolist() == [[128, 128, 128]] * 3
    assert frames[:, 3, 3].tolist() == [[200, 50, 60 * k] for k in range(3)]


def test_films_are_decoded_by_pyav(tmp_path):
    path = write_film(tmp_path / "a.mp4")
    clip = open_clip(path, 12)
    assert len(clip.times) == 12 and clip.duration == pytest.approx(1.0)
    assert shades(clip.sampled(4)) == [2, 5, 8, 11]
    with pytest.raises(UserError, match="the table says 25 frames per second, the file has 12"):
        open_clip(path, 25)
    (tmp_path / "b.mp4").write_bytes(path.read_bytes()[:200])
    with pytest.raises(UserError, match="not a readable film"):
        open_clip(tmp_path / "b.mp4")


def test_a_film_that_was_cut_without_decoding_begins_at_the_cut(tmp_path):
    clip = open_clip(write_again(tmp_path / "cut.mp4", write_film(tmp_path / "a.mp4"), late=0.5))
    assert len(clip.times) == 6 and clip.duration == pytest.approx(0.5)
    assert shades(clip.sampled(3)) == [8, 10, 12]


def test_films_are_seen_as_players_show_them(tmp_path):
    film = write_film(tmp_path / "a.mp4")
    turned = open_clip(write_again(tmp_path / "turned.mp4", film, turned=90))
    assert turned.sampled(2).shape == (2, 32, 24, 3) and shades(turned.sampled(2)) == [4, 10]
    wide = open_clip(write_film(tmp_path / "wide.mp4", ratio=Fraction(3, 2)))
    assert wide.sampled(2).shape == (2, 24, 48, 3)


def test_a_film_of_which_frames_cannot_be_decoded_is_refused(tmp_path):
    """Without the first picture the ones that build on it are dropped: all others would stand too early."""
    film = write_film(tmp_path / "a.mpg", "mpeg2video", n=12, gop_size=4, max_b_frames=2)
    clip = open_clip(write_again(tmp_path / "b.mpg", film, after=1))
    with pytest.raises(UserError, match=r"b.mpg: \d+ frames could be decoded, and it has 11"):
        clip.sampled(2)


def test_what_is_wrong_is_named(tmp_path):
    (tmp_path / "empty").mkdir()
    np.save(tmp_path / "none.npy", FRAMES[:0])
    np.save(tmp_path / "float.npy", FRAMES.astype(float))
    Image.fromarray(FRAMES[0]).save(tmp_path / "still.png")
    write_gif(tmp_path / "a.gif", 100)
    np.save(tmp_path / "a.npy", FRAMES)
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "bad.gif").write_bytes(b"GIF89a")
    for name, fps, message in (
        ("empty", 10, "a clip without frames"),
        ("none.npy", 10, r"uint8 of shape \(0, 6, 8, 3\)"),
        ("float.npy", 10, "float64 of shape"),
        ("still.png", None, "1 frames.*no clip"),
        ("a.gif", 25, "the table says 25 frames per second, the file has 10"),
        ("a.npy", None, "column 'fps'"),
        ("notes.txt", None, "no clip; .mp4"),
        ("bad.gif", None, "not a readable image"),
    ):
        with pytest.raises(UserError, match=message):
            open_clip(tmp_path / name, fps)
    odd = write_folder(tmp_path / "odd")
    Image.fromarray(FRAMES[0, :3]).save(odd / "002.png")
    with pytest.raises(UserError, match="its frames differ in size"):
        open_clip(odd, 10).sampled(6)


def test_a_table_of_clips_is_a_data_set(tmp_path):
    rng = np.random.default_rng(0)
    for k in range(6):
        np.save(tmp_path / f"clip{k}.npy", rng.integers(0, 256, (5, 8, 8, 3)).astype(np.uint8))
    lines = [f"c{k},clip{k}.npy,5,a thing {k}" for k in range(6)]
    (tmp_path / "stimuli.csv").write_text("\n".join(["id,path,fps,caption", *lines]) + "\n")
    (tmp_path / "s1").mkdir()
    np.save(tmp_path / "s1" / "responses.npy", rng.standard_normal((12, 4)).astype(np.float32))
    rows = [f"c{k % 6},r{k // 6}" for k in range(12)]
    (tmp_path / "s1" / "design.csv").write_text("\n".join(["stimulus,run", *rows]) + "\n")
    settings = dataset_settings({"name": "folder", "modality": "clip"})
    dataset = DATASETS.builder("folder").open(settings, tmp_path, Context())
    check_dataset(dataset)
    stimuli = dataset.stimuli("s1")
    assert isinstance(stimuli.load(3), Clip) and stimuli.seen_by(("text",)).load(3) == "a thing 3"
    (tmp_path / "stimuli.csv").write_text("id,path,fps\nc0,clip0.npy,5\nc1,clip9.npy,5\nc2,clip2.npy,0\n")
    with pytest.raises(UserError, match=r"csv:3  column 'path': clip9.npy: no such file(.|\n)*:4  column 'fps'"):
        read_stimuli(tmp_path / "stimuli.csv", "clip")


def test_pictures_of_more_than_8_bits_or_frames_are_refused_wherever_they_are_read(tmp_path):
    folder = write_folder(tmp_path / "frames")
    Image.fromarray(np.full((6, 8), 40_000, np.uint16)).save(folder / "frame_9.png")  # Pillow would make it white
    with pytest.raises(UserError, match=r"frame_9.png: not a readable image \(pixels of type I;16"):
        open_clip(folder, 10).sampled(6)
    with pytest.raises(UserError, match=r"frame_9.png.*8 bits a channel"):
        folder_images(str(folder), None, 0)
    alone = tmp_path / "animated"
    alone.mkdir()
    write_gif(alone / "a.gif", 100)
    with pytest.raises(UserError, match="6 frames; a stimulus is one image"):
        folder_images(str(alone), None, 0)
    with Image.open(folder / "frame_9.png") as deep, pytest.raises(UserError, match="8 bits a channel"):
        given_stimuli([deep, deep], ["image"], "network")
