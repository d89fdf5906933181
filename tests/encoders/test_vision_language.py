"""Networks of pictures and texts, small, with random weights, saved to disk and read through the real classes."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from brainbench.core.errors import UserError
from brainbench.data.base import Stimuli
from brainbench.encoders.check import check_encoder
from brainbench.encoders.vision_language.regions import DETECTOR, DetectorRegions, GridRegions, RegionFile, last_map
from tests.encoders.tiny import SENTENCES, features, images, make, photographs, write_bert
from tests.encoders.vision_language import KINDS, layers_and_states, write_regions, write_vision_language

WIDTH = 6
BOTH = replace(images(5), captions=[(text, "a second caption") for text in SENTENCES])


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = {}

    def folder(kind):
        if kind not in made:
            made[kind] = write_vision_language(kind, tmp_path_factory.mktemp(kind), regions=WIDTH)
        return made[kind]

    return folder


@pytest.fixture(scope="module")
def regions(tmp_path_factory):
    return write_regions(tmp_path_factory.mktemp("regions") / "regions.npz", BOTH.ids, WIDTH)


@pytest.fixture(scope="module")
def opened(folders, regions):
    """Opens an encoder of a kind once for its settings."""
    made = {}

    def open_once(kind, **settings):
        key = kind, *sorted(settings.items())
        if key not in made:
            made[key] = fresh(folders(kind), regions, **settings)
        return made[key]

    return open_once


@pytest.fixture(scope="module")
def resnet():
    return GridRegions("random", "x", "cpu", 0)


def fresh(folder, regions, **settings):
    return make("vision_language", model=str(folder), regions=str(regions), **settings)


@pytest.mark.parametrize("kind", KINDS)
def test_layers_are_the_librarys_hidden_states_of_words_and_of_patches(kind, opened, regions):
    for tokens in ("text", "visual"):
        encoder = opened(kind, tokens=tokens)
        found, theirs = layers_and_states(kind, encoder, BOTH, regions)
        assert len(found) == len(theirs) >= 3
        for mine, state in zip(found, theirs, strict=True):
            assert np.abs(mine - state).max() <= 1e-5 * np.abs(state).max()
        assert np.abs(np.diff(found[-1], axis=0)).max() > 1e-4


@pytest.mark.parametrize("kind", ("visual_bert", "lxmert", "vilt", "clip", "blip-matching", "llava"))
def test_all_tokens_are_words_and_patches_and_parts_depend_on_their_part_alone(kind, opened):
    other_picture = replace(BOTH, load=lambda i: 255 - images(5).load(i), ids=list(reversed(BOTH.ids)))
    other_text = replace(BOTH, captions=[(text,) for text in reversed(SENTENCES)])

    def last(given, stimuli):
        encoder = opened(kind, given=given)
        layer = [one.name for one in encoder.layers() if "projection" not in one.name][-1]
        return features(encoder, stimuli, [layer])[layer]

    for given, changes, stays in (("image", other_picture, other_text), ("text", other_text, other_picture)):
        before = last(given, BOTH)
        assert np.array_equal(before, last(given, stays))
        assert np.abs(before - last(given, changes)).max() > 1e-4
    both = last("both", BOTH)
    assert np.abs(both - last("both", other_text)).max() > 1e-4
    assert np.abs(both - last("both", other_picture)).max() > 1e-4


@pytest.mark.parametrize("given", ("text", "both"))
def test_a_language_model_s_first_token_that_is_a_sink_is_in_no_mean(given, folders, regions, tmp_path, monkeypatch):
    """Qwen's tokenizer puts nothing before a text: its first word stood where attention goes that looks at nothing."""
    folder = shutil.copytree(folders("qwen2_5_vl"), tmp_path / "qwen")
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer | {"post_processor": None}))
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings |= {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "[SEP]"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    before = fresh(folder, regions, given=given, tokens="text")
    monkeypatch.setattr("brainbench.encoders.language.begin.SINK", 0.0)
    encoder = fresh(folder, regions, given=given, tokens="text")
    assert "'[SEP]' is put before every text" in encoder.note and "put before" not in before.note
    assert encoder.digest() != before.digest()
    begin, (mine, plain) = encoder.kind.tokenizer.eos_token_id, (one.inputs(BOTH, [1]) for one in (encoder, before))
    ids = mine.kwargs["input_ids"]
    assert ids[0].tolist() == [begin, *plain.kwargs["input_ids"][0].tolist()]
    assert mine.text["joint"][0].tolist() == [False, *plain.text["joint"][0].tolist()] and plain.text["joint"].any()
    with torch.inference_mode():
        states = encoder.kind.hidden(mine)["joint"]
    layer = encoder.layers()[1].name
    found = features(encoder, BOTH, [layer])[layer][1]
    np.testing.assert_allclose(found, states[1][0, mine.text["joint"][0]].mean(0).numpy(), atol=1e-5)


def test_two_streams_are_read_side_by_side_at_one_depth(opened):
    clip = {tokens: features(opened("clip", tokens=tokens), BOTH) for tokens in ("text", "visual")}
    joint = features(opened("clip"), BOTH)
    text, visual = (list(clip[tokens].values()) for tokens in ("text", "visual"))
    assert list(joint) == [f"joint.{i}" for i in range(5)]  # three blocks of words, two of patches, the projections
    for layer, (t, v) in zip(joint.values(), [(0, 0), (1, 1), (2, 1), (3, 2), (4, 3)], strict=True):
        np.testing.assert_allclose(layer, np.concatenate([text[t], visual[v]], axis=1), atol=1e-6)
    lxmert = features(opened("lxmert"), BOTH)
    words = features(opened("lxmert", tokens="text"), BOTH, ["encoder.x_layers.1"])
    assert [value.shape[1] for value in lxmert.values()] == [32, 32, 32]  # what goes into the cross layers, and those
    np.testing.assert_allclose(lxmert["joint.2"][:, :16], words["encoder.x_layers.1"], atol=1e-6)


def test_projections_are_clips_own(opened):
    found = features(opened("clip"), BOTH)["joint.4"]
    encoder = opened("clip")
    given = encoder.inputs(BOTH, range(5))
    with torch.inference_mode():
        whole = encoder.network(**given.kwargs)
    for mine, theirs in ((found[:, :8], whole.text_embeds), (found[:, 8:], whole.image_embeds)):
        np.testing.assert_allclose(mine / np.linalg.norm(mine, axis=1, keepdims=True), theirs.numpy(), atol=1e-6)


@pytest.mark.parametrize("kind", ("lxmert", "vilt"))
def test_the_contract(kind, folders, regions):
    check_encoder(lambda: fresh(folders(kind), regions, batch_size=2), BOTH)


def test_pictures_of_other_sizes_do_not_change_each_other(opened):
    sizes = [photographs(1, height=48, width=width)[0] for width in (40, 80, 120, 40, 60)]
    mixed = replace(BOTH, load=sizes.__getitem__)
    together = features(opened("vilt", tokens="visual"), mixed)
    alone = features(opened("vilt", tokens="visual", batch_size=1), mixed)
    for layer, value in together.items():
        np.testing.assert_allclose(value, alone[layer], atol=1e-5)


def test_a_control_by_shuffling_gets_another_ones_caption_and_regions(opened):
    plain = features(opened("visual_bert"), BOTH)["encoder.layer.2"]
    dealt = features(opened("visual_bert", shuffle=True), BOTH)["encoder.layer.2"]
    distance = np.abs(plain[:, None] - dealt[None]).max(2)
    assert distance.diagonal().min() > 1e-4 and sorted(distance.argmin(0)) == list(range(5))
    assert distance.min(0).max() < 1e-5


def test_captions_are_texts_for_encoders_of_texts():
    encoder = make("text", model="minilm", weights="random")
    np.testing.assert_array_equal(
        encoder.features(BOTH, ["encoder.layer.1"])["encoder.layer.1"],
        encoder.features(SENTENCES, ["encoder.layer.1"])["encoder.layer.1"],
    )
    lacking = replace(BOTH, captions=[*BOTH.captions[:3], (), ("  ",)])
    with pytest.raises(UserError, match="stimulus 's3' has no caption"):
        encoder.features(lacking)


def test_what_cannot_be_read_is_refused(folders, opened, regions, tmp_path):
    with pytest.raises(UserError, match="stimulus 's4' has no caption"):
        features(opened("vilt"), replace(BOTH, captions=[*BOTH.captions[:4], ()]))
    with pytest.raises(UserError, match="stimulus 's0' has no caption"):
        features(opened("vilt"), images(5))
    with pytest.raises(UserError, match="no regions of 's9'"):
        features(opened("lxmert"), replace(BOTH, ids=["s0", "s1", "s2", "s3", "s9"]))
    with pytest.raises(UserError, match=r"no such file(.|\n)*grid, detector"):
        fresh(folders("lxmert"), tmp_path / "none.npz")
    with pytest.raises(UserError, match="its regions have 6 numbers, those of `regions: grid` 2048"):
        make("vision_language", model=str(folders("lxmert")))
    with pytest.raises(UserError, match="tokens: text: with `given: image` there are none"):
        opened("vilt", given="image", tokens="text")
    with pytest.raises(UserError, match="reads image stimuli"):
        opened("vilt").features(Stimuli.of(SENTENCES))
    with pytest.raises(UserError, match="'bert' is no network of pictures and texts"):
        fresh(write_bert(tmp_path), regions)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"boxes": None}, "no array 'boxes'"),
        ({"features": np.zeros((5, 4, 7), np.float32)}, r"'features' is \(5, 4, 7\)"),
        ({"boxes": np.full((5, 4, 4), 30.0)}, "shares of the picture"),
        ({"ids": np.array(["s0"] * 5)}, "names 4 pictures twice"),
        ({"n_regions": np.array([4, 3, 4, 0, 4])}, r"'n_regions' must lie in 1 ... 4"),
    ],
)
def test_files_of_regions_are_checked(change, message, regions, tmp_path):
    arrays = {**np.load(regions), **change}
    np.savez(tmp_path / "r.npz", **{name: value for name, value in arrays.items() if value is not None})
    with pytest.raises(UserError, match=message):
        RegionFile(tmp_path / "r.npz", "encoder 'x'", WIDTH)


