"""The optimizer of gradient strategies: one flat vector of weights, one update.

All trainable parameters are views of one vector, so that clipping is one norm, an update one
kernel, and a regulariser's penalty one line over ``(P,)`` vectors. The results are those of
the same optimizer on the separate tensors, to float tolerance.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import _global_optimizer_post_hooks

from clbench.errors import UsageError

# These look at the shape of each tensor, so they are given the tensors; all others are elementwise.
SHAPE_AWARE = {"adafactor", "muon"}
REFUSED = {"lbfgs": "it needs a closure", "sparseadam": "it needs sparse gradients"}


class FlatWeights:
    """Makes parameters views of one vector, and keeps them so.

    ``deepcopy``, ``.double()`` or ``load_state_dict(assign=True)`` give parameters storage of their
    own again without an error; ``bind`` notices and lays them back. The vector is registered nowhere:
    the parameters are what a state dict holds.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.shapes = [p.shape for p in self.parameters]
        self.sizes = [p.numel() for p in self.parameters]
        # Gradients are taken by the parameters; without a gradient of its own the vector can be
        # updated with no guard against recording.
        device = self.parameters[0].device if self.parameters else None
        self.vector = nn.Parameter(torch.empty(0, device=device), requires_grad=False)
        self.bind()

    def bind(self) -> None:
        """Make every parameter a view of the vector again if its storage has changed."""
        # The model is read each time, because assign=True replaces the parameter objects.
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        if self._bound():
            return
        with torch.no_grad():
            # Nothing to train is an empty vector.
            parts = [p.detach().reshape(-1) for p in self.parameters] or [self.vector.data]
            self.vector.data = torch.cat(parts)
            for p, part in zip(self.parameters, self.split(self.vector.data), strict=True):
                p.data = part

    def _bound(self) -> bool:
        at = self.vector.data_ptr()
        for p, size in zip(self.parameters, self.sizes, strict=True):
            if p.data_ptr() != at or p.dtype != self.vector.dtype:
                return False
            at += size * p.element_size()
        return self.vector.numel() > 0

    def split(self, vector: Tensor) -> list[Tensor]:
        """A ``(P,)`` vector as views of the parameters' shapes."""
        parts = vector.split(self.sizes)
        return [part.view(shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def gradient(self, loss: Tensor) -> Tensor:
        """``(P,)``: the gradient of a scalar loss; zero for parameters that the loss does not use."""
        parts = derivatives(loss, self.parameters)
        return torch.cat(
            [
                p.new_zeros(size) if part is None else part.reshape(-1)
                for part, p, size in zip(parts, self.parameters, self.sizes, strict=True)
            ]
        )


def derivatives(loss: Tensor, inputs: list[nn.Parameter]) -> tuple[Tensor | None, ...]:
    """The gradients of a scalar by tensors; None where it does not depend on one.

    ``torch.autograd.grad`` without the checks of its arguments, which take a tenth of a small
    network's step. What it says of a loss that is no scalar or has no graph, it says here too.
    """
    engine = getattr(torch.autograd.graph, "_engine_run_backward", None)
    if engine is None or loss.dim() or not loss.requires_grad or not inputs:
        return torch.autograd.grad(loss, inputs, allow_unused=True)
    one = loss.detach().new_ones(())
    found: tuple[Tensor | None, ...] = engine(
        (loss,), (one,), False, False, (*inputs,), True, accumulate_grad=False
    )
    return found


def _plain(name: str) -> Callable[..., Any]:
    """A method of torch's optimizer without its wrapper, which imports the compiler (a second)."""
    method = getattr(torch.optim.Optimizer, name)
    found: Callable[..., Any] = getattr(method, "__wrapped__", method)
    return found


class SGD(torch.optim.Optimizer):
    """``torch.optim.SGD`` for one flat vector, in one or two kernels instead of a dozen calls."""

    def __init__(
        self,
        params: list[nn.Parameter],
        lr: float,
        momentum: float,
        weight_decay: float,
        nesterov: bool = False,
    ) -> None:
        settings = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        # Only where it is set, so that the state of all other optimizers is that of before.
        super().__init__(params, {**settings, **({"nesterov": True} if nesterov else {})})

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Momentum as in torch: ``v = m v + g``, ``w -= lr v``, with ``v = g`` at the first step.

        Nesterov's, as in torch: ``w -= lr (g + m v)``.
        """
        for group in self.param_groups:
            for weights in group["params"]:
                update = weights.grad
                if group["weight_decay"]:
                    update = update.add(weights, alpha=group["weight_decay"])
                if group["momentum"]:
                    state = self.state[weights]
                    if "momentum_buffer" not in state:
                        state["momentum_buffer"] = update.clone()
                    else:
                        state["momentum_buffer"].mul_(group["momentum"]).add_(update)
                    if group.get("nesterov"):
                        update = update.add(state["momentum_buffer"], alpha=group["momentum"])
                    else:
                        update = state["momentum_buffer"]
                weights.add_(update, alpha=-group["lr"])
        for hook in chain(
            self._optimizer_step_post_hooks.values(), _global_optimizer_post_hooks.values()
        ):
            hook(self, (), {})

    add_param_group = _plain("add_param_group")
    state_dict = _plain("state_dict")
    load_state_dict = _plain("load_state_dict")

    # Torch wraps every step in a profiler range, which takes a sixth of a small network's training
    # step; this says that it is wrapped already. The hooks it would call after a step are called.
    step.hooked = True  # type: ignore[attr-defined]


class AdamGnT(torch.optim.Optimizer):
    """Adam with a step count for each weight, for methods that give units new weights.

    Kingma & Ba 2015 (arXiv 1412.6980, algorithm 1), with t a vector: where a weight's averages start
    anew, so does the correction for their start at zero. Without resets it is ``torch.optim.Adam``. The
    authors of continual backpropagation train with it (Dohare et al. 2024, Nature 632:768; the name is
    theirs: generate and test).
    """

    def __init__(self, params: list[nn.Parameter], lr: float, weight_decay: float = 0.0) -> None:
        settings = {"lr": lr, "weight_decay": weight_decay, "betas": (0.9, 0.999), "eps": 1e-8}
        super().__init__(params, settings)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """``m = b1 m + (1 - b1) g``, ``v = b2 v + (1 - b2) g^2``, both over ``1 - b^t`` in the step."""
        for group in self.param_groups:
            first, second = group["betas"]
            for weights in group["params"]:
                g, state = weights.grad, self.state[weights]
                if group["weight_decay"]:
                    g = g.add(weights, alpha=group["weight_decay"])
                if not state:
                    state.update(
                        {k: torch.zeros_like(weights) for k in ("count", "mean", "square")}
                    )
                state["count"].add_(1)
                state["mean"].lerp_(g, 1 - first)
                state["square"].mul_(second).addcmul_(g, g, value=1 - second)
                mean = state["mean"] / (1 - first ** state["count"])
                root = (state["square"] / (1 - second ** state["count"])).sqrt_()
                weights.sub_(mean.div_(root.add_(group["eps"])), alpha=group["lr"])


OWN = {"sgd": SGD, "adam_gnt": AdamGnT}
"""Optimizers of clbench, by the names that settings take."""


def optimizer_class(name: str) -> type[torch.optim.Optimizer]:
    """``sgd``, ``adam_gnt`` or any class of ``torch.optim``, in any case.

    Raises:
        UsageError: there is no such optimizer, or it does not fit the training loop.
    """
    if name.lower() in OWN:
        return OWN[name.lower()]
    if name.lower() in REFUSED:
        raise UsageError(f"strategy.optimizer={name} is not supported: {REFUSED[name.lower()]}")
    found = {
        key.lower(): value
        for key, value in vars(torch.optim).items()
        if isinstance(value, type) and issubclass(value, torch.optim.Optimizer)
    }
    found.pop("optimizer", None)
    if name.lower() not in found:
        names = ", ".join(sorted(set(found) - set(REFUSED)))
        raise UsageError(f"unknown strategy.optimizer={name!r}; torch.optim has {names}")
    return found[name.lower()]


def adopt(optimizer: torch.optim.Optimizer, lr: float, weight_decay: float) -> None:
    """Give an optimizer another learning rate and weight decay, and leave its state."""
    for group in optimizer.param_groups:
        group["lr"] = lr
        if "weight_decay" in group:
            group["weight_decay"] = weight_decay


def build_optimizer(
    name: str,
    weights: FlatWeights,
    lr: float,
    momentum: float,
    weight_decay: float,
    nesterov: bool = False,
) -> torch.optim.Optimizer:
    """The optimizer of that name over the flat vector (over the tensors, where it minds shapes).

    Raises:
        UsageError: it has not one of the settings, or refuses the model.
    """
    cls = optimizer_class(name)
    if cls is SGD:
        return SGD([weights.vector], lr, momentum, weight_decay, nesterov)
    if nesterov:
        raise UsageError(f"strategy.nesterov is not a setting of optimizer {name!r}")
    settings: dict[str, Any] = {"lr": lr}
    if "momentum" in cls.__init__.__code__.co_varnames:
        settings["momentum"] = momentum
    elif momentum:
        raise UsageError(f"strategy.momentum is not a setting of optimizer {name!r}")
    if "weight_decay" in cls.__init__.__code__.co_varnames:
        settings["weight_decay"] = weight_decay
    elif weight_decay:
        raise UsageError(f"strategy.weight_decay is not a setting of optimizer {name!r}")
    params = weights.parameters if name.lower() in SHAPE_AWARE else [weights.vector]
    try:
        return cls(params, **settings)
    except (TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"strategy.optimizer={name} refuses this model: {reason}") from error
