"""What a GPU makes of ridge, extraction and training, beside our own CPU and himalaya on the same GPU; and equal to it.

    python benchmarks/gpu.py [--part ridge|extract|train] [--install | --wheels FOLDER] [--rehearse]

Uses what the environment has (torch at least) and installs nothing unless told to. Every line says the seconds on the
GPU, how many times longer the CPU and himalaya take, the peak of the GPU's memory, and the largest difference from the
CPU's result relative to its size; a comparison that cannot be made says why. Exit code 1 if results that were compared
differ by more than 1e-4. Without a GPU it says so and ends. `--rehearse` runs the same code small, on the CPU.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

WITHIN = 1e-4
"""Largest difference of two results, relative to the size of the larger, that counts as equal."""
PEERS = ("himalaya", "timm", "braindecode", "diffusers")
REGRET = 1e-4
"""Most R2 that penalties may lose against those that the CPU chose: two of them may predict equally well."""


class Bench:
    """Times calls on one device, and remembers whether anything was unequal.

    Parameters
    ----------
    device : str
    small : bool
        Sizes of a rehearsal.
    """

    def __init__(self, device: str, small: bool) -> None:
        self.device, self.small, self.unequal = device, small, 0

    def sized(self, full: int, rehearsed: int) -> int:
        """Return a size."""
        return rehearsed if self.small else full

    def timed(self, call: Callable[[], Any]) -> tuple[Any, float, float]:
        """Return a call's result, the seconds of its second run, and the peak of the GPU's memory in MB."""
        call()
        cuda = self.device.startswith("cuda")
        if cuda:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        start = time.perf_counter()
        out = call()
        if cuda:
            torch.cuda.synchronize()
        return out, time.perf_counter() - start, torch.cuda.max_memory_allocated() / 1e6 if cuda else 0.0

    def line(self, name: str, ours: float, peak: float, others: dict[str, float], apart: float, most: float) -> None:
        """Print one comparison."""
        self.unequal += not apart <= most
        ratios = "  ".join(f"{other} {seconds / ours:6.1f}x" for other, seconds in others.items())
        verdict = "equal" if apart <= most else f"UNEQUAL (more than {most:g})"
        print(f"{name:26} {ours:8.3f} s  {ratios:32} peak {peak:7.0f} MB  apart {apart:.1e}: {verdict}", flush=True)

    def skip(self, name: str, why: str) -> None:
        """Print what was not compared."""
        print(f"{name:26} skipped: {why}", flush=True)


def apart(a: Any, b: Any) -> float:
    """Return the largest difference of two results relative to the largest value."""
    a, b = (np.asarray(torch.as_tensor(one).detach().cpu(), dtype=np.float64) for one in (a, b))
    return float(np.abs(a - b).max() / max(float(np.abs(b).max()), 1e-300))


# Ridge ------------------------------------------------------------------------------------------------------------


def ridge(bench: Bench) -> None:
    """Compare ridge, banded ridge and the null."""
    from brainbench.heads import BandedRidgeCV, RidgeCV

    rng = np.random.default_rng(0)
    alphas = np.logspace(-1, 5, 20)
    for name, n, p in (("ridge, n > p", bench.sized(3000, 200), 768), ("ridge, n < p", bench.sized(1500, 100), 3000)):
        p = bench.sized(p, p // 10)
        X, Y = _problem(rng, n, p, bench.sized(20_000, 300))
        ours, seconds, peak = bench.timed(lambda X=X, Y=Y: RidgeCV(alphas=alphas).fit(*_on(bench, X, Y)))
        start = time.perf_counter()
        known = RidgeCV(alphas=alphas).fit(X, Y)
        others = {"CPU": time.perf_counter() - start} | _himalaya_ridge(bench, X, Y, alphas, kernel=n < p)
        bench.line(name, seconds, peak, others, _regret(ours.cv_scores_, known.cv_scores_), REGRET)
    n, p, t = bench.sized(1000, 120), bench.sized(1500, 60), bench.sized(5000, 100)
    X, Y = _problem(rng, n, p, t)
    bands = [slice(0, p // 2), slice(p // 2, p)]
    make = partial(BandedRidgeCV, bands=bands, alphas=alphas)
    ours, seconds, peak = bench.timed(lambda: make().fit(*_on(bench, X, Y)))
    start = time.perf_counter()
    known = make().fit(X, Y)
    others = {"CPU": time.perf_counter() - start} | _himalaya_banded(bench, X, Y, bands, alphas, len(make().mixtures()))
    regret = _regret(_flat(ours.cv_scores_), _flat(known.cv_scores_))
    bench.line("banded ridge", seconds, peak, others, regret, REGRET)
    bench.skip("null", "labels and responses are exchanged and refitted on the CPU only")


def _problem(rng: np.random.Generator, n: int, p: int, t: int) -> tuple[np.ndarray, np.ndarray]:
    X = rng.standard_normal((n, p)).astype(np.float32)
    Y = X[:, :50] @ rng.standard_normal((50, t)).astype(np.float32) / 7
    return X, rng.uniform(0, 1, t).astype(np.float32) * Y + rng.standard_normal((n, t)).astype(np.float32)


def _on(bench: Bench, *arrays: np.ndarray) -> list[torch.Tensor]:
    return [torch.from_numpy(one).to(bench.device) for one in arrays]


def _flat(scores: Any) -> Any:
    return scores.reshape(-1, scores.shape[-1])


def _regret(ours: Any, known: np.ndarray) -> float:
    """Return the most that a target loses, by the CPU's scores, where the GPU chose another penalty."""
    chosen = np.asarray(torch.as_tensor(ours).cpu()).argmax(axis=0)
    return float((known.max(axis=0) - known[chosen, np.arange(known.shape[1])]).max())


