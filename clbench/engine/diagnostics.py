"""Diagnostics of a network for any run: rank, dead units, weight norm, plasticity.

They are taken at evaluations, on a fixed probe of training samples, recorded beside the strategy's
own diagnostics and never ranked. Nothing that is learnt or counted depends on them: what is run and
fitted is a twin of the network, built by ``build_model`` and loaded with its weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clbench import seeding
from clbench.errors import UsageError
from clbench.nets.features import features
from clbench.nets.parameters import output_layer
from clbench.seeding import Axis
from clbench.strategy import Strategy
from clbench.stream import Stream

# These constants are part of the definition of the recorded values.
PROBE_SAMPLES = 1024
"""Far more than features, as a rank needs it; fewer where the pool has fewer."""
RANKME_EPSILON = 1e-7
FIT_SAMPLES = 256
"""Of the probe, whose random labels the plasticity probe fits."""
FIT_STEPS = 100
FIT_BATCH = 64
FIT_LR = 1e-3
BATCH_SIZE = 256
"""Batch size of the twin on the probe."""

PROBE_KEY, FIT_KEY = 2, 3
"""Keys on the evaluation axis."""


def effective_rank(features: Tensor) -> Tensor:
    """0-d in [1, min(N, K)]: exponential of the entropy of the normalised singular values.

    Roy & Vetterli 2007 (EUSIPCO), ``p_k = s_k / sum s``, with ``0 log 0 = 0``; NaN for features that
    are all zero or no numbers.

    Args:
        features: ``(N, K)``.
    """
    return _exp_entropy(_spectrum(features))


def rankme(features: Tensor) -> Tensor:
    """0-d: RankMe of Garrido et al. 2023 (ICML, arXiv 2210.02885), ``p_k = s_k / sum s + 1e-7``.

    As there, p is not normalised again and the features are not centred. The paper takes N = 25,600;
    N must be well above K for the rank to be that of the features and not of the sample.

    Args:
        features: ``(N, K)``.
    """
    return _exp_entropy(_spectrum(features) + RANKME_EPSILON)


def _exp_entropy(p: Tensor) -> Tensor:
    rank: Tensor = torch.special.entr(p).sum().exp()
    return rank


def _spectrum(features: Tensor) -> Tensor:
    """``(min(N, K),)`` float64 on the CPU: singular values over their sum."""
    if features.numel() == 0 or not features.isfinite().all():
        return torch.full((1,), torch.nan, dtype=torch.float64)
    values: Tensor = torch.linalg.svdvals(features.cpu().double())
    return values / values.sum()


def active_units(activations: Tensor) -> Tensor:
    """``(units,)`` bool: which units are above zero on any of the samples.

    Args:
        activations: ``(N, units, ...)`` behind a ReLU. Of a convolution a unit is a channel, active
            where any of its positions is.
    """
    return (activations > 0).transpose(0, 1).flatten(1).any(1)


def dead_units(active: Iterable[Tensor]) -> float:
    """Share in [0, 1] of the units of some layers that no sample of the probe activates.

    Dohare et al. 2024 (Nature 632:768) count the same on 2,000 inputs of permuted MNIST; for their
    residual network they count units that fewer than 1 % of the inputs activate instead. NaN where
    there are no units.

    Args:
        active: ``(units,)`` bool of each layer, as from ``active_units``.
    """
    units = [unit for layer in active for unit in layer.tolist()]
    return 1 - sum(units) / len(units) if units else float("nan")


def weight_norm(parameters: Iterable[Tensor]) -> dict[str, float]:
    """The L2 norm of all parameters together, and their mean magnitude (as Dohare et al. log)."""
    flat = torch.cat([p.detach().reshape(-1) for p in parameters])
    return {"weight_norm": float(flat.norm()), "weight_magnitude": float(flat.abs().mean())}


def refit(network: nn.Module, x: Tensor, y: Tensor, batches: Sequence[Tensor]) -> float:
    """Train a network in place with a fresh Adam (lr 0.001); the loss it reaches on all of x.

    Args:
        network: ``(B, ...)`` to ``(B, n_classes)`` logits; trained and scored in training mode.
        x: ``(n, ...)``.
        y: ``(n,)`` int64.
        batches: ``(B,)`` int64 samples of each step.

    Returns:
        Mean cross-entropy in nats.
    """
    network.train()
    optimizer = torch.optim.Adam(network.parameters(), lr=FIT_LR)
    for batch in batches:
        optimizer.zero_grad()
        F.cross_entropy(network(x[batch]), y[batch]).backward()
        optimizer.step()
    with torch.no_grad():
        return float(F.cross_entropy(network(x), y))


def observe(network: nn.Module, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Record features and active units of a network in evaluation mode.

    Args:
        network: the network; ReLUs are found only if they are modules (``nn.ReLU``).
        x: ``(N, ...)``.

    Returns:
        ``(N, K)`` inputs of the output layer, as from ``features``; ``(units,)`` bool for each ReLU
        in the order of their calls, as from ``active_units``.
    """
    active: list[Tensor] = []

    def see(_: nn.Module, __: tuple[Tensor, ...], out: Tensor) -> None:
        active.append(active_units(out))

    hooks = [m.register_forward_hook(see) for m in network.modules() if isinstance(m, nn.ReLU)]
    try:
        seen = features(network, x, BATCH_SIZE)
    finally:
        for hook in hooks:
            hook.remove()
    calls = len(active) // len(x.split(BATCH_SIZE))  # of ReLUs, for each batch in turn
    return seen, [torch.stack(active[call::calls]).any(0) for call in range(calls)]


