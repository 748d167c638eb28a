"""Counts the floating-point operations of calls, from shapes seen by torch's dispatcher."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import torch
from torch._ops import HigherOrderOperator
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode_stack
from torch.utils.flop_counter import FlopCounterMode

aten = torch.ops.aten


def _batch(shape: torch.Size) -> int:
    return math.prod(shape[:-2])


def _cholesky(shape: torch.Size, *_: Any, **__: Any) -> int:
    return _batch(shape) * shape[-1] ** 3 // 3


def _solve(a: torch.Size, b: torch.Size, *_: Any, **__: Any) -> int:
    columns = b[-1] if len(b) >= 2 else 1
    return _batch(a) * (2 * a[-1] ** 3 // 3 + 2 * a[-1] ** 2 * columns)


def _triangular(a: torch.Size, b: torch.Size, *_: Any, **__: Any) -> int:
    return _batch(a) * a[-1] ** 2 * b[-1]


def _cholesky_solve(b: torch.Size, factor: torch.Size, *_: Any, **__: Any) -> int:
    return 2 * _batch(factor) * factor[-1] ** 2 * b[-1]


def _eigh(shape: torch.Size, *_: Any, **__: Any) -> int:
    return 9 * _batch(shape) * shape[-1] ** 3


def _inverse(shape: torch.Size, *_: Any, **__: Any) -> int:
    return 2 * _batch(shape) * shape[-1] ** 3


def _cdist(a: torch.Size, b: torch.Size, *_: Any, **__: Any) -> int:
    return 3 * _batch(a) * a[-2] * b[-2] * a[-1]


def _topk(shape: torch.Size, k: int, *_: Any, **__: Any) -> int:
    return math.prod(shape)


def _convolution_backward(
    grad: torch.Size, x: torch.Size, w: torch.Size, *rest: Any, **__: Any
) -> int:
    """As many as forward for each of the two gradients that are asked for, by input and weights.

    Torch's formula forgets groups in the gradient by the weights, and counts it ``groups`` times.
    """
    is_transposed, asked = bool(rest[4]), rest[7]
    places = math.prod((x if is_transposed else grad)[2:])
    times = int(asked[0]) + int(asked[1])
    return int(2 * x[0] * places * math.prod(w) * times)


# torch counts zero for these, save the last; leading-order counts of the textbook algorithms (Golub &
# Van Loan, Matrix Computations, 4th ed., sections 3.2, 4.2, 8.3), one comparison an element for topk.
FORMULAS: dict[str, Callable[..., int]] = {
    "linalg_cholesky_ex": _cholesky,
    "cholesky": _cholesky,
    "_linalg_solve_ex": _solve,
    "linalg_solve_triangular": _triangular,
    "cholesky_solve": _cholesky_solve,
    "_linalg_eigh": _eigh,
    "linalg_inv_ex": _inverse,
    "_cdist_forward": _cdist,
    "topk": _topk,
    "convolution_backward": _convolution_backward,
}


HEAVY = {"cholesky_inverse", "geqrf", "ormqr", "_fft_c2c", "_fft_r2c", "_fft_c2r"}
# A norm is elementwise; a pseudo-inverse is dispatched again as a decomposition.
LIGHT = {"linalg_vector_norm", "_linalg_check_errors", "linalg_pinv"}


class Count(TorchDispatchMode):
    """A context that counts the floating-point operations of the calls inside.

    A multiply-add is two operations. Matrix products, convolutions and the decompositions in
    ``FORMULAS`` count; elementwise operations and reductions do not, as is customary.

    The formulas are those of torch's ``FlopCounterMode``, at less than half the cost: that class also
    hooks every module.
    """

    supports_higher_order_operators = True

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Without this, torch wraps each call below and imports its compiler, which takes seconds."""
        return False

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0
        """Floating-point operations so far."""
        self.uncounted: set[str] = set()
        """Expensive operators that ran without a formula."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        how = _how(func)
        if how is None:
            return func(*args, **kwargs)
        if how == "decompose":
            with self:
                return func.decompose(*args, **kwargs)
        out = func(*args, **kwargs)
        if isinstance(how, str):
            self.uncounted.add(how)
        else:
            self.total += int(how(args, kwargs, out))
        return out


def charge(operations: int, uncounted: Iterable[str]) -> None:
    """Add what another process did on behalf of this thread to every ``Count`` that is active."""
    for mode in _get_current_dispatch_mode_stack():
        if isinstance(mode, Count):
            mode.total += operations
            mode.uncounted |= {*uncounted}


def is_counting() -> bool:
    """Whether a ``Count`` is active."""
    return any(isinstance(mode, Count) for mode in _get_current_dispatch_mode_stack())


@cache
def _how(func: Any) -> Callable[..., int] | str | None:
    """An operator's formula, ``decompose``, the name of one that is not counted; None: it is free."""
    if isinstance(func, HigherOrderOperator):  # takes functions, whose operations are not seen
        return str(func.name())
    key = torch._C.DispatchKey.CompositeImplicitAutograd
    if torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), key):
        return "decompose"  # appears if autograd has not decomposed it
    name = str(func.overloadpacket.__name__)
    formula = _formulas().get(func.overloadpacket)
    if formula is not None:
        return _of_call(formula)
    return name if ("linalg" in name and name not in LIGHT) or name in HEAVY else None


def _of_call(formula: Callable[..., int]) -> Callable[..., int]:
    """A formula as a function of a call: ``(args, kwargs, result) -> operations``."""
    # Torch wraps a formula of shapes so that it takes tensors, at several times its cost.
    of_shapes: Callable[..., int] | None = getattr(formula, "__wrapped__", None)
    if of_shapes is None or getattr(formula, "_get_raw", False):
        return lambda args, kwargs, out: formula(*args, **kwargs, out_val=out)

    # Torch's own formulas call each other wrapped; a network's shapes come again and again.
    @cache
    def counted(given: tuple[Any, ...], named: tuple[tuple[str, Any], ...], out: Any) -> int:
        return int(of_shapes(*given, **dict(named), out_shape=out))

    def count(args: Any, kwargs: Any, out: Any) -> int:
        named = tuple((key, _shapes(value)) for key, value in kwargs.items())
        return counted(tuple(map(_shapes, args)), named, _shapes(out))

    return count


def _shapes(value: Any) -> Any:
    """Tensors, also in lists and tuples, as their shapes; lists as tuples."""
    if isinstance(value, torch.Tensor):
        return value.shape
    if type(value) in (list, tuple):
        return tuple(map(_shapes, value))
    return value


@cache
def _formulas() -> dict[Any, Callable[..., int]]:
    """Formulas by operator: torch's and those above; they take the shapes of arguments and result."""
    # Operators come and go with torch's releases.
    there = {name: formula for name, formula in FORMULAS.items() if hasattr(aten, name)}
    mapping = {getattr(aten, name): formula for name, formula in there.items()}
    return dict(FlopCounterMode(display=False, custom_mapping=mapping).flop_registry)
