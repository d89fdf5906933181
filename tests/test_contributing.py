"""What CONTRIBUTING says of adding something is done here to the letter: in a package of its own, and in brainbench."""

import json
import re

import pandas as pd
import pytest

from tests.scratch import ROOT, copy_brainbench, python, write_package

pytestmark = pytest.mark.long


def files_of(heading):
    """Return the files that a section of CONTRIBUTING shows, by the name in their first line."""
    section = re.search(rf"## {heading}\n(.*?)\n## ", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL).group(1)
    found = re.findall(r"```\w+\n(?:# |<!-- )([\w.]+\.(?:py|html))(?: -->)?\n(.*?)```", section, re.DOTALL)
    return dict(found)


SECTION = files_of("A report section")
DIAGNOSTIC = files_of("A diagnostic")

ENCODER = '''
    """Mean brightness of an image: one layer of one number."""

    import numpy as np
    from brainbench.encoders.base import Encoder, Layer


    class Brightness(Encoder):
        """Mean brightness of each channel, times a gain."""

        modalities = ("image",)
        pools = ("mean",)

        def __init__(self, settings, *, seed=0, device="auto", batch_size=None):
            self.name, self.gain = settings.name, settings.gain

        def layers(self):
            return [Layer("channels", 0.0, 3)]

        def encode(self, stimuli, layers, pool):
            self.check_pool(pool)
            for index in range(len(stimuli)):
                yield {"channels": self.gain * stimuli.load(index).mean(axis=(0, 1))[None].astype(np.float32)}

        def parameters(self):
            return {"gain": self.gain}
'''
ENCODER_SETTINGS = '''
    class BrightnessSettings(EncoderSettings):
        """Mean brightness of an image's channels."""

        built_by = "{package}.brightness:Brightness"

        family: Literal["brightness"] = "brightness"
        gain: float = Field(1.0, gt=0)
        """What the brightness is multiplied by."""
'''
DATASET = '''
    """Coloured squares and how bright two voxels found them."""

    import numpy as np
    from brainbench.data.base import Dataset, Responses, Stimuli


    class Squares(Dataset):
        """Responses in ``squares.csv``: a row per square, its colour and two voxels."""

        name = "squares"
        expected = "squares.csv"

        def __init__(self, path):
            self.path = path
            self.table = np.loadtxt(path, delimiter=",")

        @classmethod
        def open(cls, settings, root, context):
            return cls(root / "squares.csv")

        @classmethod
        def looks_like(cls, path):
            return (path / "squares.csv").is_file()

        @property
        def subjects(self):
            return ["one"]

        def files(self):
            return [self.path]

        def stimuli(self, subject):
            return Stimuli.of([np.full((16, 16, 3), row[:3], dtype=np.uint8) for row in self.table])

        def responses(self, subject):
            n = len(self.table)
            return Responses(
                "one", self.table[:, 3:], np.arange(n), np.array([str(i % 3) for i in range(n)]),
                {"both": np.ones(2, bool)},
            )
'''
DATASET_SETTINGS = '''
    class SquaresSettings(DatasetSettings):
        """Coloured squares."""

        built_by = "{package}.squares:Squares"

        name: Literal["squares"] = "squares"
'''
CARD = """
    name: squares
    title: Coloured squares
    source: a test
    licence: none
    citation: nobody
    fetch: made by the test
"""
METRIC = '''
    """Mean absolute error."""

    import numpy as np
    from brainbench.evaluation.metrics import Metric


    def absolute_error(y_true, y_pred):
        """Mean absolute error of every target."""
        return np.abs(np.asarray(y_true) - np.asarray(y_pred)).mean(axis=0)


    error = Metric("absolute_error", "absolute error", absolute_error, per_target=True, chance=None, direction=-1)
'''
CODEC = '''
    """An image is its mean colour."""

    import numpy as np
    from brainbench.reconstruction.base import Codec, Generator


    class MeanColour(Codec):
        """The mean colour of an image."""

        channels = 3

        def __init__(self, settings, *, seed=0, device="auto"):
            self.image_size = settings.image_size

        def encode(self, images):
            return images.mean(axis=(1, 2)).astype(np.float32)

        def decode(self, latents, seeds):
            size = self.image_size
            return np.clip(np.tile(latents[:, None, None, :], (1, size, size, 1)), 0, 1).astype(np.float32)

        def parameters(self):
            return {"image_size": self.image_size}


    class Fade(Generator):
        """Fades the initial image towards grey."""

        channels = 3

        def __init__(self, settings, encoders, *, seed=0, device="auto"):
            self.image_size, self.strength = 16, settings.strength

        def conditions(self):
            return []

        def parameters(self):
            return {"strength": self.strength}

        def generate(self, features, initial, seeds, *, progress=None):
            return ((1 - self.strength) * initial + self.strength / 2).astype(np.float32)
'''
CODEC_SETTINGS = '''
    class MeanColourSettings(CodecSettings):
        """Mean colour."""

        built_by = "lab.colour:MeanColour"

        codec: Literal["mean-colour"] = "mean-colour"
        image_size: int = 16
        """Side of the images, in pixels."""


    class FadeSettings(GeneratorSettings):
        """Fades to grey."""

        built_by = "lab.colour:Fade"

        name: Literal["fade"] = "fade"
'''
DECODER = '''
    """The log power of every channel, and a line through it."""

    import numpy as np
    from sklearn.linear_model import LogisticRegression
    from brainbench.decoders.base import TrialDecoder


    class LogPower(TrialDecoder):
        """Logistic regression on log power."""

        def __init__(self, C=1.0):
            self.C = C

        def preparation(self):
            return {"as": "log power"}

        def prepare(self, X):
            return np.log(X.var(axis=-1))

        def fit_prepared(self, prepared, y, *, groups=None, domains=None):
            self.model_ = LogisticRegression(C=self.C).fit(prepared, y)
            self.classes_ = self.model_.classes_
            return self

        def probability_of(self, prepared, *, domains=None):
            return self.model_.predict_proba(prepared)


    def open_log_power(settings, context):
        return LogPower(settings.C)
'''
DECODER_SETTINGS = '''
    class LogPowerSettings(PipelineSettings):
        """Log power."""

        built_by = "lab.power:open_log_power"

        decoder: Literal["log_power"] = "log_power"
        C: float = Field(1.0, gt=0)
        """Inverse strength of the penalty."""
'''
CLASSIFIER = """
    from sklearn.neighbors import NearestCentroid


    def nearest(seed=0):
        return NearestCentroid()
"""
HEAD = '''
    """Ridge regression whose penalty was chosen by hand."""

    from brainbench.heads import RidgeCV


    class HandRidge(RidgeCV):
        """Ridge regression with a grid of its own."""
'''
IMPORTS = """
    from typing import Literal
    from pydantic import Field
    from brainbench.recipes.datasets import DatasetSettings
    from brainbench.recipes.encoders import EncoderSettings
    from brainbench.recipes.pipelines import PipelineSettings
    from brainbench.recipes.reconstruction import CodecSettings, GeneratorSettings
"""
RECIPE = """\
kind: encode
dataset: {name: squares}
encoders:
  - {name: bright, family: brightness, gain: 2.0}
  - {name: chance, family: random}
  - {name: vit, family: image, model: test_vit, weights: random, image_size: 32, layers: [blocks.1], role: control}
lens: {diagnostics: [sinks], stimuli: 8}
metrics: [absolute_error, pearson_r]
folds: {n_splits: 3}
head: {n_alphas: 3, inner_folds: 2}
significance: {n_permutations: 19}
bootstrap: {n_draws: 10}
"""


