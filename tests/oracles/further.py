"""Cases of plasticity, capacity and contrast, beside those of ``cases``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from clbench import seeding

from . import capacity, contrastive, plasticity, xder
from .bare import Net, Training
from .cases import EVERY, Case, Pair
from .rig import HIDDEN, Rig


def drawing(
    loop: Callable[..., Tensor], **settings: Any
) -> Callable[[Rig, Training], dict[str, Pair]]:
    """Of a loop that draws from the generator of each experience."""

    def compare(rig: Rig, training: Training) -> dict[str, Pair]:
        net = rig.net()
        rig.learn()
        with seeding.preserved(1):
            theirs = loop(net, rig.tasks, training, rig.seed, **settings)
        return {"weights": (rig.weights(), theirs)}

    return compare


def packed(retrain: int) -> Callable[[Rig, Training], dict[str, Pair]]:
    def compare(rig: Rig, training: Training) -> dict[str, Pair]:
        net = rig.net()
        rig.learn()
        tasks = rig.told(training.epochs + retrain)
        n_tasks = rig.run.stream.n_tasks
        w, scores = capacity.packnet(net, tasks, training, retrain=retrain, n_tasks=n_tasks)
        with torch.no_grad():
            ours = torch.cat([rig.strategy(task.x, task.task_id) for task in rig.experiences])
        return {"weights": (rig.weights(), w), "scores": (ours, scores)}

    return compare


def projected(head: bool, **settings: float) -> Callable[[Rig, Training], dict[str, Pair]]:
    def compare(rig: Rig, training: Training) -> dict[str, Pair]:
        net = rig.net()
        rig.learn()
        w = capacity.gpm(net, rig.tasks, training, head=head, **settings)
        return {"weights": (rig.weights(), w)}

    return compare


def attentive(c: float, s_max: float) -> Callable[[Rig, Training], dict[str, Pair]]:
    def compare(rig: Rig, training: Training) -> dict[str, Pair]:
        net = rig.net()
        rig.learn()
        n_tasks = rig.run.stream.n_tasks
        given = {"n_tasks": n_tasks, "c": c, "s_max": s_max}
        theirs = capacity.hat(net.start, net.widths, rig.tasks, training, **given)
        return {"weights and gates": (rig.weights(), theirs)}

    return compare


def contrasted(temperature: float, size: int) -> Callable[[Rig, Training], dict[str, Pair]]:
    def compare(rig: Rig, training: Training) -> dict[str, Pair]:
        net = rig.net()
        net = Net(net.start, [net.widths[0], HIDDEN, HIDDEN, size])
        rig.note_draws()
        rig.learn()
        drawn = rig.drawn
        w, seen = contrastive.scr(net, rig.tasks, training, drawn, temperature=temperature)
        stored = seen.take(rig.strategy.memory.key[: int(rig.strategy.memory.filled)].tolist())
        x = rig.run.stream.world().x
        encoder = Net(w[: (net.widths[0] + 1) * HIDDEN], net.widths[:2])
        found, asked = (
            encoder.logits(encoder.start, z).clamp(min=0) for z in (stored.x, rig.vectors(x))
        )
        scores = contrastive.nearest_mean(found, stored.y, asked, rig.n_classes)
        with torch.no_grad():
            ours = rig.strategy(x)
        return {"projected": (rig.weights(), w), "scores": (ours, scores)}

    return compare


def extended(**settings: Any) -> Callable[[Rig, Training], dict[str, Pair]]:
    def compare(rig: Rig, training: Training) -> dict[str, Pair]:
        net = rig.net()
        memory = rig.strategy.memory
        memory.logits = memory.logits.double()
        rig.note_draws()
        rig.learn()
        w, stored = xder.xder(net, rig.tasks, training, rig.drawn, **settings)
        keys = memory.key[: int(memory.filled)].tolist()
        logits = torch.stack([stored[key] for key in keys])
        return {"weights": (rig.weights(), w), "logits": (memory.logits[: len(keys)], logits)}

    return compare


def plasticities() -> list[Case]:
    renewed = {"period": 4, "tau": 0.6}
    shaken: dict[str, Any] = {"beta": 0.9, "sigma": 0.05}
    found = [
        Case(
            "redo",
            "Sokar 2023, eq. 1",
            drawing(plasticity.redo, **renewed),
            {"reset_period": 4, "tau": 0.6},
            streams=EVERY,
        )
    ]
    for gates in ("update", "noise"):
        loop = drawing(plasticity.upgd, **shaken, decay=0.01, protects=gates == "update")
        words = {**shaken, "weight_decay": 0.01, "gates": gates}
        found.append(Case("upgd", "Elsayed 2024", loop, words, streams=EVERY, note=gates))
    return found


def capacities() -> list[Case]:
    told = ("told",)
    found = [
        Case("packnet", "Mallya 2018, 3", packed(n), {"retrain_epochs": n}, streams=told, note=note)
        for n, note in ((2, ""), (1, "one more epoch"))
    ]
    for stream, head in (("told", False), ("disjoint", True)):
        loop = projected(head, threshold=0.9, rise=0.01)
        words = {"threshold": 0.9, "threshold_step": 0.01, "samples": 10_000}
        found.append(Case("gpm", "Saha 2021, eq. 7-9", loop, words, streams=(stream,)))
    gates = {"c": 0.5, "s_max": 50.0}
    return [*found, Case("hat", "Serra 2018, eq. 1-6", attentive(**gates), gates, streams=told)]


def contrasts() -> list[Case]:
    words = {"memory_size": 2000, "replay_batch": 24, "temperature": 0.2, "projection": 5}
    loop = contrasted(0.2, 5)
    none = {**words, "views": "none"}
    given = {"alpha": 0.3, "beta": 0.8, "lam": 0.2, "eta": 0.4, "margin": 0.3, "gamma": 0.85}
    given["temperature"] = 2.0
    further = {"memory_size": 2000, "replay_batch": 24, "views": "none", "n_views": 2}
    ext = extended(**given, views=2)
    extends = Case("xder", "Boschini 2022", ext, {**given, **further}, streams=("disjoint",))
    return [
        extends,
        Case("scr", "Mai 2021", loop, none, streams=("recurring", "disjoint", "chunked")),
    ]


def further_cases() -> list[Case]:
    return [*plasticities(), *capacities(), *contrasts()]
