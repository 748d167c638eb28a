"""Which strategy is held to which loop, with which settings, on which streams."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from . import closed_form, exemplars, gdumb, lwf, plain, quadratic, replay
from .bare import Training
from .rig import Rig

Pair = tuple[Tensor, Tensor]
"""What the strategy has, and what the loop has."""
TWICE = Training(epochs=2)
RECURS = ("recurring", "told")
ANALYTIC = ("slda", "ridge", "nmc", "fecam")
"""Strategies without a network."""
EVERY = ("recurring", "told", "disjoint", "chunked")


@dataclass(frozen=True)
class Case:
    """A strategy under some settings, and its loop."""

    strategy: str
    reference: str
    compare: Callable[[Rig, Training], dict[str, Pair]]
    """Lets the strategy learn, runs the loop, and returns what is to be equal."""
    settings: dict[str, Any] = field(default_factory=dict)
    training: Training = TWICE
    streams: tuple[str, ...] = RECURS
    note: str = ""
    acts: bool = True
    """Whether the weights must differ from those of fine-tuning."""

    @property
    def name(self) -> str:
        return " ".join([self.strategy, *self.note.split()])

    def words(self) -> list[str]:
        given = {} if self.strategy in ANALYTIC else asdict(self.training)
        if self.strategy == "gdumb":
            given["memory_epochs"] = given.pop("epochs")
        told = {**given, **self.settings}
        values = [f"strategy.{k}={'null' if v is None else v}" for k, v in told.items()]
        return [f"strategy={self.strategy}", *values]


@dataclass(frozen=True)
class Difference:
    """How far a strategy is from its loop."""

    largest: float
    """Over weights: as a part of the longest way that a weight has gone; else of the largest value."""
    from_naive: float
    """Of the loop's weights from those of fine-tuning, in the same unit; infinite if it has none."""


def measure(case: Case, stream: str) -> Difference:
    """Let strategy and loop learn the stream, and compare them."""
    rig = Rig(stream, case.words(), case.training.epochs)
    start = None if case.strategy in ANALYTIC else rig.net()
    found, apart = [], float("inf")
    for what, (ours, theirs) in case.compare(rig, case.training).items():
        finite = theirs.isfinite()
        assert torch.equal(ours.isfinite(), finite), what
        unit = theirs[finite].abs().max()
        if what == "weights":
            assert start is not None
            unit = (theirs - start.start).abs().max()
            apart = float(
                (theirs - plain.naive(start, rig.tasks, case.training)).abs().max() / unit
            )
        found.append(float((ours - theirs)[finite].abs().max() / unit))
    assert not rig.drawn, "samples were drawn that the loop did not ask for"
    return Difference(max(found), apart)


def naive(rig: Rig, training: Training) -> dict[str, Pair]:
    net = rig.net()
    rig.learn()
    return {"weights": (rig.weights(), plain.naive(net, rig.tasks, training))}


def joint(budget: str) -> Callable[[Rig, Training], dict[str, Pair]]:
    def compare(rig: Rig, training: Training) -> dict[str, Pair]:
        net = rig.net()
        rig.note_batches()
        rig.learn()
        starts = rig.entered if budget == "scratch" else None
        matched = budget == "matched"
        theirs = plain.joint(net, rig.tasks, training, rig.trained, matched=matched, starts=starts)
        return {"weights": (rig.weights(), theirs)}

    return compare


def held(
    loop: Callable[..., quadratic.Found], **settings: Any
) -> Callable[[Rig, Training], dict[str, Pair]]:
    """Of a quadratic penalty: weights and importances."""

    def compare(rig: Rig, training: Training) -> dict[str, Pair]:
        net = rig.net()
        rig.learn()
        w, importance = loop(net, rig.tasks, training, **settings)
        return {"weights": (rig.weights(), w), "importance": (rig.strategy.importance, importance)}

    return compare


def distilled(alpha: float, temperature: float) -> Callable[[Rig, Training], dict[str, Pair]]:
    def compare(rig: Rig, training: Training) -> dict[str, Pair]:
        net = rig.net()
        rig.learn()
        w = lwf.lwf(net, rig.tasks, training, alpha=alpha, temperature=temperature)
        return {"weights": (rig.weights(), w)}

    return compare


def replayed(
    loop: Callable[..., Tensor], **settings: Any
) -> Callable[[Rig, Training], dict[str, Pair]]:
    def compare(rig: Rig, training: Training) -> dict[str, Pair]:
        net = rig.net()
        rig.note_draws()
        rig.learn()
        theirs = loop(net, rig.tasks, training, rig.drawn, **settings)
        return {"weights": (rig.weights(), theirs)}

    return compare