def _himalaya_ridge(
    bench: Bench, X: np.ndarray, Y: np.ndarray, alphas: np.ndarray, *, kernel: bool
) -> dict[str, float]:
    if find_spec("himalaya") is None:
        return {}
    from himalaya.backend import set_backend
    from himalaya.kernel_ridge import KernelRidgeCV
    from himalaya.ridge import RidgeCV
    from himalaya.scoring import r2_score

    backend = set_backend("torch_cuda" if bench.device.startswith("cuda") else "torch")
    x, y, a = (backend.asarray(one.astype(np.float32)) for one in (X, Y, alphas))
    params = {"score_func": r2_score} | ({} if kernel else {"warn": False})
    make = KernelRidgeCV if kernel else RidgeCV
    return {"himalaya": bench.timed(lambda: make(alphas=a, cv=5, solver_params=params).fit(x, y))[1]}


def _himalaya_banded(
    bench: Bench, X: np.ndarray, Y: np.ndarray, bands: Sequence[slice], alphas: np.ndarray, n_mixtures: int
) -> dict[str, float]:
    if find_spec("himalaya") is None:
        return {}
    from himalaya.backend import set_backend
    from himalaya.kernel_ridge import MultipleKernelRidgeCV

    backend = set_backend("torch_cuda" if bench.device.startswith("cuda") else "torch")
    kernels = backend.asarray(np.stack([X[:, band] @ X[:, band].T for band in bands]))
    y, params = backend.asarray(Y), {"n_iter": n_mixtures, "alphas": alphas, "progress_bar": False}
    head = partial(MultipleKernelRidgeCV, kernels="precomputed", solver_params=params, cv=5, random_state=0)
    return {"himalaya": bench.timed(lambda: head().fit(kernels, y))[1]}


# Extraction -------------------------------------------------------------------------------------------------------


def extract(bench: Bench) -> None:
    """Compare all layers of ViT-B, from pixels to the store."""
    name = "all layers of ViT-B"
    if find_spec("timm") is None:
        return bench.skip(name, "timm is not installed")
    from brainbench.core.digests import digest_array
    from brainbench.data.base import Stimuli
    from brainbench.encoders.base import open_encoder
    from brainbench.features.store import FeatureStore
    from brainbench.recipes.encoders import encoder_settings

    model = "vit_tiny_patch16_224" if bench.small else "vit_base_patch16_224"
    settings = encoder_settings({"name": "x", "family": "image", "model": model, "weights": "random"})
    images = np.random.default_rng(0).integers(0, 256, (bench.sized(256, 4), 224, 224, 3), dtype=np.uint8)
    few = bench.sized(16, 4)

    def features(device: str, n: int) -> tuple[Callable[[], dict[str, np.ndarray]], list[str]]:
        encoder = open_encoder(settings, device=device)
        digests = [digest_array(one) for one in images[:n]]
        stimuli = Stimuli([f"i{i}" for i in range(n)], "image", load=images.__getitem__, content_digests=digests)
        layers = [layer.name for layer in encoder.layers()]

        def call() -> dict[str, np.ndarray]:
            with tempfile.TemporaryDirectory() as folder:
                found = FeatureStore(Path(folder)).features(encoder, stimuli, layers, "mean")
                return {layer: np.array(values) for layer, values in found.items()}

        return call, layers

    call, layers = features(bench.device, len(images))
    ours, seconds, peak = bench.timed(call)
    start = time.perf_counter()
    known = features("cpu", few)[0]()
    cpu = (time.perf_counter() - start) * len(images) / few
    difference = max(apart(ours[layer][:few], known[layer]) for layer in layers)
    print(f"{'':26} {len(layers)} layers, {len(images) / seconds:.0f} images a second; the CPU did {few} of them")
    bench.line(name, seconds, peak, {"CPU": cpu}, difference, WITHIN)
    return None


# Training ---------------------------------------------------------------------------------------------------------


def train(bench: Bench) -> None:
    """Compare EEGNet and the small diffusion network: an epoch's time, and one step's loss and gradients."""
    _train_eegnet(bench)
    _train_small(bench)