def probe_inputs(stream: Stream) -> Tensor:
    """``(n, *input_shape)``: training samples of all the stream's classes, the same all through a run.

    Spread evenly over the domains that are evaluated, in mixed order. They may be of tasks that are
    yet to come; none is of the test split.
    """
    rng = seeding.generator(stream.seed, Axis.EVALUATE, PROBE_KEY)
    of = stream.pool.labels("train")
    index = rng.permutation(np.flatnonzero(np.isin(of, stream.pool_labels)))[:PROBE_SAMPLES]
    if stream.transform is None or not stream.tested_as_transformed:
        return stream.pool.gather("train", index)
    parts = []
    for number, domain in enumerate(stream.domains[: len(index)]):
        noise = seeding.torch_generator(stream.seed, Axis.EVALUATE, PROBE_KEY, domain)
        here = index[number :: len(stream.domains)]
        transform = stream.transform.bound("train", here)
        change = partial(transform, domain=domain, generator=noise)
        parts.append(stream.pool.changed("train", here, change))
    x = torch.cat(parts)
    return x[torch.as_tensor(rng.permutation(len(x)), device=x.device)]


def check_network(names: Sequence[str], strategy: Strategy) -> None:
    """Refuse the diagnostics ``names`` if the strategy has no network that they can measure.

    Raises:
        UsageError: ``strategy.model`` is no network with the parameters of ``build_model()``, or
            ``names`` has ``rank`` and the network has no linear layer. Empty names: nothing is refused.
    """
    if not names:
        return
    asked = f"diagnostics=[{','.join(names)}]"
    model = getattr(strategy, "model", None)
    with seeding.preserved(0):
        if not isinstance(model, nn.Module) or _shapes(model) != _shapes(strategy.build_model()):
            raise UsageError(
                f"{asked}: {type(strategy).__name__} does not learn with a network of build_model() "
                "as its attribute model; drop diagnostics="
            )
    if "rank" in names and output_layer(model) is None:
        raise UsageError(f"{asked}: rank needs a network that ends in a linear layer; drop rank")


def _shapes(model: nn.Module) -> dict[str, torch.Size]:
    return {k: v.shape for k, v in model.state_dict().items() if isinstance(v, Tensor)}


class Probe:
    """Measures the diagnostics of a run, at every evaluation in the same way."""

    def __init__(
        self, names: Sequence[str], strategy: Strategy, stream: Stream, threads: int
    ) -> None:
        """Draw the probe; nothing is run yet.

        Args:
            names: of ``clbench.configure.common.DIAGNOSTICS``.
            strategy: whose ``model`` is measured, and left as it is.
            stream: of the run.
            threads: as the run's.

        Raises:
            UsageError: the strategy has no network to measure.
        """
        check_network(names, strategy)
        self.names, self.seed, self.threads = names, stream.seed, threads
        self.strategy: Any = strategy
        self.x = probe_inputs(stream)
        rng = seeding.generator(stream.seed, Axis.EVALUATE, FIT_KEY)
        n = min(FIT_SAMPLES, len(self.x))
        labels = rng.integers(stream.n_classes, size=n)
        self.labels = torch.as_tensor(labels, device=self.x.device)
        drawn = rng.integers(n, size=(FIT_STEPS, FIT_BATCH))
        self.batches = torch.as_tensor(drawn, device=self.x.device)

    def measure(self) -> dict[str, float]:
        """Name to value; NaN where undefined. No generator, mode, weight or count is changed."""
        found: dict[str, float] = {}
        with seeding.preserved(self.threads):
            if "rank" in self.names or "dead_units" in self.names:
                seen, active = observe(self._twin(), self.x)
                if "rank" in self.names:
                    found["effective_rank"] = float(effective_rank(seen))
                    found["rankme"] = float(rankme(seen))
                if "dead_units" in self.names:
                    found["dead_units"] = dead_units(active)
                    for number, layer in enumerate(active, 1):
                        found[f"dead_units/{number}"] = dead_units([layer])
            if "weight_norm" in self.names:
                parameters = self.strategy.model.parameters()
                found |= weight_norm(p for p in parameters if p.requires_grad)
            if "plasticity" in self.names:
                found["plasticity"] = self._baseline - self._refit(self._twin())
        return found

    @cached_property
    def _baseline(self) -> float:
        """The loss that a freshly initialised network reaches on the probe task."""
        return self._refit(self._fresh)

    def _refit(self, network: nn.Module) -> float:
        """The loss on random labels after ``FIT_STEPS`` steps: the probe task of Lyle et al. 2023.

        Plasticity there (ICML, arXiv 2303.01486) is ``b - E[loss(w*)]``, w* being what some steps of
        the optimiser make of the weights on a task drawn at random (formula not verified). Here: one
        task a run, ``FIT_SAMPLES`` inputs with uniform random labels; Adam with fresh moments,
        whatever the strategy's optimizer, so that strategies can be compared; and b is the loss of
        a network with the seed's initial weights, so that 0 is as plastic as new, below is less.
        """
        seeding.seed_all(self.seed, Axis.EVALUATE, FIT_KEY)  # of dropout
        return refit(network, self.x[: len(self.labels)], self.labels, list(self.batches))

    @cached_property
    def _fresh(self) -> nn.Module:
        """A network as the strategy's before the first experience (where it draws nothing else)."""
        seeding.seed_all(self.seed, Axis.MODEL)
        with torch.device(self.x.device):
            network: nn.Module = self.strategy.build_model().to(self.x.device)
        return network

    def _twin(self) -> nn.Module:
        """The strategy's network again, on parameters of its own."""
        if "plasticity" in self.names:
            _ = self._baseline  # before its weights are overwritten
        self._fresh.load_state_dict(self.strategy.model.state_dict())
        return self._fresh
