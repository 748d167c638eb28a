"""``compile=true``: a strategy's network through ``torch.compile``, where there is a compiler.

The module stays what it is, with the keys of its state dict; only its call is compiled. It is called as
written wherever something looks inside: hooks (a Fisher, features, diagnostics) and counted operations.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from clbench import seeding
from clbench.strategy import Strategy, StreamInfo

TRIAL = 4
"""Samples in the batches of the trial; their number is a variable of what is compiled."""


def compile_network(strategy: Strategy, threads: int, backend: str = "inductor") -> str | None:
    """Compile ``strategy.model`` in place; copies of it are not.

    It is tried out, in training and in prediction, with a batch of any size. So what is compiled does
    not depend on which sizes come first, and a run that is resumed has the same code.

    Args:
        strategy: left as it was, should the network not compile.
        threads: as the run's.
        backend: of ``torch.compile``.

    Returns:
        None, or one line saying why the run goes on without.
    """
    model = getattr(strategy, "model", None)
    if not isinstance(model, nn.Module):
        return f"compile=true: {type(strategy).__name__} has no network as its attribute model"
    state = copy.deepcopy(model.state_dict())
    try:
        with seeding.preserved(threads):
            fast = torch.compile(model._call_impl, backend=backend)
            _try_out(model, fast, strategy.info)
    except Exception as error:  # a compiler may raise anything
        reason = (str(error).splitlines() or [""])[0][:200]
        return (
            f"compile=true: the network does not compile here, and runs as it is written "
            f"({type(error).__name__}: {reason})"
        )
    finally:
        model.load_state_dict(state)

    def call(*args: Any, **kwargs: Any) -> Any:
        chosen: Any = model._call_impl if _is_watched(model) else fast
        return chosen(*args, **kwargs)

    # Where nn.Module.compile puts it: left out of copies and of pickles.
    model._compiled_call_impl = call
    return None


def _try_out(model: nn.Module, fast: Any, info: StreamInfo) -> None:
    device = next(model.parameters()).device
    x = torch.zeros(TRIAL, *info.input_shape, dtype=info.dtype, device=device)
    torch._dynamo.mark_dynamic(x, 0)
    was_training = model.training
    try:
        model.train()
        wanted = [p for p in model.parameters() if p.requires_grad]
        torch.autograd.grad(fast(x).sum(), wanted, allow_unused=True)
        model.eval()
        with torch.inference_mode():
            fast(x)
    finally:
        model.train(was_training)


def _is_watched(model: nn.Module) -> bool:
    """Whether hooks or a dispatch mode are there, which compiled code would pass by."""
    if torch._C._len_torch_dispatch_stack():
        return True
    return any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