def _train_eegnet(bench: Bench) -> None:
    if find_spec("braindecode") is None:
        return bench.skip("EEGNet, two epochs", "braindecode is not installed")
    from brainbench.networks.classifiers import NetworkClassifier

    rng = np.random.default_rng(0)
    X = rng.standard_normal((bench.sized(2000, 64), 64, bench.sized(480, 160))).astype(np.float32)
    y = rng.integers(0, 2, len(X))

    def fitted(device: str) -> Any:
        return NetworkClassifier("braindecode.EEGNet", n_epochs=2, validation=0, device=device, sfreq=160.0).fit(X, y)

    _, seconds, peak = bench.timed(lambda: fitted(bench.device))
    start = time.perf_counter()
    network = fitted("cpu").network_.eval()  # dropout draws other numbers on a GPU
    cpu = time.perf_counter() - start
    batch = (torch.from_numpy(X[:64]), torch.from_numpy(y[:64]))
    known = _step(network, torch.nn.functional.cross_entropy, batch, "cpu")
    found = _step(network, torch.nn.functional.cross_entropy, batch, bench.device)
    bench.line("EEGNet, two epochs", seconds, peak, {"CPU": cpu}, apart(found, known), WITHIN)
    return None


def _step(
    network: torch.nn.Module, loss: Callable[..., torch.Tensor], batch: Sequence[torch.Tensor], device: str
) -> Any:
    """Return the loss of a batch and the gradient of every weight, in a row."""
    network.to(device)
    network.zero_grad()
    *inputs, truth = (one.to(device) for one in batch)
    value = loss(network(*inputs), truth)
    value.backward()
    gradients = [one.grad.flatten() for one in network.parameters() if one.grad is not None]
    found = torch.cat([value.detach().reshape(1), *gradients]).cpu()
    network.to("cpu")
    return found


def _train_small(bench: Bench) -> None:
    if find_spec("diffusers") is None:
        return bench.skip("small, 100 steps", "diffusers is not installed")
    from brainbench.networks.options import of_small
    from brainbench.networks.training import train as train_network
    from brainbench.networks.weights import seeded
    from brainbench.recipes.reconstruction import SmallSettings
    from brainbench.reconstruction.generators.small import SmallNetwork
    from brainbench.reconstruction.generators.small_training import NoisyImages, velocity_error

    steps, side, width = bench.sized(100, 4), bench.sized(64, 16), bench.sized(64, 8)
    settings = SmallSettings(name="small", train_steps=steps, batch_size=bench.sized(64, 4))
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.uniform(-1, 1, (256, 3, side, side)).astype(np.float32))
    features = torch.from_numpy(rng.standard_normal((256, 32)).astype(np.float32))

    def drawn(device: str, training: Any) -> NoisyImages:
        return NoisyImages(images.to(device), features.to(device), torch.zeros(32, device=device), 0.1, training)

    def trained(device: str) -> None:
        training = of_small(settings, seed=0, device=device)
        with seeded(0):
            network = SmallNetwork(side, 3, 32, width)
        train_network(network.to(device), drawn(device, training), velocity_error, training)

    _, seconds, peak = bench.timed(lambda: trained(bench.device))
    start = time.perf_counter()
    few = steps if bench.small else 4
    settings = settings.model_copy(update={"train_steps": few})
    trained("cpu")
    cpu = (time.perf_counter() - start) * steps / few
    with seeded(0):
        network = SmallNetwork(side, 3, 32, width).eval()
    (_, batch), *_ = drawn("cpu", of_small(settings, seed=0, device="cpu"))(0, 0)
    known = _step(network, torch.nn.functional.mse_loss, batch, "cpu")
    found = _step(network, torch.nn.functional.mse_loss, batch, bench.device)
    bench.line(f"small, {steps} steps", seconds, peak, {"CPU": cpu}, apart(found, known), WITHIN)
    return None


PARTS = {"ridge": ridge, "extract": extract, "train": train}


def install(wheels: Path | None) -> None:
    """Install the peers that are missing, from the index or from a folder of wheels."""
    missing = [name for name in PEERS if find_spec(name) is None]
    if missing:
        source = [] if wheels is None else ["--no-index", "--find-links", str(wheels)]
        subprocess.run([sys.executable, "-m", "pip", "install", *source, *missing], check=True)


def main() -> None:
    """Print one line a comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", action="append", choices=list(PARTS))
    parser.add_argument("--install", action="store_true", help="install the peers that are missing, with pip")
    parser.add_argument("--wheels", type=Path, help="install them from this folder, without the network")
    parser.add_argument("--rehearse", action="store_true", help="run everything on the CPU with small sizes")
    options = parser.parse_args()
    if options.install or options.wheels is not None:
        install(options.wheels)
    if not torch.cuda.is_available() and not options.rehearse:
        print("no GPU: PyTorch finds no CUDA device here, and nothing was compared")
        return
    device = "cpu" if options.rehearse else "cuda"
    print(f"{'CPU, a rehearsal' if options.rehearse else torch.cuda.get_device_name()}; torch {torch.__version__}")
    if find_spec("himalaya") is None:
        print(f"{'himalaya':26} skipped: not installed (--install, or --wheels FOLDER)")
    bench = Bench(device, options.rehearse)
    for name in options.part or PARTS:
        start = time.perf_counter()
        PARTS[name](bench)
        print(f"part {name}: {time.perf_counter() - start:.0f} s", flush=True)
    sys.exit(1 if bench.unequal else 0)


if __name__ == "__main__":
    main()