def with_exemplars(
    loss: Callable[..., exemplars.Loss], size: int, align: bool = False, **settings: Any
) -> Callable[[Rig, Training], dict[str, Pair]]:
    def compare(rig: Rig, training: Training) -> dict[str, Pair]:
        net = rig.net()
        rig.note_batches()
        rig.learn()
        of = loss(net, **settings)
        theirs = exemplars.learn(net, rig.tasks, training, rig.trained, of, size=size, align=align)
        return {"weights": (rig.weights(), theirs)}

    return compare


def dumb(size: int) -> Callable[[Rig, Training], dict[str, Pair]]:
    def compare(rig: Rig, training: Training) -> dict[str, Pair]:
        net = rig.net()
        rig.note_batches()
        rig.learn()
        theirs = gdumb.gdumb(net, rig.tasks, training, rig.entered, rig.trained, size=size)
        return {"weights": (rig.weights(), theirs)}

    return compare


def analytic(
    loop: Callable[..., Any], projected: bool = False, **settings: Any
) -> Callable[[Rig, Training], dict[str, Pair]]:
    """Of a learner without a network: the scores of all test samples."""

    def compare(rig: Rig, training: Training) -> dict[str, Pair]:
        rig.learn()
        x = rig.run.stream.world().x
        m = (rig.strategy.projection.numpy(),) if projected else ()
        theirs = loop(rig.tasks, rig.vectors(x).numpy(), *m, **settings)
        return {"scores": (rig.strategy(x), torch.as_tensor(theirs))}

    return compare


def ewc(mode: str, step: str, momentum: float = 0.0) -> Case:
    lam, gamma, n = 20.0, 0.7 if mode == "online" else 1.0, 40
    loop = held(quadratic.ewc, lam=lam, mode=mode, gamma=gamma, step=step, n=n)
    words = {"lam": lam, "mode": mode, "gamma": gamma, "fisher_samples": n, "penalty_step": step}
    training = Training(epochs=2, momentum=momentum, lr=0.1 * (1 - momentum))
    note = f"{mode} {step}" + (f" momentum={momentum}" if momentum else "")
    return Case("ewc", "Kirkpatrick 2017, eq. 3", loop, words, training, note=note)


def quadratics() -> list[Case]:
    cases = [ewc(m, s) for m in ("separate", "online") for s in ("explicit", "proximal")]
    cases += [ewc("separate", "proximal", 0.9), ewc("online", "explicit", 0.9)]
    for step in ("explicit", "proximal"):
        si = {"lam": 2.0, "xi": 0.01}
        mas = {"lam": 0.2}
        walk: dict[str, Any] = {"lam": 3.0, "alpha": 0.8, "window": 5, "epsilon": 1e-7}
        cases += [
            Case(
                "si",
                "Zenke 2017, eq. 3-5",
                held(quadratic.si, **si, step=step),
                {**si, "penalty_step": step},
                streams=EVERY,
                note=step,
            ),
            Case(
                "mas",
                "Aljundi 2018, eq. 2-3",
                held(quadratic.mas, **mas, step=step, n=60),
                {**mas, "samples": 60, "penalty_step": step},
                note=step,
            ),
            Case(
                "rwalk",
                "Chaudhry 2018, eq. 6-8",
                held(quadratic.rwalk, **walk, step=step),
                {**walk, "penalty_step": step},
                note=step,
            ),
        ]
    return cases


def replays() -> list[Case]:
    large: dict[str, Any] = {"memory_size": 2000, "replay_batch": 24}
    small = {**large, "memory_size": 60}
    er, ace = replayed(replay.er), replayed(replay.er_ace)
    der, derpp = (replayed(replay.der, alpha=0.3, beta=b) for b in (None, 0.7))
    mir, agem = replayed(replay.mir, n=24), replayed(replay.agem)
    cases = []
    for note, size in (("", large), ("small memory", small)):
        cases += [
            Case("er", "Chaudhry 2019", er, size, streams=EVERY, note=note),
            Case(
                "er",
                "Chaudhry 2019",
                er,
                {**size, "per_step": True},
                streams=EVERY,
                note=f"per step {note}",
            ),
            Case("er_ace", "Caccia 2022", ace, size, streams=EVERY, note=note),
            Case("mir", "Aljundi 2019", mir, {**size, "candidates": 50}, note=note),
            Case("agem", "Chaudhry 2019, eq. 11", agem, size, streams=EVERY, note=note),
        ]
        for epochs in (1, 2, 3):
            training, times = Training(epochs=epochs), f"{note} epochs={epochs}"
            dark = {**size, "alpha": 0.3}
            cases += [
                Case("der", "Buzzega 2020, eq. 6", der, dark, training, EVERY, times),
                Case(
                    "derpp",
                    "Buzzega 2020, eq. 7",
                    derpp,
                    {**dark, "beta": 0.7},
                    training,
                    EVERY,
                    times,
                ),
            ]
    return cases


