"""Taking the network out of a run: its own tensors, under its own names, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small import go, pool, run
from torch import nn

from clbench.engine import checkpoint
from clbench.engine.export import network_of
from clbench.engine.ledger import Ledger
from clbench.errors import ClbenchError, UsageError
from clbench.nets import weights

IMAGES = ("scenario=scole", "scenario.n_tasks=2", "model=slim_resnet18")


def saved(folder: Path, state: dict[str, Any]) -> Path:
    folder.mkdir()
    checkpoint.save(folder / "checkpoint", "any", Ledger("s", "p"), state)
    return folder


def test_a_network_with_batch_statistics_answers_the_same_elsewhere(tmp_path: Path):
    images = pool(shape=(8, 8))
    r = run("strategy=ewc", "strategy.fisher_samples=2", *IMAGES, on=images)
    strategy: Any
    strategy, _ = go(r)
    tensors, _ = network_of(saved(tmp_path / "run", strategy.state_dict()))
    assert tensors.keys() == strategy.model.state_dict().keys()
    assert any(name.endswith("running_var") for name in tensors)
    weights.save(tmp_path / "w.safetensors", tensors, {})
    path = f"strategy.weights_path={tmp_path / 'w.safetensors'}"
    other: Any = run("strategy=naive", *IMAGES, path, "seed=5", on=images).strategy()
    x = images.gather("test", np.arange(6))
    for s in (strategy, other):
        s.eval()
    assert torch.equal(strategy(x), other(x))


def test_a_file_called_checkpoint_is_its_folder(tmp_path: Path):
    folder = saved(
        tmp_path / "run", {f"model.{k}": t for k, t in nn.Linear(2, 3).state_dict().items()}
    )
    for source in (folder, folder / "checkpoint"):
        assert sorted(network_of(source)[0]) == ["bias", "weight"]


def test_what_is_no_run_is_refused(tmp_path: Path):
    with pytest.raises(UsageError, match="neither a run's folder"):
        network_of(tmp_path)
    with pytest.raises(UsageError, match="has no network named"):
        network_of(saved(tmp_path / "run", {"memory": torch.ones(2), "optimizer": {}}))
    (tmp_path / "run" / "checkpoint").write_bytes(b"damaged")
    with pytest.raises(ClbenchError, match="is damaged"):
        network_of(tmp_path / "run")