def write_squares(folder):
    """Write squares whose first voxel likes red, and whose second likes blue."""
    import numpy as np

    rng = np.random.default_rng(0)
    colours = rng.integers(0, 255, (30, 3))
    folder.mkdir()
    voxels = colours[:, [0, 2]] + rng.normal(scale=5, size=(30, 2))
    np.savetxt(folder / "squares.csv", np.column_stack([colours, voxels]), delimiter=",")


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A package that adds one of everything, as its wheel would install it."""
    from textwrap import dedent

    settings = [IMPORTS, ENCODER_SETTINGS, DATASET_SETTINGS, CODEC_SETTINGS, DECODER_SETTINGS]
    text = "\n".join(dedent(part) for part in settings).replace("{package}", "lab")
    return write_package(
        tmp_path_factory.mktemp("site"),
        "lab",
        {
            "__init__.py": "", "settings.py": text, "brightness.py": ENCODER, "squares.py": DATASET, "error.py": METRIC,
            "colour.py": CODEC, "power.py": DECODER, "hand.py": HEAD, "near.py": CLASSIFIER,
            "datasets/squares.yaml": CARD, **SECTION, **DIAGNOSTIC,
        },
        {
            "brainbench.recipes.encoders": ["brightness = lab.settings:BrightnessSettings"],
            "brainbench.recipes.datasets": ["squares = lab.settings:SquaresSettings"],
            "brainbench.recipes.codecs": ["colour = lab.settings:MeanColourSettings"],
            "brainbench.recipes.generators": ["fade = lab.settings:FadeSettings"],
            "brainbench.recipes.pipelines": ["power = lab.settings:LogPowerSettings"],
            "brainbench.metrics": ["absolute_error = lab.error:error"],
            "brainbench.classifiers": ["nearest = lab.near:nearest"],
            "brainbench.sections": ["allowed = lab.allowed"],
            "brainbench.diagnostics": ["sinks = lab.sinks:diagnostic"],
        },
    )  # fmt: skip


CHECKS = """
    import numpy as np

    from brainbench.commands.catalog import listing
    from brainbench.data.base import Stimuli
    from brainbench.data.cards import load_card
    from brainbench.decoders.base import TrialContext
    from brainbench.decoders.check import check_trial_decoder
    from brainbench.encoders import open_encoder
    from brainbench.encoders.check import check_encoder
    from brainbench.evaluation.metrics import METRICS, target_metrics
    from brainbench.recipes.pipelines import PIPELINES
    from brainbench.recipes.reconstruction import CODECS, GENERATORS, codec_settings, generator_settings

    rng = np.random.default_rng(0)
    images = Stimuli.of([rng.integers(0, 255, (8, 8, 3), dtype=np.uint8) for _ in range(5)])
    check_encoder(lambda: open_encoder({"name": "x", "family": "brightness", "gain": 2.0}), images)
    assert load_card("squares").title == "Coloured squares"

    codec = CODECS.builder("mean-colour")(codec_settings({"codec": "mean-colour"}), seed=0, device="cpu")
    pictures = rng.random((4, 16, 16, 3)).astype(np.float32)
    latents = codec.encode(pictures)
    assert codec.decode(latents, [0] * 4).shape == pictures.shape
    fade = GENERATORS.builder("fade")(generator_settings({"name": "fade", "strength": 1.0}), {}, seed=0, device="cpu")
    assert np.allclose(fade.generate({}, pictures, [0] * 4), 0.5)

    settings = PIPELINES.models["log_power"](name="power", C=2.0)
    check_trial_decoder(PIPELINES.builder("log_power")(settings, TrialContext(None, 160)))

    from brainbench.heads.check import check_head
    from lab.hand import HandRidge

    check_head(HandRidge())

    from brainbench.decoders.classifiers import make_classifier
    from brainbench.recipes.parts import Decoder

    decoder = Decoder(name="x", classifier="nearest")
    fitted = make_classifier(decoder.classifier).fit([[0.0], [1.0]], ["a", "b"])
    assert list(fitted.predict([[0.9]])) == ["b"]

    from brainbench.lens.check import check_diagnostic
    from lab.sinks import diagnostic

    check_diagnostic(diagnostic)

    assert METRICS["absolute_error"].direction == -1 and "absolute_error" in target_metrics()
    for what, name in (("encoders", "brightness"), ("datasets", "squares"), ("codecs", "mean-colour"),
                       ("generators", "fade"), ("pipelines", "log_power"), ("metrics", "absolute_error"),
                       ("diagnostics", "sinks")):
        assert name in listing(what), what
