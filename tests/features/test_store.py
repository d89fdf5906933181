import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
import warnings

import numpy as np
import pytest

from brainbench.core.errors import UserError
from brainbench.core.files import HOST
from brainbench.features import growing as growing_module
from brainbench.features import store as store_module
from brainbench.features.store import FeatureStore, default_cache
from tests.features.counting import Counting, make_stimuli

BOTH = ["one", "two"]


def right(found, encoder, n=6):
    for layer, values in found.items():
        np.testing.assert_array_equal(values, encoder.values(layer, np.arange(n)))


def filled(root, **options):
    encoder = Counting(**options)
    FeatureStore(root).features(encoder, make_stimuli(), BOTH, "mean")
    entries = {
        layer: root / "features" / FeatureStore(root).key(encoder, make_stimuli(), layer, "mean") for layer in BOTH
    }
    assert all(path.is_dir() for path in entries.values())
    return entries


def test_all_layers_come_from_one_pass_and_a_second_call_computes_nothing(tmp_path):
    encoder, store = Counting(), FeatureStore(tmp_path)
    assert store.missing(encoder, make_stimuli(), BOTH, "mean") == BOTH
    steps = []
    found = store.features(encoder, make_stimuli(), BOTH, "mean", progress=lambda done, n: steps.append((done, n)))
    right(found, encoder)
    assert encoder.passes == [BOTH]
    assert steps == [(4, 6), (6, 6), (6, 6)]
    assert found["one"].dtype == np.float32 and not found["one"].flags.writeable
    for again in (store, FeatureStore(tmp_path)):
        right(again.features(encoder, make_stimuli(), BOTH, "mean"), encoder)
    assert encoder.passes == [BOTH]
    assert store.missing(encoder, make_stimuli(), BOTH, "mean") == []


def test_missing_layers_alone_are_computed(tmp_path):
    encoder, store = Counting(), FeatureStore(tmp_path)
    store.features(encoder, make_stimuli(), ["two"], "mean")
    right(store.features(encoder, make_stimuli(), BOTH, "mean"), encoder)
    assert encoder.passes == [["two"], ["one"]]


def test_names_batches_and_order_of_layers_are_no_part_of_the_key(tmp_path):
    store = FeatureStore(tmp_path)
    store.features(Counting(), make_stimuli(), BOTH, "mean")
    other = Counting(name="renamed", batch=1)
    found = store.features(other, make_stimuli(), ["two", "one"], "mean")
    assert other.passes == [] and list(found) == ["two", "one"]


def keys():
    """The key of one entry after each change that must make another entry."""
    store = FeatureStore("nowhere")
    plain = Counting()
    on_gpu = Counting()
    on_gpu.device = "cuda:1"
    reordered = make_stimuli()
    reordered = type(reordered)(
        ids=reordered.ids, modality="text", load=reordered.load, content_digests=reordered.content_digests[::-1]
    )
    return {
        "nothing": store.key(plain, make_stimuli(), "one", "mean"),
        "setting": store.key(Counting(setting=0.1), make_stimuli(), "one", "mean"),
        "width": store.key(Counting(width=4), make_stimuli(), "one", "mean"),
        "content": store.key(plain, make_stimuli(change="!"), "one", "mean"),
        "order": store.key(plain, reordered, "one", "mean"),
        "number": store.key(plain, make_stimuli(5), "one", "mean"),
        "layer": store.key(plain, make_stimuli(), "two", "mean"),
        "pool": store.key(plain, make_stimuli(), "one", "cls"),
        "device": store.key(on_gpu, make_stimuli(), "one", "mean"),
    }


def test_a_changed_setting_changes_the_key(tmp_path, monkeypatch):
    found = keys()
    assert len(set(found.values())) == len(found)
    assert keys() == found
    second_gpu = Counting()
    second_gpu.device = "cuda:0"
    assert FeatureStore("nowhere").key(second_gpu, make_stimuli(), "one", "mean") == found["device"]
    monkeypatch.setattr(store_module, "SCHEMA", 999)
    assert not set(keys().values()) & set(found.values())


def damage_flip(entry):
    path = entry / "features.npy"
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)


def damage_truncate(entry):
    os.truncate(entry / "features.npy", 130)


