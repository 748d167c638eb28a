"""Checks that need no GPU and say whether a strategy would run well on one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial, wraps
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from clbench.checks.bits import leaves
from clbench.checks.finding import Failed
from clbench.checks.rig import Rig
from clbench.checks.trace import calling_line
from clbench.checks.training import predict
from clbench.checks.trials import fitting, learn, make_run
from clbench.strategy import GradientStrategy, Strategy

UNKNOWN_SIZE = ("nonzero", "masked_select", "_unique2", "unique_dim", "bincount")
INNER_LOOP = ("draw", "loss", "step")
READS = {"tolist", "numpy", "cpu", "__array__"}
"""Methods of tensors that copy to the host, and that on a CPU no dispatcher sees."""
MEND = "give it device=x.device, or make it with x.new_zeros, torch.zeros_like and the like"


def makes_tensors_on_the_device_of_its_data(rig: Rig) -> None:
    """With ``meta`` as the default device, no tensor is made there: each names a device."""
    for trial in fitting(rig.plugin):
        run = make_run(rig.plugin, trial.stream)
        strategy = run.strategy()
        tasks = [run.stream.experience(number) for number in range(3)]
        world = trial.stream.world()
        watch = _Made(rig.plugin.path)
        try:
            with torch.device("meta"), _optimizers_on_cpu(), watch:
                for task in tasks:
                    strategy.learn(task)
                strategy.prepare()
                predict(strategy, world.x, world.task_id)
                strategy.diagnostics()
        except Exception as error:
            if watch.where is None:
                raise
            # What goes wrong later with such a tensor is a consequence.
            raise Failed(_on_default(watch.where)) from error
        if watch.where is not None:
            raise Failed(_on_default(watch.where))
        for name, leaf in leaves(strategy.state_dict()).items():
            if isinstance(leaf, Tensor) and leaf.device.type == "meta":
                raise Failed(f"{name} ends on the default device; {MEND}")


def _on_default(where: str) -> str:
    return f"a tensor is made on the default device instead of its data's ({where}): {MEND}"


class _Made(TorchDispatchMode):
    """Notes where the first tensor of the default device, ``meta``, is made."""

    def __init__(self, path: Path) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.path = path
        self.where: str | None = None

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if self.where is None and isinstance(result, Tensor) and result.device.type == "meta":
            self.where = f"aten.{func.overloadpacket.__name__}, {calling_line(self.path)}"
        return result


@contextmanager
def _around_torchs_optimizers(
    enter: Callable[[], object], leave: Callable[[], object]
) -> Iterator[None]:
    """Make exceptions for what torch's own optimizers do in ``step``: no strategy can change it."""

    def before(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        if type(optimizer).__module__.startswith("torch.optim"):
            enter()

    def after(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        if type(optimizer).__module__.startswith("torch.optim"):
            leave()

    hooks = register_optimizer_step_pre_hook(before), register_optimizer_step_post_hook(after)
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _optimizers_on_cpu() -> AbstractContextManager[None]:
    """Adam and others keep their step count on the default device."""
    cpu = torch.device("cpu")
    return _around_torchs_optimizers(cpu.__enter__, lambda: cpu.__exit__(None, None, None))


def never_waits_for_the_device_in_its_inner_loop(rig: Rig) -> None:
    """No tensor's value is read and no size depends on one, so that a GPU is never waited for."""
    for trial in fitting(rig.plugin):
        run = make_run(rig.plugin, trial.stream)
        strategy = run.strategy()
        watch = _Waits(rig.plugin.path)
        inner = INNER_LOOP if isinstance(strategy, GradientStrategy) else ("learn",)
        for name in inner:
            _watched(strategy, name, watch)
        with watch.optimizers_excepted():
            learn(run, strategy, 0, min(3, trial.experiences))
        if watch.found is not None:
            raise Failed(f"{trial.name}: {watch.found}")


def _watched(strategy: Strategy, name: str, watch: _Waits) -> None:
    method: Callable[..., Any] = getattr(strategy, name)

    @wraps(method)
    def watched(*args: Any) -> Any:
        with watch.looking(name):
            return method(*args)

    setattr(strategy, name, watched)


class _Waits:
    """Finds the first operation that makes the host wait for the device, and where it is called."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: str | None = None
        self.inside: list[str] = []
        self.paused = 0

    @contextmanager
    def looking(self, method: str) -> Iterator[None]:
        """Look at every operation while a method runs (``step`` calls ``loss``: once is enough)."""
        self.inside.append(method)
        try:
            if len(self.inside) > 1:
                yield
            else:
                with _Operations(self), _Reads(self):
                    yield
        finally:
            self.inside.pop()

    def optimizers_excepted(self) -> AbstractContextManager[None]:
        """Look away while torch's optimizers step: Adam reads its own count, on the host."""

        def pause(change: int) -> None:
            self.paused += change

        return _around_torchs_optimizers(partial(pause, 1), partial(pause, -1))

    def note(self, what: str, mend: str) -> None:
        """Keep the first finding."""
        if self.found is None and not self.paused:
            where = calling_line(self.path)
            self.found = f"{self.inside[-1]}() waits for the device: {what} ({where}); {mend}"


class _Operations(TorchDispatchMode):
    def __init__(self, waits: _Waits) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.waits = waits

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = func.overloadpacket.__name__
        if name in ("_local_scalar_dense", "is_nonzero"):
            self.waits.note(
                f"aten.{name} reads a value", "no .item(), float() or if: keep it a tensor"
            )
        elif name in UNKNOWN_SIZE:
            what = f"aten.{name} has a result of unknown size"
            self.waits.note(what, "use torch.where or weights")
        elif name.startswith(("index", "_index_put")) and _has_mask(args):
            self.waits.note(
                f"aten.{name} indexes by a bool mask", "use torch.where, masked_fill or weights"
            )
        return func(*args, **(kwargs or {}))


def _has_mask(args: Any) -> bool:
    indices = args[1] if len(args) > 1 and isinstance(args[1], list | tuple) else ()
    return any(isinstance(i, Tensor) and i.dtype in (torch.bool, torch.uint8) for i in indices)


class _Reads(TorchFunctionMode):
    def __init__(self, waits: _Waits) -> None:
        super().__init__()
        self.waits = waits

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        if name in READS and args and isinstance(args[0], Tensor):
            self.waits.note(f".{name}() copies to the host", "stay in tensors on x.device")
        if name != "one_hot" or (len(args) < 2 and "num_classes" not in (kwargs or {})):
            return func(*args, **(kwargs or {}))
        # With its size given, it reads the labels to check them on a CPU alone.
        self.waits.paused += 1
        try:
            return func(*args, **(kwargs or {}))
        finally:
            self.waits.paused -= 1
