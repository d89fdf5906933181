"""Templates: one for every kind of recipe on every data set that it has a use for."""

import pytest

from brainbench.cli import main
from brainbench.core.errors import UserError
from brainbench.core.registry import imported
from brainbench.recipes.datasets import DATASETS, RecordingSettings
from brainbench.recipes.encoders import ENCODERS
from brainbench.recipes.kinds import kinds
from brainbench.recipes.reader import RecipeError, parse_recipe
from brainbench.recipes.template import templates, write_template

RECORDINGS = {
    "deap", "dreamer", "du-in", "eeg-folder", "moabb", "physionet-mi", "seed", "seed-iv", "simulated-seeg",
}  # fmt: skip
PICTURES = {"algonauts2023", "bids", "bold5000", "folder", "nsd", "simulated", "things-eeg2", "things-fmri"}
STORIES = {"alice", "friends", "lebel2023", "little-prince", "narratives"}


def _looked_at(model):
    """Whether what is shown is read by a network that a template can name."""
    shown = DATASETS.settings({"name": model.model_fields["name"].default, **model.example}).modality_shown
    return shown in ("image", "text", "word") and not issubclass(model, RecordingSettings)


SUITED = {
    "encode": set(DATASETS) - {"rdm"},
    "decode": set(DATASETS) - {"algonauts2023", "bold-moments", "nsd", "pereira2018", "rdm"} - STORIES,
    "decode-pipelines": RECORDINGS,
    "pretrain": RECORDINGS,
    "reconstruct": PICTURES | {"miyawaki2008"},
    "explore": PICTURES,
    "rsa": {"rdm"},
    "lens": {name for name, model in DATASETS.items() if _looked_at(model)},
}
"""RDMs are distances; stories are heard on and on; NSD, Algonauts, clips and Pereira have no classes; only
recordings have trials, only pictures can be drawn."""
for kind in ("encode", "decode"):  # nobody was shown stimuli alone
    SUITED[kind] = SUITED[kind] - {"stimuli"}


def test_every_kind_is_walked():
    assert set(SUITED) == set(templates())
    assert {name for name, model in DATASETS.items() if issubclass(model, RecordingSettings)} == RECORDINGS


@pytest.mark.parametrize("dataset", list(DATASETS))
@pytest.mark.parametrize("kind", list(templates()))
def test_a_template_is_a_recipe_or_says_why_there_is_none(kind, dataset):
    if dataset not in SUITED[kind]:
        with pytest.raises(UserError, match=f"no use for the data set '{dataset}'") as refused:
            write_template(kind, dataset)
        assert f"kinds for it: {', '.join(sorted(k for k in kinds() if dataset in SUITED[k]))}" in str(refused.value)
        return
    text = write_template(kind, dataset)
    recipe = parse_recipe(text, "template")
    assert (recipe.kind, recipe.dataset.name) == (kind.partition("-")[0], dataset)
    for section, model in (("", type(recipe)), ("  ", type(recipe.dataset))):
        for name in model.model_fields:
            assert f"\n{section}{name}:" in text
    assert max(len(line) for line in text.splitlines()) <= 120


def test_the_command_prints_what_check_accepts(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["new", "decode", "--dataset", "eeg-folder"])
    (tmp_path / "mine.yaml").write_text(capsys.readouterr().out)
    with pytest.raises(SystemExit) as ended:
        main(["check", "--fast", str(tmp_path / "mine.yaml")])
    assert ended.value.code in (0, None) and "no problems" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        main(["new", "encode", "--dataset", "eeg-foldr"])
    assert ended.value.code == 2 and "did you mean 'eeg-folder'?" in capsys.readouterr().err


@pytest.mark.parametrize("family", list(ENCODERS))
def test_settings_say_what_the_encoder_reads(family):
    built = imported(ENCODERS[family].built_by)
    if not isinstance(built, type):  # a function that opens one of several classes, or nothing at all
        assert family in ("image", "recorded")
        from brainbench.encoders.image import ImageEncoder as built
    everything = {"image", "text", "word", "sound", "clip", "array"}
    reads = set(ENCODERS[family].reads) or everything
    assert reads == (everything if family == "recorded" else set(built.modalities))


def test_an_encoder_that_reads_something_else_is_refused_without_the_data():
    text = "kind: encode\ndataset: {name: alice}\nencoders: [{name: vit, family: image}]\n"
    with pytest.raises(RecipeError, match=r"'vit' \(`family: image`\) reads image stimuli, `dataset` has word stimuli"):
        parse_recipe(text, "mine.yaml")
    parse_recipe(text.replace("image", "text"), "mine.yaml")
    parse_recipe(text.replace("alice", "nsd").replace("image", "text"), "mine.yaml")  # pictures may have captions
