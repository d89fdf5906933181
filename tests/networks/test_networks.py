import json

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, StandardScaler
from torch import nn

from brainbench.core.errors import UserError
from brainbench.heads.check import check_decoder
from brainbench.networks import training as loop
from brainbench.networks.classifiers import MVCNetClassifier, NetworkClassifier, RBTransformerClassifier
from brainbench.networks.files import load_decoder
from brainbench.networks.zoo.mvcnet import MVCNet
from brainbench.networks.zoo.rbtransformer import band_entropy

pytestmark = pytest.mark.long

NAMES = ["C3", "C4", "P3", "P4", "Fz", "Cz"]
SMALL = {"n_filters": 8, "kernel_times": 9, "pool_times": 40}
QUICK = {"n_epochs": 30, "batch_size": 16, "learning_rate": 0.01, "patience": None}


def mvcnet(**settings):
    return MVCNetClassifier(80.0, NAMES, **{**SMALL, **QUICK, "time_pool": 8, **settings})


def rbtransformer(**settings):
    small = {"bands": [(8.0, 12.0), (14.0, 30.0)], "width": 16, "depth": 2, "n_heads": 2, "head_width": 8}
    return RBTransformerClassifier(80.0, **{**small, **QUICK, **settings})


def power(n_chans: int, n_outputs: int, n_times: int, *, n_filters: int = 4, **unused):
    """A builder that swallows misspelt settings."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(n_chans * n_times, n_filters), nn.ReLU(), nn.Linear(n_filters, n_outputs)
    )


def trials(n=24, channels=6, times=160, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, channels, times)), np.array(["left", "right"])[np.arange(n) % 2]


DECODERS = {
    "ifnet": lambda: NetworkClassifier(module_params=SMALL, sfreq=80.0, **QUICK),
    "ifnet, reflected": lambda: NetworkClassifier(
        module_params=SMALL, sfreq=80.0, augment=["reflection"], ch_names=NAMES, **{**QUICK, "n_epochs": 15}
    ),
    "mvcnet": mvcnet,
    "mvcnet, fused": lambda: mvcnet(deploy="fused", class_weight="balanced"),
    "mvcnet, alone": lambda: mvcnet(cross_view=0.0, cross_model=0.0, views=("reflection",)),
    "rbtransformer": rbtransformer,
}


@pytest.mark.parametrize("name", DECODERS)
def test_contract(name, tmp_path):
    # With so few trials the Transformer, which reads samples, learns their phases by heart: the fused decoder is held
    # to everything but accuracy.
    least = 0.0 if name == "mvcnet, fused" else 0.8
    check_decoder(DECODERS[name](), folder=tmp_path, load=load_decoder, least_accuracy=least)


def test_the_contract_finds_what_does_not_hold():
    class Forgetful(NetworkClassifier):
        def fit(self, X, y, groups=None):
            X -= X.mean()
            return super().fit(X, y, groups)

    with pytest.raises(AssertionError, match="changes its input"):
        check_decoder(Forgetful(module_params=SMALL, sfreq=80.0, n_epochs=1))
    with pytest.raises(AssertionError, match="not learned"):
        check_decoder(NetworkClassifier(module_params=SMALL, sfreq=80.0, n_epochs=1, learning_rate=1e-9))


def test_a_model_of_braindecode(tmp_path):
    pytest.importorskip("braindecode")
    decoder = NetworkClassifier("braindecode.EEGNet", module_params={"F1": 4}, sfreq=80.0, n_epochs=2)
    X, y = trials()
    fitted = decoder.fit(X, y)
    fitted.save(tmp_path / "eegnet")
    assert np.array_equal(load_decoder(tmp_path / "eegnet").predict_proba(X), fitted.predict_proba(X))
    # It takes **kwargs, and still a misspelt setting is refused.
    with pytest.raises(UserError, match=r"no setting 'drop_porb'; did you mean 'drop_prob'"):
        clone(decoder).set_params(module_params={"drop_porb": 0.1}).fit(X, y)
    with pytest.raises(UserError, match=r"no model 'EEGNat'; did you mean 'EEGNet'"):
        clone(decoder).set_params(module="braindecode.EEGNat").fit(X, y)


def test_one_band_ifnet_has_the_size_of_braindecodes():
    models = pytest.importorskip("braindecode.models")
    theirs = models.IFNet(n_chans=22, n_outputs=2, n_times=1000, sfreq=250.0, bands=[(8.0, 32.0)], kernel_sizes=(63,))
    ours = MVCNet(22, 2, 1000, 250.0, time_pool=50)
    counts = sorted(weight.numel() for weight in theirs.parameters())
    assert {22 * 64, 64 * 63, 512 * 2} <= set(counts)
    assert ours.n_parameters(deployed=True) == 6722


def test_a_builder_of_ones_own(tmp_path):
    X, y = trials()
    decoder = NetworkClassifier(power, module_params={"n_filters": 3}, n_epochs=2)
    fitted = decoder.fit(X, y)
    assert fitted.network_[1].out_features == 3
    fitted.save(tmp_path / "own")
    with pytest.raises(UserError, match=r"trained with the function tests.networks.test_networks:power"):
        load_decoder(tmp_path / "own")
    with pytest.raises(UserError, match="trained with the function"):
        load_decoder(tmp_path / "own", module=MVCNet)
    again = load_decoder(tmp_path / "own", module=power)
    assert np.array_equal(again.predict_proba(X), fitted.predict_proba(X))
    with pytest.raises(UserError, match=r"no setting 'n_filter'; did you mean 'n_filters'"):
        NetworkClassifier(power, module_params={"n_filter": 3}).fit(X, y)
    with pytest.raises(UserError, match="comes from the data"):
        NetworkClassifier(power, module_params={"n_chans": 3}).fit(X, y)
    with pytest.raises(UserError, match="n_outputs"):
        NetworkClassifier(lambda n_chans: nn.Identity()).fit(X, y)
    with pytest.raises(UserError, match=r"unknown EEG network 'ifnat'; did you mean 'ifnet'"):
        NetworkClassifier("ifnat").fit(X, y)
    with pytest.raises(UserError, match="must give logits"):
        NetworkClassifier(lambda n_outputs: nn.Identity()).fit(X, y)


def test_files_bring_back_every_setting(tmp_path):
    X, y = trials()
    y = (y == "right").astype(int) + 3
    positions = np.array([[-1, 0, 1], [1, 0, 1], [-1, -1, 1], [1, -1, 1], [0, 1, 1], [0, 0, 1]]) * 0.1
    decoder = mvcnet(n_epochs=1, label_swap={3: 4, 4: 3}, positions=positions, checkpoint=tmp_path, progress=print)
    decoder.fit(X, y).save(tmp_path / "file")
    loaded = load_decoder(tmp_path / "file")
    expected = {**decoder.get_params(), "checkpoint": None, "progress": None}
    found = loaded.get_params()
    np.testing.assert_array_equal(found.pop("positions"), expected.pop("positions"))
    assert found == expected
    assert loaded.classes_.dtype == decoder.classes_.dtype and loaded.history_ == decoder.history_
    clone(loaded).fit(X, y)  # a loaded decoder can be trained anew


def test_files_that_are_none_are_refused(tmp_path):
    with pytest.raises(UserError, match="no decoder at"):
        load_decoder(tmp_path / "nothing")
    (tmp_path / "text").write_text("hello")
    with pytest.raises(UserError, match="no saved decoder"):
        load_decoder(tmp_path / "text")
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "other")
    with pytest.raises(UserError, match="no saved decoder"):
        load_decoder(tmp_path / "other")
    save_file({"a": torch.zeros(1)}, tmp_path / "future", metadata={"brainbench": json.dumps({"format": 99})})
    with pytest.raises(UserError, match="format 99"):
        load_decoder(tmp_path / "future")


def test_what_is_missing_or_wrong_is_said_before_training():
    X, y = trials()
    cases = [
        (MVCNetClassifier(ch_names=NAMES), "sfreq"),
        (MVCNetClassifier(80.0), "ch_names"),
        (MVCNetClassifier(80.0, NAMES[:5]), "5 ch_names for 6 channels"),
        (MVCNetClassifier(80.0, ["C3", "Cz", "Pz", "Fz", "P3", "P4"]), "no mirror for C3"),
        (mvcnet(views=("time", "mirror")), "unknown view 'mirror'"),
        (mvcnet(views=()), "at least one view"),
        (mvcnet(label_swap={"left": "rihgt"}), "no class"),
        (mvcnet(deploy="best"), "deploy"),
        (mvcnet(temperature=0.0), "temperature"),
        (mvcnet(class_weight="even"), "class_weight"),
        (mvcnet(n_epochs=0), "n_epochs"),
        (mvcnet(device="cuda:9"), "not on this machine"),
        (mvcnet(pool_times=400), "pooling window"),
        (RBTransformerClassifier(), "sfreq"),
        (RBTransformerClassifier(80.0), "31-49 Hz"),
    ]
    for decoder, message in cases:
        with pytest.raises(UserError, match=message):
            decoder.fit(X, y)
    with pytest.raises(UserError, match="nothing to learn"):
        DECODERS["ifnet"]().fit(np.zeros_like(X), y)
    with pytest.raises(TypeError, match="crossview"):
        MVCNetClassifier(crossview=1)
    with pytest.raises(ValueError, match="cros_view"):
        mvcnet().set_params(cros_view=1)


@pytest.mark.parametrize(
    ("decoder", "least"),
    [
        (lambda: NetworkClassifier("braindecode.EEGNet", sfreq=80.0), 27),
        (lambda: NetworkClassifier("braindecode.ShallowFBCSPNet", sfreq=80.0), 99),
        (lambda: NetworkClassifier("braindecode.EEGConformer", sfreq=80.0), 99),
        (lambda: NetworkClassifier("braindecode.FBLightConvNet", sfreq=128.0), 250),
        (DECODERS["ifnet"], 40),
        (mvcnet, 40),
        (lambda: rbtransformer(filtering="zero_phase"), 34),
    ],
)
def test_the_shortest_trials_that_a_network_reads_are_named(decoder, least):
    pytest.importorskip("braindecode")
    decoder().check_trials(6, least, 2)
    for n_times in (least - 1, least // 3):
        with pytest.raises(UserError, match=rf"reads {least} samples|pooling window of {least}"):
            decoder().check_trials(6, n_times, 2)
    X, y = trials(times=least - 1)
    with pytest.raises(UserError, match=rf"trials of {least - 1} samples"):
        decoder().fit(X, y)


def test_a_network_that_reads_no_length_says_why():
    with pytest.raises(UserError, match=r"cannot read trials of 6 channels x 160 samples: .*mat1 and mat2"):
        NetworkClassifier(lambda n_chans, n_outputs: nn.Sequential(nn.Flatten(), nn.Linear(7, 2))).check_trials(
            6, 160, 2
        )


def test_a_fit_that_fails_leaves_no_old_weights():
    X, y = trials()
    decoder = DECODERS["ifnet"]().set_params(n_epochs=1).fit(X, y)
    with pytest.raises(UserError):
        decoder.fit(X[:, :, :3], y)
    with pytest.raises(ValueError, match="not fitted"):
        decoder.predict(X)


def test_units_do_not_matter():
    X, y = trials()
    small = mvcnet(n_epochs=2).fit(X * 2.0**-20, y).predict_proba(X * 2.0**-20)
    assert np.array_equal(small, mvcnet(n_epochs=2).fit(X, y).predict_proba(X))


def test_training_that_was_killed_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_S", 0.0)
    X, y = trials()
    expected = mvcnet(n_epochs=3).fit(X, y).predict_proba(X)

    def stop(record):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mvcnet(n_epochs=3, checkpoint=tmp_path, progress=stop).fit(X, y)
    seen = []
    found = mvcnet(n_epochs=3, checkpoint=tmp_path, progress=seen.append).fit(X, y).predict_proba(X)
    assert [record["epoch"] for record in seen] == [2, 3]
    assert np.array_equal(found, expected)


def test_validation_is_whole_groups():
    X, y = trials(48)
    groups = np.repeat(["run 4", "run 8", "run 12", "run 14"], 12)
    held = mvcnet(n_epochs=1).fit(X, y, groups=groups).validation_rows_
    assert len(held) == 12 and len(set(groups[held])) == 1
    with pytest.raises(UserError, match="only one group"):
        mvcnet(n_epochs=1).fit(X[:12], y[:12], groups=groups[:12])


def test_the_paper_preset_is_the_released_protocol():
    decoder = MVCNetClassifier.paper(512.0, NAMES, random_state=3)
    assert (decoder.n_epochs, decoder.batch_size, decoder.validation, decoder.time_pool) == (100, 64, 0.0, 1)
    assert (decoder.cross_view, decoder.cross_model, decoder.temperature, decoder.deploy) == (0.1, 0.1, 0.2, "cnn")
    assert decoder.shift_hz == pytest.approx(0.2048) and decoder.random_state == 3
    X, y = trials(12, times=300)
    fitted = MVCNetClassifier.paper(250.0, NAMES, n_epochs=1).fit(X, y)
    assert fitted.best_epoch_ == 1 and len(fitted.validation_rows_) == 0


def test_mvcnet_learns_a_difference_in_power_that_no_linear_model_of_samples_can():
    def make(n, seed):
        rng = np.random.default_rng(seed)
        y = np.arange(n) % 2
        X = rng.normal(size=(n, 6, 160))
        sine = np.sin(2 * np.pi * 10 * np.arange(160) / 80 + rng.uniform(0, 2 * np.pi, (n, 1)))  # every phase
        X[np.arange(n), y] += sine
        return X, y

    X, y = make(96, 0)
    X_new, y_new = make(100, 1)
    linear = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
    assert linear.fit(X.reshape(96, -1), y).score(X_new.reshape(100, -1), y_new) < 0.65
    assert mvcnet(label_swap={0: 1, 1: 0}, random_state=1).fit(X, y).score(X_new, y_new) > 0.85


def two_regions(n, seed, sfreq=128.0, channels=6, seconds=2):
    """Alpha of electrodes 1 and 4 is weak or strong, by itself at random; the class is whether they agree."""
    rng = np.random.default_rng(seed)
    strong = rng.integers(0, 2, (n, 2))
    X = rng.normal(size=(n, channels, int(sfreq * seconds)))
    time = np.arange(X.shape[2]) / sfreq
    for k, electrode in enumerate((1, 4)):
        phase = rng.uniform(0, 2 * np.pi, (n, 1))
        X[:, electrode] += (0.3 + 1.7 * strong[:, [k]]) * np.sin(2 * np.pi * 11 * time + phase)
    return X, (strong[:, 0] == strong[:, 1]).astype(int)


def test_rbtransformer_learns_a_dependency_between_regions_that_no_model_of_single_electrodes_can():
    X, y = two_regions(300, 0)
    X_new, y_new = two_regions(150, 1)
    # Without a z-score over all channels, which would carry one electrode's power into the others' tokens.
    tokens, new = (band_entropy(part, 128.0, zscore="none") for part in (X, X_new))
    for electrode in range(6):  # each electrode alone, and not only linearly
        binned = make_pipeline(KBinsDiscretizer(6, quantile_method="averaged_inverted_cdf"), LogisticRegression())
        assert binned.fit(tokens[:, electrode], y).score(new[:, electrode], y_new) < 0.65
    # All of them added up: any function of one electrode plus any function of another.
    added = make_pipeline(KBinsDiscretizer(6, quantile_method="averaged_inverted_cdf"), LogisticRegression())
    assert added.fit(tokens.reshape(300, -1), y).score(new.reshape(150, -1), y_new) < 0.65
    decoder = RBTransformerClassifier(
        128.0,
        zscore="none",
        width=32,
        depth=2,
        n_heads=2,
        head_width=16,
        n_epochs=40,
        batch_size=32,
        learning_rate=3e-3,
    )
    fitted = decoder.fit(X, y)
    assert fitted.score(X_new, y_new) > 0.9
    attention = fitted.electrode_attention(X_new[:20])
    assert attention.shape == (2, 6, 6)
    np.testing.assert_allclose(attention.sum(-1), 1, atol=1e-5)
    informed = attention[:, :, [1, 4]].sum(-1).mean()
    assert informed > 2 / 6  # more than its share goes to the two electrodes that matter


def test_inside_scikit_learn():
    X, y = trials(24)
    scores = cross_val_score(DECODERS["ifnet"]().set_params(n_epochs=1), X, y, cv=3, scoring="roc_auc")
    assert scores.shape == (3,) and np.isfinite(scores).all()


def test_relevance_of_a_linear_network_is_its_share_of_the_logit():
    torch.manual_seed(0)

    class Linear(torch.nn.Module):
        def __init__(self, n_chans, n_outputs, n_times):
            super().__init__()
            self.out = torch.nn.Linear(n_chans * n_times, n_outputs)

        def forward(self, x):
            return self.out(x.flatten(1))

    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(20, 3, 8)), np.arange(20) % 2
    fitted = NetworkClassifier(Linear, n_epochs=1, validation=0.0, patience=None, batch_size=8).fit(X, y)
    found = fitted.relevance(X[:4], y[:4], X)
    weight = fitted.network_.out.weight.detach().numpy().reshape(2, 3, 8)
    difference = (X[:4] - X.mean(axis=0)) / fitted.scale_
    for row in range(4):
        own = weight[y[row]] - weight.mean(axis=0)
        assert np.allclose(found[row], (own * difference[row]).sum(axis=1), atol=1e-5)
