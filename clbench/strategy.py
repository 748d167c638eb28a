"""The bases of learners: ``Strategy``, and ``GradientStrategy``, which owns the training loop.

Everything that a strategy remembers is in its ``state_dict()``. This one rule gives checkpoints,
bit-exact resume, ``.to(device)`` and the memory column of the boards. ``clbench check`` enforces it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from clbench.data.augment import augment
from clbench.needs import Needs as Needs
from clbench.needs import StreamInfo as StreamInfo
from clbench.nets import weights
from clbench.nets.accumulation import accumulated
from clbench.nets.early_stopping import EarlyStopping, hold_out
from clbench.nets.losses import cross_entropy, mask_scores, present
from clbench.nets.modes import switch
from clbench.nets.optim import FlatWeights, adopt
from clbench.nets.precision import loss_scale
from clbench.nets.training import TrainingSettings
from clbench.settings import check, refuse_set
from clbench.stream import TaskData


class Strategy(nn.Module):
    """Base of every learner."""

    needs: ClassVar[Needs] = Needs()
    grows: ClassVar[bool] = False
    """Whether its state grows with the stream."""
    resumable: ClassVar[bool] = True
    state_bytes_method: ClassVar[Literal["state_dict", "reachable"]] = "state_dict"
    """What its bytes are counted from. ``reachable`` counts all tensors that it holds; it is for
    strategies whose ``state_dict()`` is incomplete, and such bytes are not ranked."""
    pretrained: bool = False
    """Whether it starts from weights or statistics of other data (a board's open division)."""
    network_builds: Any = None
    """What the harness saw of the networks of ``build_model``; the harness sets it."""

    @dataclass(frozen=True)
    class Config:
        """The settings ``strategy.<field>``."""

        def __post_init__(self) -> None:
            check(self, "strategy")
            refuse_set(self, self.without_effect(), "strategy", self.misleading())

        def without_effect(self) -> dict[str, str]:
            """Settings that change nothing as the others are, and why; refused, and not tuned."""
            return {}

        def misleading(self) -> dict[str, str]:
            """Settings that would not do what they say, and what they would do; they are refused."""
            return {}

    def __init__(
        self, info: StreamInfo, config: Config, build_model: Callable[[], nn.Module]
    ) -> None:
        super().__init__()
        self.info = info
        self.config: Any = config
        self.build_model = build_model

    def learn(self, task: TaskData) -> None:
        """Learn from one experience. No other data can be reached."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Get ready for an evaluation. It is timed as training and does nothing by default."""

    def forward(self, x: Tensor, task_id: Tensor | None = None) -> Tensor:
        """Score raw samples ``(B, *input_shape)`` for each class, ``(B, n_classes)``; change nothing.

        ``task_id`` is ``(B,)`` int64 where the scenario gives it. The scores of a sample must not
        depend on the other samples of its batch.
        """
        raise NotImplementedError

    def diagnostics(self) -> dict[str, Tensor]:
        """Return 0-d tensors to be recorded at evaluations. They are never ranked."""
        return {}

    def warning(self, diagnostics: Mapping[str, float]) -> str | None:
        """Return one line for the user if the values of ``diagnostics`` mean trouble, else None."""
        return None

    def memory_bytes(self) -> int:
        """Count the bytes of ``state_dict()`` that hold stored samples or a memory of them."""
        return 0

    def resolved(self) -> dict[str, object]:
        """Return what settings that are null or auto came to, by their names; only for the record."""
        return {}


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
    """Trains a network by gradient descent. It owns the training loop.

    A subclass overrides at most five methods: ``begin``, ``draw``, ``loss``, ``step`` and
    ``consolidate``. Inside them ``self.weights`` is the flat ``(P,)`` vector of all trainable
    parameters. Nothing between ``begin`` and ``consolidate`` may wait for the device (no ``.item()``,
    no boolean-mask indexing). Other vectors over the parameters have the same layout:
    ``gradient_of`` returns one, ``per_parameter`` splits one. A strategy that trains at another time
    than ``learn`` calls ``bind`` and then ``train_on``.
    """

    extends_loss: ClassVar[bool] = False
    """Whether its own ``loss`` is ``super().loss(batch)`` and terms that are means over the batch or
    do not depend on it. Settings of the common loss are refused where it is replaced."""
    smooths_labels: ClassVar[bool] = False
    """Whether its own ``loss``, though it replaces the common one, heeds ``label_smoothing``."""

    @dataclass(frozen=True)
    class Config(Strategy.Config, TrainingSettings):
        """Settings of the training loop."""

        def __post_init__(self) -> None:
            super().__post_init__()
            self.complete()

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
        self.loss_scale = loss_scale(self.model)
        self.lay_out()
        own, base = type(self), GradientStrategy
        has_loop = own.learn is base.learn and own.batches is base.batches
        has_loss = own.loss is base.loss or own.extends_loss
        config.refuse_unless(has_loop, has_loss, has_loss or own.smooths_labels)
        self._all_tasks, self._first_task = config, config.for_first()
        self._has_begun = self._smooths = False
        if info.task_ids:
            assert info.n_tasks is not None
            seen = torch.zeros(info.n_tasks, info.n_classes, dtype=torch.bool)
            self.register_buffer("classes_of_task", seen)
        self.classes_of_task: Tensor
        # They are found again in every experience, so they are not remembered.
        nowhere = torch.zeros(info.n_classes, dtype=torch.bool)
        self.register_buffer("classes_here", nowhere, persistent=False)
        self.classes_here: Tensor
        self.register_buffer("mean_loss", torch.zeros(()))
        self.mean_loss: Tensor

    @property
    def weights(self) -> Tensor:
        """``(P,)``: all trainable parameters as one vector. Changing it changes the model."""
        return self._flat.vector.data

    def bind(self) -> None:
        """Make the parameters views of ``weights`` again, if something gave them other storage.

        ``deepcopy``, ``.double()`` and ``load_state_dict(assign=True)`` do. ``learn`` binds at its
        start; a strategy that trains elsewhere calls this first.
        """
        self._flat.bind()

    def lay_out(self) -> None:
        """Make ``weights`` and a new optimizer, after ``model`` got or lost parameters."""
        self._flat = flat = FlatWeights(self.model)
        self.optimizer = self.config.build_optimizer(flat)
        self._on_vector = self.optimizer.param_groups[0]["params"][0] is flat.vector

    def per_parameter(self, vector: Tensor) -> list[Tensor]:
        """Split a ``(P,)`` vector into views of the parameters' shapes, in the model's order."""
        return self._flat.split(vector)

    def optimizer_vectors(self) -> list[Tensor]:
        """List the optimizer's ``(P,)`` vectors, such as momentum; none before the first step."""
        state = self.optimizer.state.get(self._flat.vector, {})
        found = (v for v in state.values() if isinstance(v, Tensor))
        return [v for v in found if v.shape == self.weights.shape]

    def resolved(self) -> dict[str, object]:
        """Add the learning rate before any schedule, that of all tasks but perhaps the first."""
        return {**super().resolved(), "lr": self._all_tasks.base_lr}

    @property
    def lr(self) -> float:
        """The learning rate of the current step."""
        return float(self.optimizer.param_groups[0]["lr"])

    def learn(self, task: TaskData) -> None:
        """Train on one experience: ``begin``, then ``train_on`` its batches, then ``consolidate``."""
        if self._first_task is not None:
            self.config = self._all_tasks if self._has_begun else self._first_task
            adopt(self.optimizer, self.config.base_lr, self.config.weight_decay)
        self._has_begun = True
        self.bind()
        switch(self, True)
        if task.task_id is not None:
            self.classes_of_task[task.task_id[0], task.classes] = True
        if self.config.reset_weights:
            self.start_again()
        if self.config.reset_optimizer:
            self.optimizer.state.clear()
        val = None
        if self.config.patience is not None:
            task, val = hold_out(task)
        task = self.begin(task)
        self.note_classes(task)
        per_epoch = -(-len(task) // self.config.batch_size)
        batches = self.batches(task)
        if val is None:
            self.train_on(batches, self.config.epochs * per_epoch)
        else:
            opened = self.classes_of_task if self.info.task_ids else None
            stopping = EarlyStopping(self.model, val, self.config.patience, opened)
            batches = stopping.until_no_better(batches, per_epoch)
            self.train_on(batches, self.config.epochs * per_epoch)
            stopping.restore()
        self.config.refuse_no_smoothing(self._smooths)
        self.consolidate(task)

    def train_on(self, batches: Iterable[Batch], n_steps: int) -> None:
        """Take one step on each batch, with ``draw`` and augmentation before it.

        This is the inner loop of ``learn``: it sets ``mean_loss`` and follows ``schedule``.
        ``n_steps`` is the number of batches.
        """
        self.mean_loss.zero_()
        n_taken = 0
        for step, batch in enumerate(batches):
            lr = self.config.lr_at(step, n_steps)
            if lr is not None:
                self.optimizer.param_groups[0]["lr"] = lr
            n_taken += 1
            batch = self.draw(batch)
            if self.info.augment != "none":
                batch.x = augment(self.info.augment, batch.x)
            self.step(batch)
        if self.config.patience is not None:  # it may have ended before
            n_steps = n_taken
        self.mean_loss.div_(n_steps)

    def note_classes(self, task: TaskData) -> None:
        """Note the classes that are trained on, for ``strategy.mask``."""
        if self.config.mask != "none":
            self.classes_here.copy_(present(task.y, self.info.n_classes))

    def start_again(self) -> None:
        """Draw a fresh network from the learning generator, and clear the optimizer's state."""
        with torch.device(self.weights.device):
            self.model.load_state_dict(self.build_model().state_dict())
        self.optimizer.state.clear()

    def batches(self, task: TaskData) -> Iterator[Batch]:
        """Cut an experience into batches of ``batch_size``, once for each epoch."""
        for epoch in range(self.config.epochs):
            order = task.epoch(epoch)
            for x, y, task_id in (task if order is None else task.part(order)).cut(
                self.config.batch_size
            ):
                yield Batch(x, y, task_id, task.classes)

    def begin(self, task: TaskData) -> TaskData:
        """Prepare for an experience, say copy a teacher; return what is to be trained on."""
        return task

    def draw(self, batch: Batch) -> Batch:
        """Add samples to a step's batch, say replayed ones. By default it adds none."""
        return batch

    def scores(self, batch: Batch) -> Tensor:
        """Compute the logits that the loss uses, ``(B, n_classes)``, masked by ``masked``."""
        return self.masked(self.model(batch.x), batch)

    def masked(self, scores: Tensor, batch: Batch) -> Tensor:
        """Mask a batch's logits ``(B, n_classes)`` by ``strategy.mask`` and by the samples' task ids.

        A batch without labels (``y`` empty) is masked to the classes of the experience, so that a
        Fisher that is estimated on it is the Fisher of the loss. ``mask=single`` needs labels.
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
        """Compute the mean cross-entropy of a batch, 0-d. Unlabelled samples are left out."""
        self._smooths, smoothing = True, self.config.label_smoothing
        return cross_entropy(self.scores(batch), batch.y, batch.weight, smoothing)

    def step(self, batch: Batch) -> None:
        """Update the weights once."""
        self.descend(self.gradient(batch))

    def gradient(self, batch: Batch) -> Tensor:
        """Return the gradient of ``loss`` on a step's batch, ``(P,)``, not clipped.

        The loss counts in ``mean_loss``, so this is called once a step. Use ``gradient_of`` for any
        further gradient.
        """
        loss, gradient = self._loss_and_gradient(batch)
        # On a batch without a label the mean is undefined; it counts as 0, and its gradient is 0.
        self.mean_loss.add_(loss.nan_to_num(0) if self.info.unlabelled else loss)
        return gradient

    def gradient_of(self, what: Batch | Tensor) -> Tensor:
        """Return a gradient by the weights, ``(P,)``: of ``loss`` on a batch, or of a 0-d tensor.

        It is 0 where a parameter took no part. It is not clipped, and ``mean_loss`` stays as it is.
        """
        if isinstance(what, Batch):
            return self._loss_and_gradient(what)[1]
        if self.loss_scale is not None:
            return self.loss_scale.gradient(what, self._flat.gradient)
        return self._flat.gradient(what)

    def _loss_and_gradient(self, batch: Batch) -> tuple[Tensor, Tensor]:
        n = self.config.accumulate
        if n > 1:
            return accumulated(self.model, self.loss, self.gradient_of, batch, n, Batch)
        loss = self.loss(batch)
        return loss.detach(), self.gradient_of(loss)

    def descend(self, gradient: Tensor) -> None:
        """Clip a ``(P,)`` gradient to ``clip_norm`` and take the optimizer's step along it."""
        self.follow(self.clip(gradient))

    def clip(self, gradient: Tensor) -> Tensor:
        """Scale a ``(P,)`` gradient, in place, to a norm of at most ``clip_norm``."""
        if self.config.clip_norm is not None:
            scale = torch.linalg.vector_norm(gradient).add_(1e-6).reciprocal_()
            gradient.mul_(scale.mul_(self.config.clip_norm).clamp_(max=1.0))
        return gradient

    def follow(self, gradient: Tensor) -> None:
        """Take one step of the optimizer along a ``(P,)`` gradient."""
        if self._on_vector:
            self._flat.vector.grad = gradient
        else:
            parts = self.per_parameter(gradient)
            for parameter, part in zip(self._flat.parameters, parts, strict=True):
                parameter.grad = part
        self.optimizer.step()

    def fresh_weights(self) -> Tensor:
        """Draw newly initialised weights, ``(P,)``, from the learning generator."""
        with torch.device(self.weights.device):
            fresh = [p for p in self.build_model().parameters() if p.requires_grad]
        return torch.cat([p.detach().reshape(-1) for p in fresh]).to(self.weights)

    def consolidate(self, task: TaskData) -> None:
        """Finish an experience: Fisher, anchors, memory. By default it does nothing."""

    def forward(self, x: Tensor, task_id: Tensor | None = None) -> Tensor:
        """Compute logits: ``(B, *input_shape)`` to ``(B, n_classes)``."""
        scores: Tensor = self.model(x)
        return scores

    def diagnostics(self) -> dict[str, Tensor]:
        """Return the mean training loss of the last experience."""
        return {"loss": self.mean_loss}

    def get_extra_state(self) -> dict[str, Any]:
        """Return the optimizer's state, as part of ``state_dict()``."""
        begun = {} if self._first_task is None else {"has_begun": self._has_begun}
        return {"optimizer": self.optimizer.state_dict(), **begun}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restore the optimizer's state."""
        self.bind()
        self.optimizer.load_state_dict(state["optimizer"])
        self._has_begun = state.get("has_begun", True)