def damage_empty(entry):
    (entry / "features.npy").write_bytes(b"")


def damage_no_manifest(entry):
    (entry / "manifest.json").unlink()


def damage_no_features(entry):
    (entry / "features.npy").unlink()


def damage_manifest(entry):
    (entry / "manifest.json").write_text('{"sha256": "0')


def damage_manifest_bytes(entry):
    (entry / "manifest.json").write_bytes(b"\xff\xfe\x00binary")


def damage_manifest_list(entry):
    (entry / "manifest.json").write_text("[]")


DAMAGES = [value for name, value in dict(globals()).items() if name.startswith("damage_")]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_entry_is_computed_again_and_never_served(tmp_path, damage):
    entries = filled(tmp_path)
    damage(entries["two"])
    encoder, store = Counting(), FeatureStore(tmp_path)
    with pytest.warns(UserWarning, match=f"{entries['two'].name}.*damaged.*computed again"):
        found = store.features(encoder, make_stimuli(), BOTH, "mean")
    right(found, encoder)
    assert encoder.passes == [["two"]]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        right(FeatureStore(tmp_path).features(encoder, make_stimuli(), BOTH, "mean"), encoder)
    assert encoder.passes == [["two"]]


def test_damage_after_the_first_look_is_seen_too(tmp_path):
    encoder, store = Counting(), FeatureStore(tmp_path)
    store.features(encoder, make_stimuli(), BOTH, "mean")
    entry = tmp_path / "features" / store.key(encoder, make_stimuli(), "one", "mean")
    damage_flip(entry)
    os.utime(entry / "features.npy", ns=(1, 1))
    with pytest.warns(UserWarning, match="damaged"):
        right(store.features(encoder, make_stimuli(), BOTH, "mean"), encoder)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_housekeeping_survives_damage(tmp_path, damage):
    entries = filled(tmp_path)
    damage(entries["two"])
    store = FeatureStore(tmp_path)
    assert entries["one"].name in [entry.key for entry in store.entries()]
    assert json.loads(store.explain(entries["one"].name))["made_of"]["layer"] == "one"
    store.prune(everything=True)
    assert not entries["one"].exists() and not entries["two"].exists()


def test_features_that_are_not_finite_are_refused_by_stimulus(tmp_path):
    class Broken(Counting):
        def values(self, layer, rows):
            out = super().values(layer, rows)
            out[rows == 5] = np.nan
            return out

    with pytest.raises(UserError, match="layer 'one': features of stimulus 's5' are not finite"):
        FeatureStore(tmp_path).features(Broken(), make_stimuli(), BOTH, "mean")
    assert list((tmp_path / "features").iterdir()) == []


def test_a_width_that_changes_between_batches_is_refused(tmp_path):
    class Growing(Counting):
        def values(self, layer, rows):
            return np.ones((len(rows), 3 + int(rows[0] > 0)), np.float32)

    with pytest.raises(UserError, match="stimulus 's4' gives 4 features, those before it 3"):
        FeatureStore(tmp_path).features(Growing(), make_stimuli(), BOTH, "mean")
    assert list((tmp_path / "features").iterdir()) == []


def test_an_encoder_that_stops_early_leaves_nothing(tmp_path):
    class Short(Counting):
        def encode(self, stimuli, layers, pool):
            yield next(super().encode(stimuli, layers, pool))

    with pytest.raises(RuntimeError, match="gave 4 rows for 6 stimuli"):
        FeatureStore(tmp_path).features(Short(), make_stimuli(), BOTH, "mean")
    assert list((tmp_path / "features").iterdir()) == []


class Failing:
    """A file whose disk fails on the second write."""

    def __init__(self, handle, number):
        self.handle, self.number, self.writes = handle, number, 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.handle.close()

    def close(self):
        self.handle.close()

    def write(self, data):
        self.writes += 1
        if self.writes > 1:
            raise OSError(self.number, os.strerror(self.number))
        return self.handle.write(data)


