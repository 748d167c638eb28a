"""The arms of ``long_streams.py`` that need other frameworks, each used as its users do.

Avalanche 0.6: one ``tensors_benchmark``, its own strategies and metrics, nothing logged; replay with an
explicit storage policy, since the default one admits nothing once tasks outnumber its slots.
Continuum 1.2: a ``TaskSet`` and a ``DataLoader`` per task, as in SCoLe's own script (Lesort et al.
2023), which also clips, reads the loss and keeps predictions in numpy at every step; samples are
tensors, which spares it the images that script decodes. Continuum has no EWC, and no memory for classes
that recur.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from long_streams_work import BATCH, CLIP, LAM, LR, MEMORY, TEST_BATCH, Clock, Work
from torch import Tensor, nn
from torch.utils.data import DataLoader


def avalanche(work: Work, row: bool, clock: Clock, method: str) -> None:
    """Train on every experience, evaluate the world or every experience so far."""
    warnings.simplefilter("ignore")  # of its dependencies, at import
    from avalanche.benchmarks import tensors_benchmark

    n = work.n_tasks
    tests = [work.test_of_task(t) for t in range(n)] if row else [work.test]
    benchmark = tensors_benchmark(
        train_tensors=[work.of_task(t) for t in range(n)],
        test_tensors=tests,
        task_labels=[0] * n,
        complete_test_set_only=not row,
    )
    strategy = avalanche_strategy(work.model(), method, row)
    clock.begin()
    for t, experience in enumerate(benchmark.train_stream):
        # In the order given, but for replay, whose loader draws from the memory in that order too.
        strategy.train(experience, eval_streams=[], shuffle=method == "er")
        found = strategy.eval(benchmark.test_stream[: t + 1] if row else benchmark.test_stream)
        clock.task(found["Top1_Acc_Stream/eval_phase/test_stream/Task000"])


def avalanche_strategy(model: nn.Module, method: str, row: bool) -> Any:
    """``naive``, ``ewc separate``, ``ewc online`` or ``er``, with the gradient clipped."""
    from avalanche.evaluation.metrics import accuracy_metrics
    from avalanche.training.plugins import EvaluationPlugin, ReplayPlugin, SupervisedPlugin
    from avalanche.training.storage_policy import ReservoirSamplingBuffer
    from avalanche.training.supervised import EWC, Naive

    class Clip(SupervisedPlugin):  # type: ignore[misc]
        def before_update(self, strategy: Any, **kwargs: Any) -> None:
            nn.utils.clip_grad_norm_(strategy.model.parameters(), CLIP)

    plugins: list[Any] = [Clip()]
    if method == "er":
        memory = ReservoirSamplingBuffer(max_size=MEMORY)
        plugins.append(ReplayPlugin(mem_size=MEMORY, storage_policy=memory))
    settings: dict[str, Any] = {
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=LR),
        "criterion": nn.CrossEntropyLoss(),
        "train_mb_size": BATCH,
        "eval_mb_size": TEST_BATCH,
        "plugins": plugins,
        "evaluator": EvaluationPlugin(accuracy_metrics(experience=row, stream=True), loggers=[]),
    }
    if method == "ewc separate":
        return EWC(
            ewc_lambda=LAM / 2, **settings
        )  # its penalty has no 1/2; separate is its default
    if method == "ewc online":
        return EWC(ewc_lambda=LAM / 2, mode="online", decay_factor=1.0, **settings)
    return Naive(**settings)


def continuum(work: Work, row: bool, clock: Clock, method: str) -> None:
    """Naive training in the style of SCoLe's script."""
    warnings.simplefilter("ignore")
    from continuum.tasks import TaskSet, TaskType

    def task_set(x: Tensor, y: Tensor) -> Any:
        return TaskSet(x, y.numpy(), None, data_type=TaskType.TENSOR)

    assert method == "naive"
    model = work.model()
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)
    world = task_set(*work.test)
    seen: list[Any] = []
    tasks = work.index()
    clock.begin()
    for t, index in enumerate(tasks):
        task = task_set(work.train[0][index], work.train[1][index])
        run_task_set(model, task, BATCH, optimizer)
        if row:
            seen.append(task_set(*work.test_of_task(t)))
            accuracy = np.mean([run_task_set(model, each, TEST_BATCH) for each in seen])
        else:
            accuracy = run_task_set(model, world, TEST_BATCH)
        clock.task(float(accuracy))


def run_task_set(
    model: nn.Module, task: Any, batch_size: int, optimizer: torch.optim.Optimizer | None = None
) -> float:
    """One epoch, with training if there is an optimizer; returns the accuracy."""
    model.train(optimizer is not None)
    answers, labels, total = [], [], 0.0
    with torch.set_grad_enabled(optimizer is not None):
        for x, y, _ in DataLoader(task, batch_size=batch_size):
            scores = model(x)
            answers.append(scores.argmax(1).numpy())
            labels.append(y.numpy())
            loss = F.cross_entropy(scores, y)
            if optimizer is not None:
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), CLIP)
                optimizer.step()
            total += loss.item()
    return float((np.concatenate(answers) == np.concatenate(labels)).mean())