"""


def test_one_of_everything_in_a_package_of_its_own(lab, tmp_path):
    python(lab, CHECKS, cwd=tmp_path)


def test_a_recipe_of_foreign_nouns_runs_to_its_report(lab, tmp_path):
    write_squares(tmp_path / "squares")
    (tmp_path / "mine.yaml").write_text(RECIPE.replace("{name: squares}", "{name: squares, root: squares}"))
    code = """
        import brainbench as bb
        from brainbench.data.fetch import check
        print(check("squares", "squares"))
        run = bb.run("mine.yaml", out="run")
        print("leads with", run.facts["metric"])
    """
    said = python(lab, code, cwd=tmp_path)
    assert "no problems" in said and "leads with absolute_error" in said
    facts = json.loads((tmp_path / "run" / "facts.json").read_text())
    assert facts["dataset"]["title"] == "Coloured squares"
    assert any("bright channels reaches" in claim for claim in facts["claims"])
    page = (tmp_path / "run" / "report.html").read_text()
    assert "absolute error on held-out data" in page
    *controls, vit = facts["findings"]["lens"]["encoders"]
    assert all(one["reason"] for one in controls) and vit["untrained"]
    (column,) = vit["columns"]
    shares = [cell["value"] for cell in column["blocks"]]
    assert len(shares) == 6 and all(0 < share < 1 for share in shares)
    assert '<th class="n">sink</th>' in page and all(f"{share:.3f}" in page for share in shares)


DRAWN = """
    import json, shutil
    from pathlib import Path
    from brainbench.report import frame, write_report

    frame.vectors, frame.as_svg = lambda figure: ("drawn", b"drawn"), lambda figure: "drawn"
    shutil.copytree({frozen!r}, "run")
    facts = json.loads(Path("run/facts.json").read_text())
    Path("run/facts.json").write_text(json.dumps(facts | {{"maps": []}}))  # the frozen run has no files of maps
    print(write_report("run").read_text())
