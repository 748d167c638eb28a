"""The bridge to Avalanche (ContinualAI, avalanche-lib 0.6), in both directions.

``strategy=avalanche:EWC`` runs one of its strategies under the harness; ``to_benchmark`` and
``as_strategy`` convert clbench's streams and strategies. docs/avalanche.md states the guarantees.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.metadata
import importlib.util
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from clbench.errors import ClbenchError, UsageError
from clbench.interop import avalanche_strategy, importing, parts, plain_tensors, signature
from clbench.interop.importing import quiet
from clbench.interop.known import KNOWN, VERSION, Known
from clbench.nets.optim import optimizer_class
from clbench.plugins import source
from clbench.plugins.registry import did_you_mean
from clbench.strategy import Needs, Strategy, StreamInfo
from clbench.stream import Stream, TaskData

GET = "pip install 'clbench[avalanche]'"
OURS = (
    *("model", "optimizer", "criterion", "train_mb_size", "train_epochs", "eval_mb_size"),
    *("device", "plugins", "evaluator", "eval_every", "peval_mode"),
)
"""Arguments of every Avalanche strategy, which the bridge fills in."""


@cache
def avalanche() -> Any:
    """Import Avalanche's modules at the first call.

    Raises:
        UsageError: it is not installed, or an import failed; the import is named.
    """
    names = {
        "strategies": "avalanche.training.supervised",
        "templates": "avalanche.training.templates",
        "plugins": "avalanche.training.plugins",
        "storage": "avalanche.training.storage_policy",
        "benchmarks": "avalanche.benchmarks",
        "core": "avalanche.core",
        "models": "avalanche.models.base_model",
    }
    found = importing.modules(names, "avalanche", "avalanche-lib", GET)
    return SimpleNamespace(**found, version=importlib.metadata.version("avalanche-lib"))


@dataclass(frozen=True)
class Loop(Strategy.Config):
    """Settings that the bridge adds to every Avalanche strategy."""

    lr: float | None = None
    """Learning rate; null: 0.1 for SGD, 0.001 for every other optimizer."""
    momentum: float = 0.0
    """Momentum of SGD."""
    batch_size: int = 32
    """Samples per step (train_mb_size), and per batch of Avalanche's Fisher."""
    epochs: int = 1
    """Passes over each experience (train_epochs)."""
    optimizer: str = "sgd"
    """sgd, adam, or any other class of torch.optim; its state is kept between experiences."""
    weight_decay: float = 0.0
    """The optimizer's weight decay."""
    shuffle: bool = True
    """Shuffle in every epoch; false: keep the order of delivery and of the memory."""
    version: str | None = None
    """Version of avalanche-lib: filled in, part of the run's identity; if given, it must match."""

    def __post_init__(self) -> None:
        for name in ("lr", "momentum", "weight_decay"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise UsageError(f"strategy.{name}={value} must be finite and >= 0")
        for name in ("batch_size", "epochs"):
            if getattr(self, name) < 1:
                raise UsageError(f"strategy.{name}={getattr(self, name)} must be at least 1")
        optimizer_class(self.optimizer)
        version = avalanche().version
        if self.version not in (None, version):
            raise UsageError(
                f"strategy.version={self.version}: avalanche-lib {version} is installed"
            )
        object.__setattr__(self, "version", version)


def classes() -> dict[str, type[Any]]:
    """The strategies that the installed Avalanche has, by name."""
    base = avalanche().templates.BaseSGDTemplate
    return {
        name: cls
        for name, cls in sorted(vars(avalanche().strategies).items())
        if inspect.isclass(cls) and issubclass(cls, base) and cls is not base
    }


def options() -> dict[str, str]:
    """List every strategy with a line about it, or why it cannot be run."""
    found = {}
    for name, cls in classes().items():
        why = known(name).failing()
        found[name] = f"cannot be run: {why}" if why else first_line(cls)
    return found


def first_line(cls: type[Any]) -> str:
    """The first line of a class's docstring."""
    return (inspect.getdoc(cls) or "").partition("\n")[0].rstrip(".:")


def known(name: str) -> Known:
    """The known properties of a strategy of this version."""
    return KNOWN.get(name, Known()) if avalanche().version.startswith(VERSION) else Known()


def found(name: str) -> type[Any]:
    """Find the class of a name.

    Raises:
        UsageError: the name is unknown, or its class cannot be run.
    """
    have = classes()
    if name not in have:
        hint = did_you_mean(name, have)
        raise UsageError(
            f"avalanche-lib {avalanche().version} has no strategy {name!r}{hint} "
            "(clbench list strategies 'avalanche:*')"
        )
    why = known(name).failing()
    if why:
        raise UsageError(f"strategy=avalanche:{name} cannot be run: {why}")
    return have[name]


@cache
def plugin_class(name: str) -> type[Strategy]:
    """Make a clbench strategy of the class of a name, with settings from its signature.

    Raises:
        UsageError: Avalanche is missing, or the strategy is unknown or cannot be run.
    """
    cls, what = found(name), known(name)
    fields = {
        "Config": signature.settings_class(cls, Loop, {*OURS, *parts.FILLED}),
        "needs": Needs(disjoint_classes=what.disjoint, labels=True),
        "grows": bool(what.grows),
        "original": cls,
        "__doc__": inspect.getdoc(cls),
    }
    return type(name, (AvalancheStrategy,), fields)


def describe(name: str) -> tuple[str, list[source.Setting]]:
    """The description and settings of a strategy, for ``clbench show``."""
    ours, cls = plugin_class(name), found(name)
    own = signature.described(cls, ours.Config, Loop)
    common = source.class_settings(source.PACKAGE / "interop" / "avalanche.py", "Loop")
    return inspect.getdoc(cls) or "", [*own, *common]


class AvalancheStrategy(Strategy):
    """An Avalanche strategy in its own training loop, one experience at a time.

    It receives each experience as a benchmark of its own, so it cannot reach other tasks, and
    predicts with its own ``eval``. Its state does not fit a ``state_dict``.
    """

    resumable = False
    state_bytes_method = "reachable"
    original: ClassVar[type[Any]]

    def __init__(self, info: StreamInfo, config: Any, build_model: Callable[[], nn.Module]) -> None:
        super().__init__(info, config, build_model)
        if info.augment != "none":
            raise UsageError(
                f"data.augment={info.augment} needs clbench's own training loop: set "
                "data.augment=none for an Avalanche strategy"
            )
        self.name = f"avalanche:{type(self).__name__}"
        self.known = known(type(self).__name__)
        size, takes = math.prod(info.input_shape), self.known.input_size
        if takes not in (None, size):
            raise UsageError(f"{self.name} takes samples of {takes} values; these have {size}")
        what, value = self.known.bounded or ("", "")
        if self.known.bounded and getattr(config, what) == value:
            self.grows = False  # type: ignore[misc]  # with these settings
        model = build_model()
        if self.known.asks_features:
            model = parts.WithFeatures(*parts.layers(model, self.name))
            avalanche().models.BaseModel.register(parts.WithFeatures)
        self.came: list[list[int]] = []
        self.port = port()
        with quiet("avalanche"):
            try:
                self.inner = self._build(model)
            except (ValueError, TypeError, AssertionError) as error:
                reason = (str(error).splitlines() or [""])[0]
                raise UsageError(f"{self.name}: {type(error).__name__}: {reason}") from error
            self.question = one_experience(
                torch.zeros(1, *info.input_shape, dtype=info.dtype), torch.zeros(1).long(), "test"
            )
        self.model = self.inner.model

    def _build(self, model: nn.Module) -> Any:
        own = {p.name for p in signature.arguments(self.original, ())}
        optimizer = parts.optimizer(self.config, model)
        given = {
            "model": model,
            "optimizer": optimizer,
            "criterion": nn.CrossEntropyLoss(),
            "train_mb_size": self.config.batch_size,
            "train_epochs": self.config.epochs,
            "eval_mb_size": 512,
            "device": next(model.parameters()).device,
            "plugins": [self.port],
            "evaluator": avalanche().plugins.EvaluationPlugin(loggers=[]),
        }
        given.update(parts.fitting(self.original, own & set(parts.FILLED), model, self.info))
        common = {f.name for f in dataclasses.fields(Loop)}
        for f in dataclasses.fields(self.config):
            if f.name not in common:
                value = getattr(self.config, f.name)
                given[f.name] = signature.one_or_all(value) if isinstance(value, tuple) else value
        inner = self.original(**{name: v for name, v in given.items() if name in own})
        parts.balance(inner, avalanche().storage)
        return inner

    def learn(self, task: TaskData) -> None:
        """Train on one experience.

        Raises:
            ClbenchError: a sample is unlabelled.
        """
        if bool((task.y < 0).any()):
            raise ClbenchError(f"{self.name} learns from labels, and some samples have none")
        with quiet("avalanche"):
            number = self.inner.clock.train_exp_counter
            experience = one_experience(task.x, task.y, "train", number)
            if self.known.asks_classes:
                self.came.append(task.y.unique().tolist())
                parts.tell_classes(experience.benchmark, self.came, self.info.n_classes)
            self.inner.train(
                experience, eval_streams=[], num_workers=0, shuffle=self.config.shuffle
            )
        self.model = self.inner.model

    def forward(self, x: Tensor, task_id: Tensor | None = None) -> Tensor:
        """Compute ``(B, n_classes)`` scores by Avalanche's own evaluation."""
        y = torch.zeros(len(x), dtype=torch.long, device=x.device)
        self.port.batch = [x, y, y]
        # An evaluation may write to the network; the tensors must remain usable in training.
        with torch.inference_mode(False), quiet("avalanche"):
            self.inner.eval([self.question])
        scores: Tensor = self.port.scores
        self.port.batch = self.port.scores = None
        return scores

    def warning(self, diagnostics: Mapping[str, float]) -> str | None:
        """A warning if its state grows with the stream or it has another limitation."""
        warnings = [self.known.beware] if self.known.beware else []
        if self.grows:
            what = self.known.bounded
            instead = f"; with strategy.{what[0]}={what[1]} it does not" if what else ""
            warnings.append(
                f"keeps {self.known.grows} of every experience: its state grows{instead}"
            )
        return f"{self.name} {'; '.join(warnings)}" if warnings else None


def port() -> Any:
    """An Avalanche plug-in that passes in the batch to score, and collects the scores."""

    class Port(avalanche().core.SupervisedPlugin):  # type: ignore[misc]
        batch: list[Tensor] | None = None
        scores: Tensor | None = None

        def before_eval_exp(self, strategy: Any, **_: Any) -> None:
            strategy.dataloader = [self.batch]

        def after_eval_iteration(self, strategy: Any, **_: Any) -> None:
            self.scores = strategy.mb_output.detach()

    return Port()


def one_experience(x: Tensor, y: Tensor, stream: str, number: int = 0) -> Any:
    """Make an experience as the only one of its benchmark, without access to any other.

    It keeps its number in the stream, which some strategies need.
    """
    made = avalanche().benchmarks.tensors_benchmark([(x, y)], [(x, y)], task_labels=[0])
    experience = getattr(made, f"{stream}_stream")[0]
    labels: list[set[int]] = made.stream_definitions[stream].exps_task_labels
    labels.extend(labels * number)  # where it looks up its task label
    experience.current_experience = number
    return experience


def to_benchmark(
    stream: Stream,
    experiences: int | None = None,
    *,
    test: Literal["world", "tasks"] = "world",
    scaled: bool = False,
) -> Any:
    """Convert a stream to an Avalanche benchmark: ``train_stream`` and ``test_stream``.

    All experiences are gathered at once and stay in memory, as in Avalanche. Their samples keep
    the stream's order, so ``train(experience, shuffle=False)`` sees what the harness delivers.

    Args:
        stream: such as ``clbench.prepare("scenario=scole", "strategy=naive").stream``.
        experiences: their number; required if the stream is endless.
        test: ``world``: one test experience with the test samples of all classes and domains;
            ``tasks``: one for each training experience, of its task.
        scaled: convert to float32 in the unit range, for Avalanche's own models; clbench's models
            take raw samples.

    Raises:
        UsageError: Avalanche is missing, the number of experiences does not fit, or there are task
            identities, which Avalanche gives to a whole experience, and ``test`` is ``world``.
    """
    if stream.task_ids and test == "world":
        raise UsageError("a stream with task identities must be tested by task: set test='tasks'")
    n = plain_tensors.experiences_of(stream, experiences)
    scale = stream.pool.scale if scaled else None
    drawn = [stream.experience(number) for number in range(n)]
    train = [(task.x if scale is None else task.x * scale, task.y) for task in drawn]
    labels = [stream.locate(number)[0] if stream.task_ids else 0 for number in range(n)]
    tests = plain_tensors.tests_of(stream, n, test, scale)
    with quiet("avalanche"):
        return avalanche().benchmarks.tensors_benchmark(
            train, tests, task_labels=labels, complete_test_set_only=test == "world"
        )


def as_strategy(
    strategy: Strategy,
    *,
    seed: int = 0,
    evaluator: Any = None,
    plugins: Sequence[Any] = (),
    eval_mb_size: int = 512,
) -> Any:
    """Convert a clbench strategy to an Avalanche strategy: ``train(experience)``, ``eval(stream)``.

    ``learn`` learns a whole experience, under the seed that the harness would set; Avalanche's
    training steps are not used. Training metrics are measured in a pass over the experience after
    it was learned. If the strategy needs task identities, they are the experience's task labels, and
    predictions are restricted to the classes seen under a label.

    Args:
        strategy: such as ``clbench.prepare("scenario=scole", "strategy=ewc").strategy()``.
        seed: seed of the strategy's random numbers; with the run's seed, results equal the run's.
        evaluator: Avalanche's ``EvaluationPlugin``, with its metrics and loggers; None: none.
        plugins: further plug-ins of Avalanche, which can observe.
        eval_mb_size: samples predicted at once.

    Raises:
        UsageError: Avalanche is missing.
    """
    tensors = [*strategy.parameters(), *strategy.buffers()]
    device = tensors[0].device if tensors else torch.device("cpu")
    if evaluator is None:
        evaluator = avalanche().plugins.EvaluationPlugin(loggers=[])
    with quiet("avalanche"):
        return avalanche_strategy.strategy_class(avalanche().templates.SupervisedTemplate)(
            model=strategy,
            optimizer=torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.0),  # never stepped
            criterion=nn.CrossEntropyLoss(),
            train_mb_size=eval_mb_size,
            eval_mb_size=eval_mb_size,
            device=device,
            plugins=list(plugins),
            evaluator=evaluator,
            seed=seed,
        )
