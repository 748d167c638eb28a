"""The arm of ``long_streams.py`` that runs CapyMOA's loop for online continual learning.

CapyMOA 0.15: ``ocl_train_eval_loop`` with ``Finetune``, ``ExperienceReplay`` or ``EWC``, loaders of
preloaded tensors as its own scenarios make them, nothing printed. The loop predicts every batch before
it learns it, and its metrics read one sample at a time. It evaluates every test stream after every
task, past or future, and keeps a confusion matrix for each pair of tasks, so:

- naive and replay: the loop is called once for each task, with that task's loader and the world.
- EWC counts the tasks of one call, so it is called once, with the world and empty loaders behind it.
- the part ``row``: one call with the test samples of every task, as the loop is meant; unlike the other
  arms it evaluates future tasks too.

Its EWC estimates the Fisher from a window of the last 256 samples. Its replay stores a batch before it
replays, one sample after another.
"""

from __future__ import annotations

import importlib.util
import logging
from typing import Any

import torch
from long_streams_work import BATCH, CLIP, LAM, LR, MEMORY, TEST_BATCH, Clock, Work
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset


class Preloaded(TensorDataset):
    """Samples of a batch gathered at once, as in the scenarios of ``capymoa.ocl``."""

    def __getitems__(self, index: list[int]) -> tuple[Tensor, ...]:
        return tuple(tensor[index] for tensor in self.tensors)


def loader(x: Tensor, y: Tensor, batch_size: int) -> DataLoader[Any]:
    """A loader of flat float samples in the given order."""
    flat = x.flatten(1).float()
    return DataLoader(Preloaded(flat, y), batch_size=batch_size, collate_fn=lambda batch: batch)


def capymoa(work: Work, row: bool, clock: Clock, method: str) -> None:
    """Train with the loop; ``method`` is naive, er or ewc online."""
    if importlib.util.find_spec("capymoa") is None:  # before Java is started
        raise ModuleNotFoundError("No module named 'capymoa'", name="capymoa")
    from capymoa.ocl.evaluation import ocl_train_eval_loop

    logging.getLogger("capymoa").setLevel(logging.ERROR)
    learner = learner_of(work, method)
    train = [loader(*work.of_task(t), BATCH) for t in range(work.n_tasks)]
    if row:
        tests = [loader(*work.test_of_task(t), TEST_BATCH) for t in range(work.n_tasks)]
    else:
        tests = [loader(*work.test, TEST_BATCH)]
    clock.begin()
    if not row and method != "ewc online":
        for each in train:
            found = ocl_train_eval_loop(learner, [each], tests)
            clock.task(float(found.accuracy_final))
        return
    tests += [[]] * (len(train) - len(tests))  # type: ignore[list-item]
    ocl_train_eval_loop(learner, train, tests, dispatcher=reporting(clock))


def learner_of(work: Work, method: str) -> Any:
    """A learner around the common network, with the gradient clipped."""
    from capymoa.classifier import Finetune
    from capymoa.ocl.strategy import EWC, ExperienceReplay
    from capymoa.stream import TorchStream

    x, y = work.test
    samples = TensorDataset(x.flatten(1).float(), y)
    n_classes = int(y.max()) + 1
    schema = TorchStream.from_classification(samples, num_classes=n_classes).get_schema()
    model = nn.Sequential(nn.Unflatten(1, x.shape[1:]), work.model())
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)
    optimizer.register_step_pre_hook(lambda *_: _clip(model))
    if method == "ewc online":
        return EWC(schema, model, optimizer, lambda_=LAM, fim_batch_size=BATCH)
    learner = Finetune(schema, model, optimizer)
    return ExperienceReplay(learner, buffer_size=MEMORY) if method == "er" else learner


def _clip(model: nn.Module) -> None:
    nn.utils.clip_grad_norm_(model.parameters(), CLIP)


def reporting(clock: Clock) -> Any:
    """A dispatcher that tells the clock of every evaluation."""
    from capymoa.ocl.evaluation import events
    from capymoa.ocl.events import Dispatcher

    right: list[float] = []

    def predicted(event: Any) -> None:
        right.append((event.y_hat == event.y).float().mean().item())

    def evaluated(_: Any) -> None:
        clock.task(sum(right) / len(right))
        right.clear()

    dispatcher = Dispatcher()
    dispatcher.subscribe(events.EvalBatchPredict, predicted)
    dispatcher.subscribe(events.TestEnd, evaluated)
    return dispatcher
