"""Metrics of images against scikit-image, torchmetrics and what must be so."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage import data, transform
from skimage.color import rgb2gray
from skimage.filters import gaussian
from skimage.metrics import structural_similarity

from brainbench.core.errors import UserError
from brainbench.reconstruction.metrics import (
    METRICS,
    OFFLINE,
    ImageScorer,
    bootstrap_interval,
    pixcorr,
    score_images,
    ssim_2d,
    ssim_columns,
)
from brainbench.reconstruction.perceptual import EXTRACTORS, Extractor, Perceptual

SKIMAGE = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}


def stacks(n=4, size=40, channels=3, seed=0):
    rng = np.random.default_rng(seed)
    truth = np.stack([gaussian(rng.random((size, size, channels)), 2, channel_axis=2) for _ in range(n)])
    truth = (truth - truth.min()) / np.ptp(truth)
    noisy = np.clip(truth + 0.2 * rng.standard_normal(truth.shape), 0, 1)
    return truth.astype(np.float32), noisy.astype(np.float32)


def test_both_ssims_of_the_astronaut():
    image = transform.resize(rgb2gray(data.astronaut()), (425, 425), anti_aliasing=True)
    blurred = gaussian_filter(image, 6)
    pair = image[None].astype(np.float32), blurred[None].astype(np.float32)
    two, columns = ssim_2d(*pair)[0], ssim_columns(*pair)[0]
    assert two == pytest.approx(structural_similarity(image, blurred, **SKIMAGE), abs=1e-5)
    assert columns == pytest.approx(structural_similarity(image, blurred, channel_axis=1, **SKIMAGE), abs=1e-5)
    assert two == pytest.approx(0.5538, abs=1e-4) and columns == pytest.approx(0.6512, abs=1e-4)


def test_ssim_agrees_with_scikit_image_and_torchmetrics():
    import torch
    from torchmetrics.functional.image import structural_similarity_index_measure

    truth, noisy = stacks()
    for index in range(len(truth)):
        a, b = rgb2gray(truth[index]), rgb2gray(noisy[index])
        assert ssim_2d(truth, noisy)[index] == pytest.approx(structural_similarity(a, b, **SKIMAGE), abs=1e-5)
        one_by_one = np.mean([structural_similarity(a[:, j], b[:, j], **SKIMAGE) for j in range(a.shape[1])])
        assert ssim_columns(truth, noisy)[index] == pytest.approx(one_by_one, abs=1e-5)
    grey = [torch.from_numpy(rgb2gray(images)[:, None]) for images in (noisy, truth)]
    _, places = structural_similarity_index_measure(*grey, data_range=1.0, return_full_image=True)
    theirs = places[:, 0, 5:-5, 5:-5].mean((1, 2))  # torchmetrics counts the reflected border in, scikit-image does not
    np.testing.assert_allclose(ssim_2d(truth, noisy), theirs.numpy(), atol=1e-5)


def test_pixcorr_agrees_with_torchmetrics():
    import torch
    from torchmetrics.functional import pearson_corrcoef

    truth, noisy = stacks()
    for value, a, b in zip(pixcorr(truth, noisy), truth, noisy, strict=True):
        theirs = pearson_corrcoef(torch.from_numpy(a.ravel()).double(), torch.from_numpy(b.ravel()).double())
        assert value == pytest.approx(float(theirs), abs=1e-5)


def test_identity_is_perfect_and_constants_are_defined():
    truth, _ = stacks()
    for metric in (pixcorr, ssim_2d, ssim_columns):
        np.testing.assert_allclose(metric(truth, truth), 1, atol=1e-9)
    blank = np.full_like(truth, 0.5)
    assert pixcorr(truth, blank).tolist() == [0, 0, 0, 0] and pixcorr(blank, blank).tolist() == [0, 0, 0, 0]
    assert np.isfinite(ssim_2d(truth, blank)).all() and ssim_2d(blank, blank) == pytest.approx(1)


def test_sizes_and_channels_may_differ():
    truth, _ = stacks(size=48)
    small = truth[:, ::2, ::2].mean(axis=3)  # grey, half the size, no channel axis
    assert (pixcorr(truth, small) > 0.4).all() and (pixcorr(truth, small) < 1).all()
    assert ssim_2d(truth, small).shape == (4,)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((4, 40, 40, 3), np.uint8), "must be floats"),
        (np.full((4, 40, 40, 3), 2.0), "finite and in"),
        (np.zeros((4, 40, 40, 2)), "height, width, 1 or 3"),
        (np.zeros((3, 40, 40, 3)), "4 true images, 3 reconstructions"),
    ],
)
def test_wrong_images_are_refused(images, message):
    with pytest.raises(UserError, match=message):
        pixcorr(stacks()[0], images)


def test_images_below_the_window_have_no_ssim():
    truth, noisy = stacks(size=8)
    with pytest.raises(UserError, match="window spans 11"):
        ssim_2d(truth, noisy)
    scores = score_images(truth, noisy, ["ssim_2d", "pixcorr"])
    assert not scores["ssim_2d"].available and "smaller than its window" in scores["ssim_2d"].reason
    assert scores["pixcorr"].available and np.isnan(scores["ssim_2d"].mean)


def test_offline_scores_identify_and_shuffled_ones_do_not():
    truth = np.stack([transform.resize(image, (64, 64), anti_aliasing=True) for image in photographs()])
    truth = truth.astype(np.float32)
    scorer = ImageScorer(truth, OFFLINE, device="cpu")
    same = scorer.score(truth)
    assert all(score.mean == pytest.approx(1) for score in same.values())
    order = np.roll(np.arange(len(truth)), 5)
    wrong = scorer.score(truth[order])
    for name in ("two_way_pixels", "two_way_efficientnet_lite0"):
        assert abs(wrong[name].mean - 0.5) < 0.2 and METRICS[name].chance == 0.5
    low, high = same["pixcorr"].interval()
    assert low == pytest.approx(1) and high == pytest.approx(1)
    assert same["two_way_pixels"].R.shape == (len(truth), len(truth))


def photographs():
    wide = [data.astronaut(), data.coffee(), data.chelsea(), data.rocket()]
    return [image[at : at + 180, at : at + 180] for image in wide for at in (0, 60, 110)]


def test_weights_that_are_not_at_hand_make_a_metric_unavailable(tmp_path):
    truth, noisy = stacks(size=32)
    scores = score_images(truth, noisy, list(EXTRACTORS), weights=tmp_path, device="cpu")
    for name, score in scores.items():
        assert not score.available and score.values is None and "not at hand" in score.reason, name
        assert EXTRACTORS[name].url in score.reason and np.isnan(score.mean)


@pytest.mark.parametrize(
    ("name", "width"),
    [("alexnet_2", 139_968), ("alexnet_5", 43_264), ("inception", 2048), ("efficientnet_b1", 1280), ("swav", 2048)],
)
def test_weights_are_read_from_a_folder_and_belong_to_the_layer(tmp_path, name, width):
    import torch
    import torchvision.models

    source = {
        "alexnet_2": "alexnet", "alexnet_5": "alexnet", "inception": "inception_v3", "swav": "resnet50",
    }.get(name, name)  # fmt: skip
    options = {"init_weights": False, "transform_input": True} if source == "inception_v3" else {}
    torch.manual_seed(0)
    network = getattr(torchvision.models, source)(weights=None, **options).eval()
    state = network.state_dict()
    if name == "swav":  # as it is published: trained in parallel, with heads of its own
        state = {f"module.{key}": value for key, value in state.items()}
        state = {key: value for key, value in state.items() if not key.startswith("module.fc")}
        state["module.prototypes.weight"] = torch.zeros(3, 2)
    torch.save(state, tmp_path / EXTRACTORS[name].file)
    images = stacks(n=2, size=50)[0]
    found = Perceptual(name, folder=tmp_path, device="cpu")
    features = found.features(images)
    assert features.shape == (2, width) and features.dtype == np.float32
    layer = {"alexnet_2": "features.4", "alexnet_5": "features.11"}.get(name, "avgpool")
    kept = []
    network.get_submodule(layer).register_forward_hook(lambda _m, _i, out: kept.append(out.flatten(1).clone()))
    one = EXTRACTORS[name]
    pixels = torch.nn.functional.interpolate(
        torch.from_numpy(images.transpose(0, 3, 1, 2)), (one.size, one.size), mode="bilinear", antialias=True
    )
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in one.mean_std)
    with torch.inference_mode():
        network((pixels - mean) / std)
    np.testing.assert_allclose(features, kept[0].numpy(), atol=2e-3 * float(kept[0].abs().max()))
    assert found.parameters()["layer"] == one.layer


def test_a_file_of_another_network_is_refused(tmp_path):
    import torch

    torch.save({"features.0.weight": torch.zeros(2, 2)}, tmp_path / EXTRACTORS["alexnet_2"].file)
    with pytest.raises(UserError, match="missing or of another shape"):
        Perceptual("alexnet_2", folder=tmp_path, device="cpu")


def test_clip_is_read_from_a_folder(tmp_path):
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    config = CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        patch_size=56,
        projection_dim=8,
    )
    CLIPVisionModelWithProjection(config).save_pretrained(tmp_path / "clip-vit-large-patch14")
    features = Perceptual("clip", folder=tmp_path, device="cpu").features(stacks(n=3, size=32)[0])
    assert features.shape == (3, 8) and np.ptp(features) > 0


def test_untrained_networks_say_so(monkeypatch):
    def build():
        from torch import nn

        return nn.Sequential(nn.Conv2d(3, 4, 8, 8), nn.ReLU(), nn.Flatten())

    for name in ("alexnet_2", "swav"):
        monkeypatch.setitem(EXTRACTORS, name, Extractor("tiny", 32, "relu", ((0.5,) * 3, (0.5,) * 3), build, "x", "y"))
    truth, noisy = stacks(n=6, size=32)
    scorer = ImageScorer(truth, ["alexnet_2", "swav"], untrained=True, device="cpu")
    scores = scorer.score(truth)
    assert all(score.untrained for score in scores.values())
    assert scores["alexnet_2"].mean == 1 and scores["swav"].mean == pytest.approx(0, abs=1e-6)
    assert scorer.score(noisy)["swav"].mean > 0.001
    again = ImageScorer(truth, ["swav"], untrained=True, device="cpu").score(noisy)["swav"]
    np.testing.assert_array_equal(again.values, scorer.score(noisy)["swav"].values)


def test_bootstrap_draws_images_not_rows():
    rng = np.random.default_rng(0)
    image = np.repeat(np.arange(20), 10)
    values = rng.standard_normal(20)[image]  # ten copies of twenty numbers
    rows, images = bootstrap_interval(values), bootstrap_interval(values, image)
    assert np.diff(images)[0] > 2 * np.diff(rows)[0]
    assert np.isnan(bootstrap_interval(np.full(3, np.nan))).all()


def test_unknown_names_name_the_nearest():
    with pytest.raises(UserError, match="did you mean 'alexnet_2'"):
        ImageScorer(stacks()[0], ["alexnet2"])


def test_the_catalog_lists_them():
    from brainbench.commands.catalog import listing

    text = listing("metrics")
    for name in METRICS:
        assert name in text
    assert "higher is better, chance 0.5" in text
