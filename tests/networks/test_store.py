"""Trained networks by key: once, whoever is killed when, and however many want them."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from brainbench.networks import training as loop
from brainbench.networks.classifiers import NetworkClassifier
from brainbench.networks.store import NetworkStore
from brainbench.networks.tensors import load_tensors, save_tensors
from tests.processes import SERVER

WHAT = {"network": "a test", "seed": 1}


def weights(checkpoint: Path, key: str) -> tuple[dict[str, torch.Tensor], dict[str, object]]:
    return {"w": torch.arange(3.0)}, {"history": [1, 2]}


def refuse(checkpoint: Path, key: str) -> tuple[dict[str, torch.Tensor], dict[str, object]]:
    raise AssertionError("trained twice")


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


def test_a_network_is_trained_once_and_says_what_made_it(tmp_path: Path) -> None:
    store = NetworkStore(tmp_path)
    assert store.get(WHAT) is None and not store.has(WHAT)
    first = store.trained(WHAT, weights)
    again = store.trained(WHAT, refuse)
    assert store.has(WHAT) and torch.equal(first.tensors["w"], again.tensors["w"]) and first.facts == again.facts
    about = json.loads((tmp_path / f"{first.key}.json").read_text())
    assert about["network"] == "a test" and about["libraries"]["torch"] and about["training"] == {"history": [1, 2]}
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir() if path.is_file()} == {
        (tmp_path / f"{first.key}.json").stat().st_mode & 0o777
    }
    assert NetworkStore.key(WHAT) != NetworkStore.key({**WHAT, "seed": 2})


@pytest.mark.parametrize("lost", ["about", "damaged", "cut", "checkpoint left"])
def test_what_a_kill_or_a_disk_leaves_ends_as_the_same_bytes(tmp_path: Path, lost: str) -> None:
    store = NetworkStore(tmp_path)
    store.trained(WHAT, weights)
    whole = files(tmp_path)
    file = store.file(WHAT)
    if lost == "about":  # killed between the two files
        file.with_suffix(".json").unlink()
        store.trained(WHAT, refuse)
    elif lost == "checkpoint left":  # killed before the checkpoint was removed
        (tmp_path / f"{file.stem}.checkpoint.safetensors").write_bytes(b"half")
        store.trained(WHAT, refuse)
    else:
        content = bytearray(file.read_bytes())
        content[-2] ^= 1
        file.write_bytes(content if lost == "damaged" else content[:-3])
        with pytest.warns(UserWarning, match="is damaged"):
            store.trained(WHAT, weights)
    assert files(tmp_path) == whole


@pytest.mark.parametrize("damage", ["cut", "flipped", "no safetensors", "other key"])
def test_a_damaged_file_is_not_used(tmp_path: Path, damage: str) -> None:
    file = tmp_path / "weights.safetensors"
    tensors = {"a": torch.arange(1000.0), "b": torch.ones(3, 2), "step": torch.tensor(7.0)}
    save_tensors(file, tensors, {"key": "k"})
    found = load_tensors(file, "k")
    assert found is not None and all(torch.equal(found[0][name], value) for name, value in tensors.items())
    if damage == "other key":
        assert load_tensors(file, "other") is None
        return
    content = bytearray(file.read_bytes())
    content[-40] ^= 1
    file.write_bytes({"cut": content[:-100], "flipped": content, "no safetensors": b"PK"}[damage])
    with pytest.warns(UserWarning, match="is damaged"):
        assert load_tensors(file, "k") is None


def test_the_cache_commands_know_trained_networks(tmp_path: Path) -> None:
    from brainbench.commands.catalog import cache_table, explain, prune

    store = NetworkStore(tmp_path / "networks")
    key, other = store.trained(WHAT, weights).key, store.trained({**WHAT, "seed": 2}, weights).key
    assert f"{key[:12]}" in cache_table(str(tmp_path)) and "trained network  a test" in cache_table(str(tmp_path))
    assert json.loads(explain(str(tmp_path), key[:8]))["seed"] == 1
    # A checkpoint may be going on; weights without their facts are a left-over.
    (store.root / "going.checkpoint.safetensors").write_bytes(b"on")
    (store.root / "lost.safetensors").write_bytes(b"lost")
    assert prune(str(tmp_path), days=None, everything=False).startswith("1 removed")
    old = store.root / f"{key}.json"
    os.utime(old, (0, 0))
    assert prune(str(tmp_path), days=1, everything=False).startswith("2 removed")
    assert [one.key for one in store.entries()] == [other] and (store.root / "going.checkpoint.safetensors").exists()
    assert prune(str(tmp_path), days=None, everything=True).startswith("3 removed")


# Classifiers --------------------------------------------------------------------------------------------------------


def linear(n_chans: int, n_outputs: int, n_times: int, width: int = 4) -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(n_chans * n_times, width), nn.Dropout(0.2), nn.Linear(width, n_outputs)
    )


def trials() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(24, 3, 8)), np.arange(24) % 2, np.arange(24) // 6


def test_the_key_changes_with_every_setting_and_with_the_data() -> None:
    X, y, groups = trials()

    def key(X: np.ndarray = X, y: np.ndarray = y, groups: np.ndarray | None = groups, **changes: object) -> str:
        return NetworkStore.key(NetworkClassifier(linear, **changes).describe_training(X, y, groups))

    other = {
        "module_params": {"width": 5}, "augment": ("time",), "n_epochs": 7, "batch_size": 5, "learning_rate": 0.1,
        "weight_decay": 0.1, "schedule": "cosine", "validation": 0.3, "patience": None, "class_weight": "balanced",
        "random_state": 1, "threads": 2, "sfreq": 100.0, "ch_names": ("C3", "C4", "Cz"), "label_swap": {0: 1, 1: 0},
        "positions": np.ones((3, 3)), "module": lambda n_chans, n_outputs, n_times: linear(n_chans, n_outputs, n_times),
    }  # fmt: skip
    elsewhere = {"checkpoint", "progress", "device"}
    assert set(other) == set(NetworkClassifier().get_params()) - elsewhere
    changed = X.copy()
    changed[0, 0, 0] += 1e-9
    found = [key(), *(key(**{name: value}) for name, value in other.items() if name != "module")]
    described = NetworkClassifier(other["module"]).describe_training(X, y, groups)
    found += [NetworkStore.key(described), key(X=changed), key(y=1 - y), key(groups=None), key(groups=groups[::-1])]
    assert len(set(found)) == len(found)
    assert key(checkpoint="elsewhere", progress=print) == found[0] == key()


def fit(folder: Path, kill_at: int, wait: float) -> None:
    """Train in a process of its own, writing down every epoch, and die after one of them."""
    loop.CHECKPOINT_S, loop.CHECKPOINT_SHARE = 0.0, np.inf

    def progress(record: dict[str, float]) -> None:
        with open(f"{folder}-{os.getpid()}", "a") as log:
            log.write(f"{record['epoch']} ")
        time.sleep(wait)
        if record["epoch"] == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    NetworkClassifier(linear, n_epochs=8, batch_size=5, checkpoint=folder, progress=progress).fit(*trials())


def start(folder: Path, kill_at: int = 0, wait: float = 0.0) -> Any:
    process = SERVER.Process(target=fit, args=(folder, kill_at, wait))
    process.start()
    return process


def epochs(folder: Path, process: Any) -> list[int]:
    """Return the epochs that a process trained, once it is gone."""
    process.join(timeout=300)
    log = Path(f"{folder}-{process.pid}")
    return [int(word) for word in log.read_text().split()] if log.exists() else []


def test_killed_at_any_moment_it_ends_as_the_same_bytes(tmp_path: Path) -> None:
    NetworkClassifier(linear, n_epochs=8, batch_size=5, checkpoint=tmp_path / "whole").fit(*trials())
    # One after the other in one folder: after the first epoch, in the middle, and before the last.
    seen = []
    for kill_at in (1, 4, 7):
        process = start(tmp_path / "killed", kill_at)
        seen.append(epochs(tmp_path / "killed", process))
        assert process.exitcode == -signal.SIGKILL
        assert [name for name in files(tmp_path / "killed") if "checkpoint" in name]
    assert seen == [[1], [2, 3, 4], [5, 6, 7]]
    NetworkClassifier(linear, n_epochs=8, batch_size=5, checkpoint=tmp_path / "killed").fit(*trials())
    assert files(tmp_path / "killed") == files(tmp_path / "whole")


def test_two_processes_train_once_and_the_one_that_waits_takes_over(tmp_path: Path) -> None:
    folder = tmp_path / "both"
    both = [start(folder, wait=0.1) for _ in range(2)]
    assert sorted(epochs(folder, process) for process in both) == [[], list(range(1, 9))]
    assert [process.exitcode for process in both] == [0, 0]
    folder = tmp_path / "dies"
    dying = start(folder, kill_at=5, wait=0.2)
    while not Path(f"{folder}-{dying.pid}").exists():
        time.sleep(0.01)
    waiting = start(folder)
    assert epochs(folder, dying) == [1, 2, 3, 4, 5] and epochs(folder, waiting) == [6, 7, 8]
    assert files(folder) == files(tmp_path / "both")