def test_regions_in_pixels_and_compressed_are_the_same(regions, tmp_path):
    arrays = dict(np.load(regions))
    size = np.array([[40.0, 48.0]] * 5)
    arrays |= {"image_size": size, "boxes": arrays["boxes"] * np.tile(size, 2)[:, None]}
    np.savez_compressed(tmp_path / "pixels.npz", **arrays)
    plain, pixels = (RegionFile(path, "x", WIDTH) for path in (regions, tmp_path / "pixels.npz"))
    assert isinstance(plain._features, np.memmap) and not isinstance(pixels._features, np.memmap)
    for one, other in zip(plain.of(BOTH, [3, 0]), pixels.of(BOTH, [3, 0]), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_cells_of_the_grid_are_resnets_last_map(resnet):
    provider = resnet
    cells, boxes, there = provider.of(BOTH, [0, 2])
    assert cells.shape == (2, 49, 2048) and there.all() and provider.untrained
    np.testing.assert_allclose(boxes[0, 8], [1 / 7, 1 / 7, 2 / 7, 2 / 7], atol=1e-6)
    from torchvision.transforms import functional as F

    picture = torch.from_numpy(BOTH.load(2)).permute(2, 0, 1)
    pixels = F.normalize(
        F.resize(picture, [224, 224], antialias=True).float() / 255, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    )
    seen = []
    handle = provider._resnet.layer4.register_forward_hook(lambda _m, _a, out: seen.append(out))
    with torch.inference_mode():
        provider._resnet(pixels[None])
    handle.remove()
    theirs = seen[0][0, :, 1, 1].numpy()
    assert np.corrcoef(cells[1, 8], theirs)[0, 1] > 0.999


def test_boxes_of_a_detector_hold_the_map_inside_of_them(resnet, monkeypatch):
    boxes = torch.tensor([[0.0, 0.0, 40.0, 48.0], [0.0, 0.0, 20.0, 24.0], [5.0, 5.0, 5.0, 9.0]])
    found = iter([boxes, torch.zeros(0, 4)])

    class Detector(torch.nn.Module):
        def forward(self, _pixels):
            return [{"boxes": next(found)}]

    made = {"resnet50": resnet._resnet, DETECTOR: Detector()}
    monkeypatch.setattr("brainbench.encoders.vision_language.regions._body", lambda model, *_: made[model])
    provider = DetectorRegions("random", "x", "cpu", 0)
    inside, boxes, there = provider.of(BOTH, [0, 1])
    assert inside.shape == (2, 36, 2048) and there.sum(1).tolist() == [2, 1]  # a box without area is none
    np.testing.assert_allclose(boxes[1, 0], [0, 0, 1, 1])  # nothing found: the picture itself
    whole = last_map(provider._resnet, [BOTH.load(0)], 448, "cpu")[0].mean((1, 2))
    assert np.corrcoef(inside[0, 0], whole)[0, 1] > 0.95 and not inside[0, 2:].any()
    assert (inside[0, 0] - inside[0, 1]).abs().max() > 1e-4
