"""``compile=true``: compiles a strategy's network with ``torch.compile``.

The module and the keys of its state dict are unchanged; only its call is compiled. The uncompiled
call is used with hooks (a Fisher, features, diagnostics) and when operations are counted.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from clbench import seeding
from clbench.strategy import Strategy, StreamInfo

TRIAL = 4
"""Batch sizes of the trial; the compiled code takes any batch size."""


def compile_network(strategy: Strategy, threads: int, backend: str = "inductor") -> str | None:
    """Compile ``strategy.model`` in place; copies of it are not.

    A trial in training and prediction compiles code for any batch size. So the code does not depend
    on which sizes come first, and a resumed run has the same code.

    Args:
        strategy: the strategy; unchanged if the network does not compile.
        threads: the run's threads.
        backend: the backend of ``torch.compile``.

    Returns:
        None, or a line on why the run continues without compilation.
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

    # The attribute of nn.Module.compile, which copies and pickles leave out.
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
    """Whether hooks or a dispatch mode are active, which compiled code would skip."""
    if torch._C._len_torch_dispatch_stack():
        return True
    return any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
