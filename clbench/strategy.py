"""What a learner is: ``Strategy``, and ``GradientStrategy``, which owns the one training loop.

Everything a strategy remembers is in its ``state_dict()``. From that one rule come checkpoints,
bit-exact resume, ``.to(device)`` and the memory column of the boards; ``clbench check`` enforces it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clbench.data.augment import augment
from clbench.errors import UsageError
from clbench.nets import weights
from clbench.nets.losses import mask_scores, present
from clbench.nets.optim import FlatWeights, build_optimizer
from clbench.stream import TaskData


@dataclass(frozen=True)
class StreamInfo:
    """All that a strategy is told of the stream: no name, no handle, no test data."""

    input_shape: tuple[int, ...]
    dtype: torch.dtype
    scale: float
    """Brings a raw value to the unit range."""
    n_classes: int
    n_tasks: int | None
    """None: endless, or not to be known."""
    task_ids: bool = False
    augment: str = "none"


@dataclass(frozen=True)
class Needs:
    """What a strategy cannot do without; a stream that lacks it is refused before training."""

    task_id: bool = False
    boundaries: bool = False
    disjoint_classes: bool = False
    n_tasks: bool = False


class Strategy(nn.Module):
    """Base of every learner."""

    needs: ClassVar[Needs] = Needs()
    grows: ClassVar[bool] = False
    """Whether its state grows with the stream."""
    resumable: ClassVar[bool] = True
    state_bytes_method: ClassVar[Literal["state_dict", "reachable"]] = "state_dict"
    """What counts as its bytes; ``reachable``, of all that it holds, where ``state_dict()`` cannot
    tell; such bytes are not ranked."""
    pretrained: bool = False
    """Whether it starts from weights or statistics of other data (a board's open division)."""

    @dataclass(frozen=True)
    class Config:
        """The settings ``strategy.<field>``."""

    def __init__(
        self, info: StreamInfo, config: Config, build_model: Callable[[], nn.Module]
    ) -> None:
        super().__init__()
        self.info = info
        self.config: Any = config
        self.build_model = build_model

    def learn(self, task: TaskData) -> None:
        """Learn from one experience, the only data in reach."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Called before an evaluation and timed as training; nothing by default."""

    def forward(self, x: Tensor, task_id: Tensor | None = None) -> Tensor:
        """``(B, *input_shape)`` raw samples to ``(B, n_classes)`` scores; changes no state.

        ``task_id``: ``(B,)`` int64 where the scenario gives it. The scores of a sample must not
        depend on the others in its batch.
        """
        raise NotImplementedError

    def diagnostics(self) -> dict[str, Tensor]:
        """0-d tensors to be recorded at evaluations; never ranked."""
        return {}

    def warning(self, diagnostics: Mapping[str, float]) -> str | None:
        """One line for the user where the values of ``diagnostics`` mean trouble, else None."""
        return None

    def memory_bytes(self) -> int:
        """Bytes of ``state_dict()`` that hold stored samples or a memory of them."""
        return 0


@dataclass
class Batch:
    """What one step learns from."""

    x: Tensor
    """``(B, *input_shape)`` raw samples."""
    y: Tensor
    """``(B,)`` int64; -1 where unlabelled."""
    task_id: Tensor | None = None
    """``(B,)`` int64"""
    classes: Tensor | None = None
    """``(k,)`` int64: the task's classes, where boundaries are known."""
    weight: Tensor | None = None
    """``(B,)`` weights of the losses; None: all one."""
    extra: dict[str, Tensor] = field(default_factory=dict)


class GradientStrategy(Strategy):
    """A learner that descends a loss: owns the training loop; at most five methods are overridden.

    ``begin``, ``draw``, ``loss``, ``step``, ``consolidate``. Inside them ``self.weights`` is the flat
    ``(P,)`` vector of all trainable parameters; nothing between ``begin`` and ``consolidate`` may
    wait for the device (no ``.item()``, no boolean-mask indexing).
    """

    @dataclass(frozen=True)
    class Config(Strategy.Config):
        """Settings of the training loop."""

        lr: float | None = None
        """Learning rate; null: 0.1 for SGD, 0.001 for every other optimizer."""
        momentum: float = 0.0
        """Momentum of SGD. The effective learning rate is lr / (1 - momentum)."""
        batch_size: int = 32
        """Samples per step."""
        epochs: int = 1
        """Passes over each experience."""
        optimizer: str = "sgd"
        """sgd, adam, or any other class of torch.optim; its state lasts unless reset_optimizer."""
        weight_decay: float = 0.0
        """The optimizer's weight decay."""
        clip_norm: float | None = 10.0
        """The gradient's norm is clipped to this (SCoLe: 10); null: not clipped."""
        schedule: Literal["constant", "cosine"] = "constant"
        """Learning rate within an experience: constant, or cosine to zero."""
        reset_optimizer: bool = False
        """Clear the optimizer's state before every experience: each task, or each chunk of one."""
        reset_weights: bool = False
        """Begin every experience with a fresh network and optimizer: only memories go on."""
        mask: Literal["none", "single", "group_zero", "group"] = "none"
        """Classes outside mask_scope, in training: none: as they are; group: left out of the softmax
        (SCoLe); group_zero: score 0; single: score 0 for all but the sample's own class."""
        mask_scope: Literal["batch", "task"] = "batch"
        """Classes that a mask keeps: those of the batch, or also all others of the experience."""
        weights_path: Path | None = None
        """Safetensors file that the network starts from (clbench export); null: fresh weights. An
        output layer for another number of classes starts fresh. Such runs count as pretrained."""
        weights_sha256: str | None = None
        """Hash of that file: filled in, and part of what a run is; if given, it must be right."""

        def __post_init__(self) -> None:
            sha256 = weights.pinned("weights", self.weights_path, self.weights_sha256)
            object.__setattr__(self, "weights_sha256", sha256)
            for name, low in (("momentum", 0.0), ("weight_decay", 0.0)):
                value = getattr(self, name)
                if not (math.isfinite(value) and value >= low):
                    raise UsageError(f"strategy.{name}={value} must be finite and >= {low:g}")
            if self.momentum >= 1:
                raise UsageError(f"strategy.momentum={self.momentum} must be below 1")
            for name in ("lr", "clip_norm"):
                value = getattr(self, name)
                if value is not None and not (math.isfinite(value) and value > 0):
                    raise UsageError(f"strategy.{name}={value} must be finite and positive")
            for name in ("batch_size", "epochs"):
                if getattr(self, name) < 1:
                    raise UsageError(f"strategy.{name}={getattr(self, name)} must be at least 1")

        @property
        def base_lr(self) -> float:
            """The learning rate before any schedule."""
            if self.lr is not None:
                return self.lr
            return 0.1 if self.optimizer.lower() == "sgd" else 1e-3

    def __init__(
        self, info: StreamInfo, config: Config, build_model: Callable[[], nn.Module]
    ) -> None:
        if config.weights_path is not None:
            build_model = weights.initialised(
                build_model, config.weights_path, config.weights_sha256
            )
            self.pretrained = True
        super().__init__(info, config, build_model)
        self.model = build_model()
        self._flat = FlatWeights(self.model)
        self.optimizer = build_optimizer(
            config.optimizer, self._flat, config.base_lr, config.momentum, config.weight_decay
        )
        self._on_vector = self.optimizer.param_groups[0]["params"][0] is self._flat.vector
        if info.task_ids:
            assert info.n_tasks is not None
            seen = torch.zeros(info.n_tasks, info.n_classes, dtype=torch.bool)
            self.register_buffer("classes_of_task", seen)
        self.classes_of_task: Tensor
        # Found anew in every experience.
        nowhere = torch.zeros(info.n_classes, dtype=torch.bool)
        self.register_buffer("classes_here", nowhere, persistent=False)
        self.classes_here: Tensor
        self.register_buffer("mean_loss", torch.zeros(()))
        self.mean_loss: Tensor

    @property
    def weights(self) -> Tensor:
        """``(P,)``: all trainable parameters as one vector; changing it changes the model."""
        return self._flat.vector.data

    @property
    def lr(self) -> float:
        """The learning rate of the current step."""
        return float(self.optimizer.param_groups[0]["lr"])

    def learn(self, task: TaskData) -> None:
        """Train on one experience: begin, then draw and step over all batches, then consolidate."""
        self._flat.bind()
        self.train()
        if task.task_id is not None:
            self.classes_of_task[task.task_id[0], task.classes] = True
        if self.config.reset_weights:
            self._start_again()
        if self.config.reset_optimizer:
            self.optimizer.state.clear()
        task = self.begin(task)
        if self.config.mask != "none":
            self.classes_here.copy_(present(task.y, self.info.n_classes))
        self.mean_loss.zero_()
        n_steps = self.config.epochs * -(-len(task) // self.config.batch_size)
        for step, batch in enumerate(self._batches(task)):
            if self.config.schedule == "cosine":
                lr = self.config.base_lr * (1 + math.cos(math.pi * step / n_steps)) / 2
                self.optimizer.param_groups[0]["lr"] = lr
            batch = self.draw(batch)
            if self.info.augment != "none":
                batch.x = augment(self.info.augment, batch.x)
            self.step(batch)
        self.mean_loss.div_(n_steps)
        self.consolidate(task)

    def _start_again(self) -> None:
        """A network drawn from the learning generator, and an optimizer that remembers nothing."""
        with torch.device(self.weights.device):
            self.model.load_state_dict(self.build_model().state_dict())
        self.optimizer.state.clear()

    def _batches(self, task: TaskData) -> Iterator[Batch]:
        size = self.config.batch_size
        for epoch in range(self.config.epochs):
            x, y, task_id, order = task.x, task.y, task.task_id, task.epoch(epoch)
            if order is not None:
                x, y = x.index_select(0, order), y.index_select(0, order)
            ids = [None] * -(-len(y) // size) if task_id is None else task_id.split(size)
            for x_part, y_part, id_part in zip(x.split(size), y.split(size), ids, strict=True):
                yield Batch(x_part, y_part, id_part, task.classes)

    def begin(self, task: TaskData) -> TaskData:
        """Before the first step, say to snapshot a teacher; returns what is to be trained on."""
        return task

    def draw(self, batch: Batch) -> Batch:
        """Add to the new samples of a step, say replayed ones; by default nothing."""
        return batch

    def scores(self, batch: Batch) -> Tensor:
        """``(B, n_classes)`` logits for training, masked as the loss is to see them."""
        return self.masked(self.model(batch.x), batch)

    def masked(self, scores: Tensor, batch: Batch) -> Tensor:
        """``(B, n_classes)`` logits of a batch, by ``strategy.mask`` and its samples' task ids.

        A batch without labels (``y`` empty) is masked to the classes of the experience, so that a
        Fisher estimated on it is that of the loss; ``mask=single`` cannot do without labels.
        """
        if self.config.mask != "none":
            classes = present(batch.y, self.info.n_classes)
            if self.config.mask_scope == "task" or len(batch.y) == 0:
                classes = classes | self.classes_here
            scores = mask_scores(self.config.mask, scores, batch.y, classes)
        if batch.task_id is None:
            return scores
        return scores.masked_fill(~self.classes_of_task[batch.task_id], -torch.inf)

    def loss(self, batch: Batch) -> Tensor:
        """0-d: mean cross-entropy; unlabelled samples take no part."""
        scores = self.scores(batch)
        if batch.weight is None:
            return F.cross_entropy(scores, batch.y, ignore_index=-1)
        losses = F.cross_entropy(scores, batch.y, ignore_index=-1, reduction="none")
        return (losses * batch.weight).mean()

    def step(self, batch: Batch) -> None:
        """One update of the weights."""
        self.descend(self.gradient(batch))

    def gradient(self, batch: Batch) -> Tensor:
        """``(P,)``: the gradient of ``loss``, not clipped."""
        loss = self.loss(batch)
        gradient = self._flat.gradient(loss)
        self.mean_loss.add_(loss.detach())
        return gradient

    def descend(self, gradient: Tensor) -> None:
        """Clip a ``(P,)`` gradient to ``clip_norm`` and let the optimizer follow it."""
        self.follow(self.clip(gradient))

    def clip(self, gradient: Tensor) -> Tensor:
        """Scale a ``(P,)`` gradient, in place, to a norm of at most ``clip_norm``."""
        if self.config.clip_norm is not None:
            scale = torch.linalg.vector_norm(gradient).add_(1e-6).reciprocal_()
            gradient.mul_(scale.mul_(self.config.clip_norm).clamp_(max=1.0))
        return gradient

    def follow(self, gradient: Tensor) -> None:
        """One step of the optimizer along a ``(P,)`` gradient."""
        if self._on_vector:
            self._flat.vector.grad = gradient
        else:
            parts = self._flat.split(gradient)
            for parameter, part in zip(self._flat.parameters, parts, strict=True):
                parameter.grad = part
        self.optimizer.step()

    def fresh_weights(self) -> Tensor:
        """``(P,)``: newly initialised weights, drawn from the learning generator."""
        with torch.device(self.weights.device):
            fresh = [p for p in self.build_model().parameters() if p.requires_grad]
        return torch.cat([p.detach().reshape(-1) for p in fresh]).to(self.weights)

    def consolidate(self, task: TaskData) -> None:
        """After the last step: Fisher, anchors, memory; by default nothing."""

    def forward(self, x: Tensor, task_id: Tensor | None = None) -> Tensor:
        """``(B, *input_shape)`` to ``(B, n_classes)`` logits."""
        scores: Tensor = self.model(x)
        return scores

    def diagnostics(self) -> dict[str, Tensor]:
        """The mean training loss of the last experience."""
        return {"loss": self.mean_loss}

    def get_extra_state(self) -> dict[str, Any]:
        """The optimizer's state, as part of ``state_dict()``."""
        return {"optimizer": self.optimizer.state_dict()}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restore the optimizer's state."""
        self._flat.bind()
        self.optimizer.load_state_dict(state["optimizer"])
