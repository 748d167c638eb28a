"""Whole runs on the accelerator: repeatable, resumable, and as good as on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import small
import torch

from clbench.configure.config import resolve_point
from clbench.engine.build import prepare
from clbench.engine.execute import Options, execute
from clbench.results.record import Record

STREAM = (
    *("scenario=scole", "scenario.n_tasks=12", "scenario.share=0.5", "data=digits"),
    *("checkpoint_seconds=0",),
)
STRATEGIES = ("naive", "er", "derpp", "ewc", "lwf", "slda", "continual_backprop", "gdumb")


def record(out: Path, device: torch.device | str, *words: str) -> Record:
    [point] = small.sweep([*STREAM, *words, f"device={device}"])
    found = execute(prepare(resolve_point(point)), Options(out, True, quiet=True, curve=False))[0]
    assert found.status == "completed", found.error
    return found


def accuracy(record: Record) -> float:
    """On the whole world, at the end."""
    correct, cells = record.counts["correct"], record.counts["cells"]
    return float(sum(correct[-1]) / sum(cell["size"] for cell in cells))


@pytest.mark.parametrize("model", ["mlp", "resnet32"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_run_repeats_bit_for_bit(tmp_path: Path, device: torch.device, strategy: str, model: str):
    words = [f"strategy={strategy}", f"model={model}"]
    words += ["scenario.n_tasks=4"] if model == "resnet32" else []
    one, two = (record(tmp_path / name, device, *words) for name in ("one", "two"))
    assert one.predictions_sha256 == two.predictions_sha256


@pytest.mark.parametrize("precision", ["float32", "bf16", "fp16"])
@pytest.mark.parametrize("strategy", ["naive", "er", "ewc"])
def test_a_run_resumes_bit_for_bit(
    tmp_path: Path, device: torch.device, strategy: str, precision: str
):
    words = (f"strategy={strategy}", f"precision={precision}", "strategy.optimizer=adam")
    whole = record(tmp_path / "whole", device, *words)
    record(tmp_path / "parts", device, *words, "max_tasks=5")
    parts = record(tmp_path / "parts", device, *words)
    assert whole.predictions_sha256 == parts.predictions_sha256


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_record_is_that_of_the_cpu_within_tolerance(
    tmp_path: Path, device: torch.device, strategy: str
):
    """The stream is the same to the bit; accuracies differ by rounding, which training amplifies."""
    there = record(tmp_path / "there", device, f"strategy={strategy}")
    here = record(tmp_path / "here", "cpu", f"strategy={strategy}")
    assert there.stream == here.stream
    assert there.cost["updates"] == here.cost["updates"]
    assert there.cost["train_flops"] == pytest.approx(here.cost["train_flops"], rel=0.01)
    assert there.cost["state_bytes"] == pytest.approx(here.cost["state_bytes"], rel=0.01)
    assert abs(accuracy(there) - accuracy(here)) <= 0.05


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_learns_as_well(tmp_path: Path, device: torch.device, precision: str):
    words = ("strategy=er", "strategy.lr=0.05")
    whole = record(tmp_path / "whole", device, *words)
    half = record(tmp_path / "half", device, *words, f"precision={precision}")
    assert abs(accuracy(whole) - accuracy(half)) <= 0.1


def test_a_compiled_run_resumes(tmp_path: Path, device: torch.device):
    words: tuple[Any, ...] = ("strategy=naive", "model=resnet32", "compile=true")
    words += ("scenario.n_tasks=4",)
    whole = record(tmp_path / "whole", device, *words)
    assert not any("compile" in line for line in whole.warnings)
    record(tmp_path / "parts", device, *words, "max_tasks=2")
    torch.compiler.reset()
    assert record(tmp_path / "parts", device, *words).predictions_sha256 == whole.predictions_sha256
