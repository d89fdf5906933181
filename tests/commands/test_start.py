"""What computes nothing imports nothing heavy, and timm and torchvision come without torch's compiler."""

import json
import subprocess
import sys

import pytest

from brainbench.cli import main
from brainbench.recipes.reader import read_recipe
from brainbench.runs.identity import recipe_digest

HEAVY = (
    "torch", "torchvision", "timm", "transformers", "sklearn", "scipy", "pandas", "matplotlib", "nilearn", "nibabel",
    "mne", "joblib", "asyncio", "rich",
)  # fmt: skip
PROBE = """
import json, sys
from brainbench.cli import app

def command(*arguments):
    app(args=list(arguments), standalone_mode=False)
    return sorted(set(json.loads(sys.argv[1])) & set(sys.modules))

print(json.dumps({str(one): command(*one) for one in json.loads(sys.argv[2])}))
"""


def probe(commands, names=HEAVY, code=PROBE):
    """Return which of some modules each command leaves behind, and what was printed, in a process of its own."""
    arguments = [sys.executable, "-c", code, json.dumps(names), json.dumps(commands)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1]), done.stdout


@pytest.fixture
def finished(tmp_path):
    """A folder in which quickstart is finished, as far as `run` and `plan` look."""
    (tmp_path / "scores.csv").touch()
    (tmp_path / "facts.json").write_text('{"doubts": [], "warnings": ["one"]}')
    (tmp_path / "report.html").touch()
    plan = {"features": [["gabor", 4, 240]], "units": {"fit": 3}, "subjects": ["sim-01"]}
    plan |= {"peak_mb": 100.0, "disk_mb": 1.0, "largest": "most of it libraries"}
    manifest = {"status": "finished", "digest": recipe_digest(read_recipe("quickstart")), "inputs": [], "plan": plan}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    return tmp_path


def test_what_computes_nothing_imports_nothing_heavy(finished):
    out = ["quickstart", "--out", str(finished)]
    found, printed = probe([["--help"], ["check", "quickstart"], ["run", *out], ["plan", *out]])
    assert list(found.values()) == [[]] * 4
    assert "no problems" in printed and str(finished / "report.html") in printed
    assert "units       fit: 3, 3 done, 0 to compute" in printed and "gabor: 4 layers, done" in printed


def test_the_probe_sees_what_is_imported():
    found, _ = probe([["list", "kinds"]], ["pydantic", "brainbench.recipes.kinds", "torch"])
    assert list(found.values()) == [["brainbench.recipes.kinds", "pydantic"]]


def test_timm_comes_without_the_compiler_and_whoever_compiles_gets_it():
    code = """
import json, sys
from brainbench.networks.imported import imported

timm = imported("timm")
before = "torch._dynamo" in sys.modules
import torch

compiled = torch.compile(lambda x: x + 1, backend="eager")(torch.ones(2)).tolist()
print(json.dumps([timm.is_model("tf_efficientnet_lite0"), before, compiled, "torch._dynamo" in sys.modules]))
"""
    assert probe([], code=code)[0] == [True, False, [2.0, 2.0], True]


def test_an_interrupt_is_said_whatever_it_meets(monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("brainbench.commands.catalog.prune", interrupted)
    with pytest.raises(SystemExit) as ended:
        main(["cache", "prune"])
    assert ended.value.code == 130 and capsys.readouterr().err.startswith("interrupted: ")


def test_what_describes_the_units_of_encoding_models_imports_no_estimator():
    code = "import sys, brainbench.studies.encode.study; print({'sklearn', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
