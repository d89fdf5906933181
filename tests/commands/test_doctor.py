"""What is missing on this machine is said in one message, with the command that installs it."""

import sys

import pytest

from brainbench.cli import main
from brainbench.commands.doctor import NEEDS, examine, explain_missing


def test_every_extra_is_looked_at():
    assert {"python", *NEEDS, "device", "memory", "cache", "data"} == {finding.what for finding in examine()}


@pytest.mark.parametrize(
    ("module", "package", "extra"),
    [
        ("timm.models", "timm", "models"),
        ("skimage", "scikit-image", "photos"),
        ("mne_bids", "mne-bids", "eeg"),
        ("nilearn.maskers", "nilearn", "fmri"),
        ("diffusers", "diffusers", "recon"),
    ],
)
def test_a_missing_package_names_its_extra(module, package, extra):
    message = str(explain_missing(ModuleNotFoundError(f"No module named '{module}'", name=module)))
    assert message.startswith(f"this needs {package}, ") and f"pip install 'brainbench[{extra}]'" in message


def test_a_missing_module_of_our_own_is_a_defect():
    with pytest.raises(ModuleNotFoundError, match="nonsense"):
        explain_missing(ModuleNotFoundError("No module named 'brainbench.nonsense'", name="brainbench.nonsense"))


def test_the_command_line_says_it(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(SystemExit) as caught:
        main(["layers", "resnet18"])
    assert caught.value.code == 2
    assert "pip install 'brainbench[models]'" in capsys.readouterr().err
