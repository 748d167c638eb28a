"""The ledger: the counts of a run so far, the part of a checkpoint beside the strategy's state."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from clbench.engine.online import OnlineLedger

LARGEST_LEAF = 1024
"""Largest size of a non-tensor in a state dict; memory must be in tensors, where it is counted."""


@dataclass
class Ledger:
    """The counts that the harness collects; plain data, so that a checkpoint needs no pickle."""

    stream_sha256: str
    predictions_sha256: str
    started: str = ""
    """When the first session began, in ISO 8601; a run that was resumed has several."""
    experiences: int = 0
    """Experiences that have gone by: learnt, unless ``label_delay`` or ``realtime`` is set."""
    task_end: list[int] = field(default_factory=list)
    """For each finished task, the number of experiences learned by then."""
    first_seen: list[int] = field(default_factory=list)
    """``(C,)``: experiences learned when each cell's class had come; -1: not yet."""
    evaluated_after: list[int] = field(default_factory=list)
    samples_at: list[int] = field(default_factory=list)
    """Training samples delivered before each evaluation."""
    correct: list[list[int]] = field(default_factory=list)
    """``(E, C)``: correct predictions per evaluation and cell."""
    answers: dict[str, Any] = field(default_factory=dict)
    """Answers by class at the last evaluation before it was written; empty: none, or too many."""
    factors: list[list[int]] = field(default_factory=list)
    """``(E, B)``: correct predictions per evaluation and bracket, if factors are known."""
    world_accuracy: list[float] = field(default_factory=list)
    """``(E,)`` in [0, 1]"""
    diagnostics: dict[str, list[float | None]] = field(default_factory=dict)
    samples: int = 0
    """Training samples delivered."""
    updates: int = 0
    """Optimizer steps."""
    train_seconds: float = 0.0
    """Training seconds of the experiences without counted operations."""
    timed_samples: int = 0
    """Samples of those experiences."""
    predict_seconds: float = 0.0
    harness_seconds: float = 0.0
    prepares: int = 0
    """Calls of ``prepare``."""
    prepare_seconds: float = 0.0
    """Seconds of the calls of ``prepare`` without counted operations."""
    timed_prepares: int = 0
    """The number of those calls."""
    counted_prepare_seconds: float = 0.0
    """Seconds of the others."""
    learned: list[tuple[int, int, int, int, bool]] = field(default_factory=list)
    """``counting.Counted`` of the calls of ``learn`` that were counted, by samples."""
    prepared: list[tuple[int, int, int, int, bool]] = field(default_factory=list)
    """Likewise of ``prepare``, by calls; a last call that only the end asks for is not in it."""
    prepared_last: list[int] = field(default_factory=list)
    """Operations and updates of that last call; empty before it."""
    prepare_updates: int = 0
    """Optimizer steps in all calls of ``prepare``."""
    predicted: list[tuple[int, int, int, int, bool]] = field(default_factory=list)
    """Likewise of evaluations, by evaluations."""
    uncounted: list[str] = field(default_factory=list)
    """Expensive operators without a FLOP formula."""
    state_bytes: int = 0
    memory_bytes: int = 0
    encoded: int = 0
    """Transformed samples that a frozen encoder encoded for this run."""
    warnings: list[str] = field(default_factory=list)
    """Warnings of the strategy, each once."""
    online: OnlineLedger = field(default_factory=OnlineLedger)
    """Of ``prequential`` and ``realtime``; empty without them."""

    def warn(self, message: str | None) -> None:
        """Add a warning if it is new."""
        if message is not None and message not in self.warnings:
            self.warnings.append(message)

    def evaluated(
        self, correct: list[int], answers: bytes, accuracy: float, diagnostics: dict[str, float]
    ) -> None:
        """Add one evaluation."""
        self.correct.append(correct)
        self.evaluated_after.append(self.experiences)
        self.samples_at.append(self.samples)
        self.world_accuracy.append(accuracy)
        chained = self.predictions_sha256.encode() + self.stream_sha256.encode() + answers
        self.predictions_sha256 = hashlib.sha256(chained).hexdigest()
        for name in {**self.diagnostics, **diagnostics}:
            series = self.diagnostics.setdefault(name, [None] * (len(self.correct) - 1))
            value = diagnostics.get(name)
            series.append(None if value is None or not np.isfinite(value) else value)

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain data."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Ledger:
        """Convert from plain data."""
        online = OnlineLedger.from_dict(data.get("online", {}))  # checkpoints may be older than it
        return cls(**{**data, "online": online})


def tensors_of(state: Any) -> list[torch.Tensor]:
    """Every tensor in a nested state."""
    if isinstance(state, torch.Tensor):
        return [state]
    if isinstance(state, dict):
        return [t for value in state.values() for t in tensors_of(value)]
    if isinstance(state, list | tuple):
        return [t for value in state for t in tensors_of(value)]
    return []


def state_bytes(state: Any) -> int:
    """Bytes of all tensors in a nested state dict, optimizer state included."""
    return sum(t.numel() * t.element_size() for t in tensors_of(state))


def refuse_hidden_memory(state: Any) -> None:
    """Refuse memory outside tensors, where its bytes would not be counted.

    Raises:
        TypeError: a non-tensor is larger than settings would be.
    """
    if isinstance(state, dict | list | tuple):
        values = list(state.values()) if isinstance(state, dict) else list(state)
        numbers = [v for v in values if isinstance(v, int | float | complex)]
        if len(numbers) > LARGEST_LEAF // 8:
            raise TypeError(f"state_dict() holds {len(numbers)} numbers: keep memory in tensors")
        for value in values:
            refuse_hidden_memory(value)
    elif isinstance(state, str | bytes) and len(state) > LARGEST_LEAF:
        raise TypeError(f"state_dict() holds {len(state)} bytes of text: keep memory in tensors")
