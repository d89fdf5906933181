import pytest
import torch

from brainbench.core.errors import UserError
from brainbench.networks import devices
from brainbench.networks.devices import automatic_batch, in_batches


def test_batches_are_halved_when_memory_runs_out():
    sizes = []

    def forward(rows):
        sizes.append(len(rows))
        if len(rows) > 3:
            raise RuntimeError("CUDA out of memory. Tried to allocate")
        return list(rows)

    assert [row for rows in in_batches(10, 8, forward) for row in rows] == list(range(10))
    assert sizes == [8, 4, 2, 2, 2, 2, 2]


def test_a_batch_is_computed_in_full_float32_and_settings_are_given_back():
    def settings(rows=None):
        return torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision(), torch.backends.cudnn.enabled

    torch.set_float32_matmul_precision("high")
    try:
        before = settings()
        assert list(in_batches(1, 1, settings)) == [(False, "highest", before[2])]
        assert settings() == before
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize("error", [RuntimeError("DefaultCPUAllocator: can't allocate memory"), MemoryError()])
def test_one_item_that_does_not_fit_is_explained(error):
    def forward(rows):
        raise error

    with pytest.raises(UserError, match="out of memory with a single stimulus"):
        list(in_batches(3, 2, forward))


def test_other_errors_are_raised_as_they_are():
    calls = []

    def forward(rows):
        calls.append(rows)
        raise RuntimeError("shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="multiplied"):
        list(in_batches(3, 2, forward))
    assert len(calls) == 1


def test_automatic_batch(monkeypatch):
    import psutil

    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("M", (), {"total": 1000.0})())
    assert automatic_batch(1, "cpu") == 32
    assert automatic_batch(10, "cpu") == 8  # 8 * 10 is under a tenth of 1000, 16 * 10 is not
    assert automatic_batch(1e9, "cpu") == 1


def test_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert devices.resolve_device("auto") == "cpu" == devices.resolve_device("cpu")
    for device in ("cuda", "cuda:1", "cuda:x", "tpu", ""):
        with pytest.raises(UserError, match=f"device '{device}' is not on this machine"):
            devices.resolve_device(device)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert devices.resolve_device("auto") == "cuda" and devices.resolve_device("cuda:1") == "cuda:1"
    with pytest.raises(UserError, match="here: cpu, cuda:0, cuda:1"):
        devices.resolve_device("cuda:2")