def others() -> list[Case]:
    clipped = Training(epochs=3, momentum=0.5, clip_norm=0.5, schedule="cosine")
    lesson = {"alpha": 1.5, "temperature": 2.0}
    thrice = Training(epochs=3, schedule="cosine", lr=0.2)
    warmed = Training(epochs=3, schedule="cosine", lr=0.2, warmup=2)
    budgets: dict[str, dict[str, Any]] = {
        name: {"budget": name} for name in ("full", "matched", "scratch", "evaluations")
    }
    budgets["evaluations"]["memory_epochs"] = TWICE.epochs
    cases = [
        Case("naive", "SGD", naive, streams=EVERY, acts=False),
        Case("naive", "SGD", naive, {}, clipped, EVERY, "momentum clip cosine", acts=False),
        *(
            Case("joint", "iid SGD", joint(budget), words, streams=EVERY, note=budget)
            for budget, words in budgets.items()
        ),
        Case("lwf", "Li 2016, eq. 2-3", distilled(**lesson), lesson, streams=EVERY),
        Case("gdumb", "Prabhu 2020", dumb(45), {"memory_size": 45}, thrice, EVERY, "45 samples"),
        Case("gdumb", "Prabhu 2020", dumb(2000), {"memory_size": 2000}, thrice, EVERY, "all"),
        Case("gdumb", "Prabhu 2020", dumb(45), {"memory_size": 45}, warmed, EVERY, "warm-up"),
    ]
    for weighting in ("published", "pooled"):
        loop = analytic(closed_form.slda, shrinkage=1e-3, pooled=weighting == "pooled")
        words = {"shrinkage": 1e-3, "weighting": weighting}
        cases += [Case("slda", "Hayes 2020", loop, words, streams=EVERY, note=weighting)]
    projected = analytic(closed_form.ridge, True, lam=0.5)
    cases += [
        Case(
            "ridge",
            "McDonnell 2023",
            projected,
            {"projection": 50, "lam": 0.5},
            streams=("recurring", "disjoint", "chunked"),
        )
    ]
    return cases


def of_exemplars() -> list[Case]:
    """On classes that come once; the memory is full from the first task on."""
    once, few = ("disjoint",), {"memory_size": 41}
    cases = [
        Case(
            "icarl",
            "Rebuffi 2017",
            with_exemplars(exemplars.icarl, 41, form=form),
            {**few, "form": form},
            streams=once,
            note=form,
        )
        for form in ("ce", "bce")
    ]
    return [
        *cases,
        Case(
            "wa",
            "Zhao 2020, eq. 3 and 8",
            with_exemplars(exemplars.wa, 41, align=True),
            few,
            streams=once,
        ),
    ]


def prototypes() -> list[Case]:
    shrunk = {"shrink_variance": 0.7, "shrink_covariance": 0.3}
    cases = [
        Case(
            "nmc",
            "Zhou 2023, SimpleCIL",
            analytic(closed_form.simple_cil),
            {"metric": "cosine"},
            streams=EVERY,
            note="cosine",
        ),
        Case(
            "ridge",
            "McDonnell 2023, RanPAC",
            analytic(closed_form.ranpac, True),
            {"projection": 50, "scaled": "false", "choose_lam": "true"},
            streams=("disjoint", "chunked"),
            note="choose_lam",
        ),
    ]
    for tukey in (False, True):
        loop = analytic(closed_form.fecam, g1=0.7, g2=0.3, tukey=tukey)
        words = {**shrunk, "tukey": str(tukey).lower()}
        note = "tukey" if tukey else ""
        cases.append(Case("fecam", "Goswami 2023", loop, words, streams=("disjoint",), note=note))
    return cases


def all_cases() -> list[Case]:
    return [*others(), *prototypes(), *quadratics(), *replays(), *of_exemplars()]
