"""The mapped pool on the accelerator: batches through pinned memory, copied while the host goes on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small import go
from small import run as small_run

from clbench.data.mapped import Decoded, FileRows, MappedPool, pool_of
from clbench.data.pixel_file import PixelFile

N, SHAPE, N_CLASSES = 4096, (3, 32, 32), 8


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Decoded:
    path = tmp_path_factory.mktemp("mapped") / "pixels.u8"
    rng = np.random.default_rng(0)
    labels = np.arange(N) % N_CLASSES
    x = rng.integers(0, 60, (N, *SHAPE)) + 24 * labels[:, None, None, None]
    path.write_bytes(x.astype(np.uint8).tobytes())
    sides = {"train": np.arange(N - 512), "test": np.arange(N - 512, N)}
    return Decoded(PixelFile(path, N, SHAPE), "generated", labels, sides, N_CLASSES)  # type: ignore[arg-type]


def test_batches_are_those_of_the_file(data: Decoded, device: torch.device):
    """With work queued on the device, so that copies are still to be made when the host goes on."""
    pool = MappedPool(data, device)
    order = np.random.default_rng(1).permutation(pool.size("train"))
    busy = torch.rand(1024, 1024, device=device)
    found = []
    for x in pool.rows("train", order).batches(64):
        assert x.device.type == device.type
        busy = busy @ busy
        busy /= busy.norm()
        found.append(x.clone())
    whole = torch.cat(found).cpu().numpy()
    assert np.array_equal(whole, data.file.rows(data.sides["train"][order]))


def test_batches_for_a_gpu_come_through_pinned_memory(
    data: Decoded, device: torch.device, monkeypatch: pytest.MonkeyPatch
):
    asked: list[bool] = []
    empty = torch.empty

    def noted(*args: object, **kwargs: object) -> torch.Tensor:
        if "pin_memory" in kwargs:
            asked.append(bool(kwargs["pin_memory"]))
        return empty(*args, **kwargs)  # type: ignore[call-overload, no-any-return]

    monkeypatch.setattr(torch, "empty", noted)
    list(FileRows(data.file, np.arange(256), device).batches(64))
    assert asked == [device.type == "cuda"] * 4


@pytest.mark.parametrize("strategy", ["naive", "er", "ewc"])
def test_a_run_has_the_bits_of_the_resident_pool(
    data: Decoded, device: torch.device, strategy: str
):
    states = []
    for mapped in (True, False):
        run = small_run(
            *("scenario=class_incremental", "scenario.n_tasks=2", f"strategy={strategy}"),
            on=pool_of(data, device, mapped),
            device=device,
        )
        learner, outcome = go(run)
        assert outcome.status == "completed", outcome.error
        tensors = {k: v for k, v in learner.state_dict().items() if isinstance(v, torch.Tensor)}
        states.append((outcome.ledger.correct, tensors))
    assert states[0][0] == states[1][0]
    assert all(torch.equal(states[0][1][k], v) for k, v in states[1][1].items())