def test_a_full_disk_is_explained_and_nothing_half_written_stays(tmp_path, monkeypatch):
    real = open

    def full(path, mode="r", *args, **options):
        handle = real(path, mode, *args, **options)
        return Failing(handle, errno.ENOSPC) if str(path).endswith(".npy") and mode == "wb" else handle

    monkeypatch.setattr(growing_module, "open", full, raising=False)
    with pytest.raises(UserError, match=re.escape(f"no space left on the disk that holds {tmp_path / 'growing'}")):
        FeatureStore(tmp_path).features(Counting(), make_stimuli(), BOTH, "mean")
    assert list((tmp_path / "features").iterdir()) == list((tmp_path / "growing").iterdir()) == []
    monkeypatch.undo()
    encoder = Counting()
    right(FeatureStore(tmp_path).features(encoder, make_stimuli(), BOTH, "mean"), encoder)


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch, number):
    def refuse(self, *_, **__):
        raise OSError(number, os.strerror(number), str(self))

    monkeypatch.setattr(store_module.Path, "mkdir", refuse)
    with pytest.raises(UserError, match=f"{re.escape(str(tmp_path))}.* cannot be written") as caught:
        FeatureStore(tmp_path).features(Counting(), make_stimuli(), BOTH, "mean")
    assert "BRAINBENCH_CACHE" in str(caught.value)