"""


def test_a_section_of_two_files_stands_in_the_report(lab, tmp_path):
    frozen = ROOT / "tests" / "report" / "frozen" / "encode"
    said = python(lab, DRAWN.format(frozen=str(frozen)), cwd=tmp_path)
    assert '<h2 id="what-the-ceiling-allows">What the ceiling allows <span class="tag">simulated</span></h2>' in said
    assert '<li><a href="#what-the-ceiling-allows">What the ceiling allows</a></li>' in said
    scores = pd.read_csv(frozen / "scores.csv")
    rows = scores.query("subject == 'mean' and fold == 'all' and metric == 'pearson_r' and scheme == 'stimulus'")
    best = rows.query("role == 'model' and roi == 'fine'").sort_values("value").iloc[-1]
    assert f'<td>fine</td><td>{best["layer"]}</td><td class="n">{best["value"]:.2f}</td>' in said
    assert (
        said.index("Layers and regions</a>") < said.index("What the ceiling allows</a>") < said.index("Best layer of")
    )


def test_a_data_set_without_a_card_is_refused_before_any_work(lab, tmp_path):
    import shutil

    bare = tmp_path / "site"
    shutil.copytree(lab, bare)
    shutil.rmtree(bare / "lab" / "datasets")
    write_squares(tmp_path / "squares")
    (tmp_path / "mine.yaml").write_text(RECIPE.replace("{name: squares}", "{name: squares, root: squares}"))
    code = """
        import brainbench as bb
        from brainbench.core.errors import UserError
        try:
            bb.run("mine.yaml", out="run")
        except UserError as error:
            print(error)
    """
    said = python(bare, code, cwd=tmp_path)
    assert "data set 'squares' has no card" in said and str(bare / "lab" / "datasets" / "squares.yaml") in said
    assert not list((tmp_path / "run").rglob("*.npz"))


def insert(path, text, before):
    """Write a settings model above the catalogue of its kind."""
    from textwrap import dedent

    old = path.read_text()
    assert old.count(before) == 1
    path.write_text(old.replace(before, dedent(text) + "\n\n" + before))


def test_nouns_in_brainbench_itself_take_the_files_that_are_named(tmp_path):
    """Encoder: two files; data set: two and a card; metric: one; section: two; diagnostic: one. No other is touched."""
    from textwrap import dedent

    copy = copy_brainbench(tmp_path / "copy")
    house = copy / "brainbench"
    models = house / "recipes"
    insert(
        models / "encoders.py", ENCODER_SETTINGS.replace("{package}", "brainbench.encoders"), "ENCODERS = Catalogue("
    )
    (house / "encoders" / "brightness.py").write_text(dedent(ENCODER))
    imports = "from typing import Literal\n\nfrom brainbench.recipes.data.base import DatasetSettings\n\n"
    settings = dedent(DATASET_SETTINGS.replace("{package}", "brainbench.data.layouts"))
    (models / "data" / "squares.py").write_text(imports + settings)
    (house / "data" / "layouts" / "squares.py").write_text(dedent(DATASET))
    (copy / "datasets" / "squares.yaml").write_text(dedent(CARD))
    added = dedent(METRIC).split("\n\n\n", 1)[1] + '\nMETRICS.register("absolute_error")(error)\n'
    with open(house / "evaluation" / "metrics.py", "a") as handle:
        handle.write("\n\n" + added)
    for name, text in SECTION.items():
        (house / "report" / "sections" / "responses" / name).write_text(text)
    for name, text in DIAGNOSTIC.items():
        (house / "lens" / "diagnostics" / name).write_text(text)
    write_squares(tmp_path / "squares")
    (tmp_path / "mine.yaml").write_text(RECIPE.replace("{name: squares}", "{name: squares, root: squares}"))
    code = """
        import brainbench, sys
        from brainbench.commands.catalog import listing
        from brainbench.data.fetch import check
        from brainbench.recipes.reader import read_recipe
        print(brainbench.__file__)
        recipe = read_recipe("mine.yaml")
        assert recipe.encoders[0].family == "brightness" and recipe.metrics[0] == "absolute_error"
        for what, name in (("encoders", "brightness"), ("datasets", "squares"), ("metrics", "absolute_error"),
                           ("diagnostics", "sinks")):
            assert name in listing(what), what
        assert "arXiv:2309.17453" in listing("diagnostics") and "at pattern" in listing("diagnostics")
        print(check("squares", "squares"))
        from brainbench.encoders import open_encoder
        from brainbench.encoders.check import check_encoder
        from brainbench.data.base import Stimuli
        import numpy as np
        images = Stimuli.of([np.full((8, 8, 3), i, dtype=np.uint8) for i in range(5)])
        check_encoder(lambda: open_encoder({"name": "x", "family": "brightness"}), images)
        from brainbench.report.section import sections
        assert [one.place for one in sections() if one.name.endswith(".allowed")] == [315.0]
        assert recipe.lens.diagnostics == ["sinks"]
    """
    said = python(copy, code, cwd=tmp_path, package=copy)
    assert str(house) in said and "no problems" in said