def test_what_is_stored_is_read_from_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    filled(tmp_path)

    def refuse(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    for name in ("mkdir", "unlink", "rename", "touch"):
        monkeypatch.setattr(store_module.Path, name, refuse)
    monkeypatch.setattr(store_module.os, "utime", refuse)
    encoder = Counting()
    right(FeatureStore(tmp_path).features(encoder, make_stimuli(), BOTH, "mean"), encoder)
    assert encoder.passes == []


# Processes ---------------------------------------------------------------------------------------------------------


def process(root, log, wait=0.02):
    command = [sys.executable, "-m", "tests.features.counting", str(root), str(log), str(wait)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_two_processes_get_right_values_and_compute_once(tmp_path):
    log = tmp_path / "log"
    both = [process(tmp_path / "cache", log, wait=0.1) for _ in range(2)]
    for one in both:
        out, err = one.communicate(timeout=60)
        assert out == "right\n", err
    assert log.read_text() == "pass\n"


def test_the_successor_of_a_killed_process_goes_on_where_it_stopped(tmp_path):
    log, cache = tmp_path / "log", tmp_path / "cache"
    one = process(cache, log, wait=0.4)
    give_up = time.monotonic() + 30
    while noted(cache) < 8 and time.monotonic() < give_up:
        time.sleep(0.02)
    store = FeatureStore(cache)
    assert store.prune(everything=True) == [], "what is being computed was taken away"
    os.kill(one.pid, signal.SIGKILL)
    one.communicate()
    before = noted(cache)
    assert 8 <= before < 40 and store.entries() == []

    class Rest(Counting):
        __qualname__ = "Counting"  # the name is part of the key

        def encode_rest(self, stimuli, layers, pool, done):
            self.done = done
            return super().encode_rest(stimuli, layers, pool, done)

    encoder = Rest()
    right(store.features(encoder, make_stimuli(40), BOTH, "mean"), encoder, n=40)
    assert encoder.done == before and encoder.passes == [BOTH]
    assert not list(cache.rglob(".tmp-*")) and not list((cache / "growing").iterdir())


def noted(cache):
    """Rows that a process has written down."""
    found = [json.loads(path.read_text())["rows"] for path in cache.glob("growing/*/progress.json")]
    return found[0] if found else 0


@pytest.mark.parametrize("harm", ["bytes", "short", "note", "other"])
def test_half_computed_features_that_were_changed_are_begun_again(tmp_path, monkeypatch, harm):
    monkeypatch.setattr(growing_module, "EVERY_S", 0.0)

    class Stopped(Counting):
        __qualname__ = "Counting"

        def encode(self, stimuli, layers, pool):
            yield next(super().encode(stimuli, layers, pool))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        FeatureStore(tmp_path).features(Stopped(), make_stimuli(), BOTH, "mean")
    assert noted(tmp_path) == 4
    (folder,) = (tmp_path / "growing").iterdir()
    file = sorted(folder.glob("*.npy"))[0]
    raw = file.read_bytes()
    if harm == "bytes":
        file.write_bytes(raw[:-1] + b"x")
    elif harm == "short":
        file.write_bytes(raw[:-8])
    elif harm == "note":
        (folder / "progress.json").write_text("{")
    encoder = Counting(setting=1.0 if harm == "other" else 0.0)
    right(FeatureStore(tmp_path).features(encoder, make_stimuli(), BOTH, "mean"), encoder)
    assert len(FeatureStore(tmp_path).prune()) == (harm == "other")


def test_ten_thousand_stimuli_stream_in_bounded_memory(tmp_path):
    encoder, n = Counting(width=512, batch=100), 10_000
    stimuli = make_stimuli(n)
    tracemalloc.start()
    found = FeatureStore(tmp_path).features(encoder, stimuli, ["one"], "mean")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found["one"].shape == (n, 512) and found["one"].nbytes == 20_480_000
    np.testing.assert_array_equal(found["one"][::1111], encoder.values("one", np.arange(0, n, 1111)))
    assert peak < 6e6


# Housekeeping ------------------------------------------------------------------------------------------------------


def test_entries_and_explain(tmp_path):
    entries, store = filled(tmp_path), FeatureStore(tmp_path)
    shown = store.entries()
    assert {entry.key for entry in shown} == {path.name for path in entries.values()}
    assert {(entry.encoder, entry.layer) for entry in shown} == {("counting", "one"), ("counting", "two")}
    assert all(entry.n_bytes == 128 + 6 * 3 * 4 for entry in shown)
    facts = json.loads(store.explain(entries["two"].name[:12]))
    assert facts["made_of"]["layer"] == "two" and facts["made_of"]["parameters"] == {"setting": 0.0, "width": 3}
    assert facts["shape"] == [6, 3] and facts["stimuli"] == "test"
    with pytest.raises(UserError, match="no entry begins with 'zz'"):
        store.explain("zz")
    with pytest.raises(UserError, match="2 entries"):
        store.explain("")


def test_prune_by_age_and_all(tmp_path):
    entries, store = filled(tmp_path), FeatureStore(tmp_path)
    day = 86400
    os.utime(entries["one"] / "manifest.json", (time.time() - 10 * day,) * 2)
    assert store.prune() == []
    assert store.prune(keep_days=30) == []
    assert store.prune(keep_days=5) == [entries["one"]]
    assert [entry.layer for entry in store.entries()] == ["two"]
    assert store.prune(everything=True) == [entries["two"]]
    assert store.entries() == [] and store.prune(everything=True) == []
    assert FeatureStore(tmp_path / "nothing").prune(everything=True) == []


def test_use_keeps_an_entry_young(tmp_path):
    entries = filled(tmp_path)
    for entry in entries.values():
        os.utime(entry / "manifest.json", (1, 1))
    FeatureStore(tmp_path).features(Counting(), make_stimuli(), ["one"], "mean")
    assert FeatureStore(tmp_path).prune(keep_days=1) == [entries["two"]]


def test_prune_spares_what_is_being_written(tmp_path):
    filled(tmp_path)
    mine = tmp_path / "features" / f".tmp-{HOST}-{os.getpid()}-abc"
    mine.mkdir()
    FeatureStore(tmp_path).prune(everything=True)
    assert mine.exists()


def test_default_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BRAINBENCH_CACHE", str(tmp_path / "a"))
    assert default_cache(None) == tmp_path / "a"
    assert default_cache(str(tmp_path / "b")) == tmp_path / "b"
    monkeypatch.delenv("BRAINBENCH_CACHE")
    assert default_cache(None).name == "brainbench"


def test_an_exchanged_entry_is_computed_again(tmp_path):
    entries = filled(tmp_path)
    entries["one"].rename(tmp_path / "aside")
    shutil.copytree(entries["two"], entries["one"])
    encoder = Counting()
    with pytest.warns(UserWarning, match="another key.*computed again"):
        right(FeatureStore(tmp_path).features(encoder, make_stimuli(), BOTH, "mean"), encoder)
    assert encoder.passes == [["one"]]


def test_prune_removes_entries_and_nothing_else(tmp_path):
    entries = filled(tmp_path)
    mine = [tmp_path / "features" / "stories" / "a.csv", entries["two"] / "notes.txt"]
    mine[0].parent.mkdir()
    for path in mine:
        path.write_text("x")
    assert FeatureStore(tmp_path).prune(everything=True) == [entries["one"]]
    assert all(path.read_text() == "x" for path in mine)
