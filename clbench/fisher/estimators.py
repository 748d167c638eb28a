"""The diagonal of the Fisher information of a softmax classifier.

F_i = E_x E_{y ~ p(y|x)} [(∂ log p(y|x) / ∂θ_i)²], with the expectation over y taken in one of four
ways. They differ by orders of magnitude, so an EWC strength found with one means nothing with
another (van de Ven 2025, "On the computation of the Fisher information in continual learning",
arXiv 2502.11756); every published number has to name its estimator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from clbench.errors import UsageError
from clbench.fisher.layers import Targets, squared_gradients
from clbench.nets import parameters
from clbench.nets.modes import evaluating
from clbench.nets.precision import in_float32
from clbench.nets.tuning import transformer_blocks

Estimator = Literal["exact", "sampled", "empirical", "batched"]
LABEL_SOURCE: dict[Estimator, str] = {
    "exact": "p(y|x), all classes",
    "sampled": "one draw of p(y|x)",
    "empirical": "the data's labels",
    "batched": "the data's labels",
}
"""Where the labels of the gradients come from."""

INPUTS_AT_ONCE = 2**16
"""Input values per forward pass where ``chunk`` is not given."""
TOKENS_AT_ONCE = 2**22
"""Values of tokens, in all blocks of a transformer together, per such pass."""
TENSORS_OF_BLOCK = 16
"""What a block keeps for its gradients, in multiples of its output."""


class Partial:
    """What is summed up of an estimate so far, so that it can be gone on with."""

    def __init__(self, total: dict[str, Tensor] | None = None, done: int = 0) -> None:
        """Start with nothing, or with the sums over the first ``done`` chunks, or batches."""
        self.total, self.done = total, done

    def keep(self) -> None:
        """Called after each chunk, or batch, with ``total`` and ``done`` up to date."""


def estimate(
    model: nn.Module,
    x: Tensor,
    y: Tensor | None = None,
    estimator: Estimator = "exact",
    *,
    logits: Callable[[Tensor], Tensor] | None = None,
    generator: torch.Generator | None = None,
    batch_size: int = 128,
    chunk: int | None = None,
    exclude: str = parameters.NONE,
    report: Callable[[int], None] = lambda n: None,
    partial: Partial | None = None,
) -> dict[str, Tensor]:
    """The diagonal Fisher information of every trainable parameter, a mean over samples.

    ``exact``: mean over x of Σ_c p_c g_c², where g_c is the gradient of log p(c|x). ``sampled``:
    one label y ~ p(y|x) per sample. ``empirical``: the given label. ``batched``: the square of the
    gradient of a batch's mean loss, averaged over batches (as Avalanche does); a last, smaller
    batch counts as much as the others.

    The model is in eval mode meanwhile, out of any ``precision=``, and left as it was: modes,
    parameters and ``.grad``.

    Args:
        model: its trainable parameters name and shape the result.
        x: ``(n, *input_shape)`` raw samples, on the model's device.
        y: ``(n,)`` int64 labels, for ``empirical`` and ``batched``.
        estimator: how the expectation over labels is taken.
        logits: scores ``(b, n_classes)`` of ``(b, *input_shape)`` samples, where they are not just
            ``model(x)``, e.g. masked with −inf to a task's classes. It has to run ``model`` itself,
            under autograd, and treat each sample by itself. It must also work under
            ``torch.func.vmap`` if the model has parameters without a formula (see ``layers``).
        generator: CPU generator of the labels of ``sampled``; torch's global one if None.
        batch_size: samples per squared gradient, for ``batched`` alone.
        chunk: samples per forward pass; bounds the memory and leaves the result alone. None:
            as many as hold 2¹⁶ input values; of a transformer also at most as many as hold 2²²
            values of tokens in its blocks.
        exclude: parameters to leave out, as ``clbench.nets.parameters.matching`` takes it: ``output``
            (the last ``nn.Linear``), ``none``, or patterns of names, separated by spaces.
        report: called now and then with the number of samples done.
        partial: where the sums are kept; one that is under way is gone on with, to the same bits. The
            other arguments must be those that it was started with, ``chunk`` included.

    Returns:
        Per name in ``model.named_parameters()``, less the excluded, a non-negative tensor of its
        shape and dtype.

    Raises:
        UsageError: labels missing, malformed or negative, no samples, an unknown estimator, nothing
            left to estimate, scores that do not depend on the model, a layer that mixes the samples
            of a batch, or one that has no formula in a model ``torch.func`` cannot transform.
    """
    if chunk is None:
        chunk = min(
            max(1, INPUTS_AT_ONCE // max(1, x[:1].numel())), _tokens_fit(model, x[:1], logits)
        )
    _check(model, x, y, estimator, batch_size, chunk)
    score = model.__call__ if logits is None else logits
    excluded = parameters.matching(model, exclude, "fisher: exclude")
    params = {
        name: p for name, p in model.named_parameters() if p.requires_grad and name not in excluded
    }
    if not params:
        raise UsageError("fisher: no trainable parameter is left to estimate")
    sums = Partial() if partial is None else partial
    if sums.total is None:
        sums.total = {name: torch.zeros_like(p) for name, p in params.items()}
    total = sums.total = {name: sums.total[name].to(p) for name, p in params.items()}
    with evaluating(model), in_float32(model), torch.enable_grad():
        if estimator == "batched":
            assert y is not None  # checked above
            parts = _batched(params, score, x, y, batch_size, chunk, sums.done)
            n_parts, per_part = -(-len(x) // batch_size), batch_size
        else:
            label = _labels(estimator, x, y, generator)
            parts = _per_sample(model, params, score, x, label, chunk, sums.done)
            n_parts, per_part = len(x), chunk
        for number, part in enumerate(parts, sums.done + 1):
            for name, value in part.items():
                total[name] += value
            sums.done = number
            sums.keep()
            report(min(number * per_part, len(x)))
    return {name: value / n_parts for name, value in total.items()}


def _per_sample(
    model: nn.Module,
    params: dict[str, nn.Parameter],
    score: Callable[[Tensor], Tensor],
    x: Tensor,
    label: Callable[[slice, Tensor], Targets],
    chunk: int,
    done: int,
) -> Iterator[dict[str, Tensor]]:
    """Per chunk, less the first ones: the sum over its samples of the weighted squared gradients."""
    for start in range(done * chunk, len(x), chunk):
        rows = slice(start, start + chunk)
        yield squared_gradients(model, params, score, x[rows], partial(label, rows))


def _batched(
    params: dict[str, nn.Parameter],
    score: Callable[[Tensor], Tensor],
    x: Tensor,
    y: Tensor,
    batch_size: int,
    chunk: int,
    done: int,
) -> Iterator[dict[str, Tensor]]:
    """Per batch, less the first ones: the square of the gradient of its mean loss."""
    for batch_x, batch_y in zip(
        torch.split(x, batch_size)[done:], torch.split(y, batch_size)[done:], strict=True
    ):
        mean = {name: torch.zeros_like(p) for name, p in params.items()}
        for piece_x, piece_y in zip(
            torch.split(batch_x, chunk), torch.split(batch_y, chunk), strict=True
        ):
            scores = score(piece_x)
            p = scores.detach().softmax(1)
            # The loss's gradient by the scores, written out: finite where a score is −inf.
            seed = Targets.given(piece_y).seeds(p).at(0) / len(batch_x)
            gradients = torch.autograd.grad(
                scores, list(params.values()), seed, allow_unused=True, materialize_grads=True
            )
            for name, gradient in zip(params, gradients, strict=True):
                mean[name] += gradient
        yield {name: value.square_() for name, value in mean.items()}


def _tokens_fit(model: nn.Module, x: Tensor, logits: Callable[[Tensor], Tensor] | None) -> int:
    """The samples whose tokens fit in memory at once; any number without a transformer."""
    blocks = transformer_blocks(model)
    if not blocks or len(x) == 0:
        return INPUTS_AT_ONCE
    seen: list[int] = []
    hooks = [
        block.register_forward_hook(lambda _, __, made: seen.append(made.numel()))
        for block in blocks
    ]
    try:
        with evaluating(model), torch.no_grad():
            (logits or model)(x)
    finally:
        for hook in hooks:
            hook.remove()
    return max(1, TOKENS_AT_ONCE // max(1, TENSORS_OF_BLOCK * sum(seen)))


def _labels(
    estimator: Estimator, x: Tensor, y: Tensor | None, generator: torch.Generator | None
) -> Callable[[slice, Tensor], Targets]:
    """The labels, with weights, over which an estimator sums: ``(rows, p) -> Targets``."""
    if estimator == "exact":
        return lambda rows, p: Targets.all_classes(p)
    if estimator == "empirical":
        assert y is not None  # checked by the caller
        return lambda rows, p: Targets.given(y[rows])
    # Drawn for all samples before the first chunk, so that chunks do not matter; in (0, 1].
    uniform = 1 - torch.rand(len(x), 1, generator=generator, dtype=torch.float64, device="cpu")

    def draw(rows: slice, p: Tensor) -> Targets:
        """The first class whose cumulated probability reaches u: never one of probability 0."""
        cumulated = p.cumsum(1)
        u = uniform[rows].to(cumulated) * cumulated[:, -1:]
        return Targets.given(torch.searchsorted(cumulated, u).squeeze(1))

    return draw


def _check(
    model: nn.Module, x: Tensor, y: Tensor | None, estimator: str, batch_size: int, chunk: int
) -> None:
    if estimator not in get_args(Estimator):
        choices = ", ".join(get_args(Estimator))
        raise UsageError(f"fisher: no estimator {estimator!r}; choose one of {choices}")
    if len(x) == 0:
        raise UsageError("fisher: x holds no samples; give at least one")
    if batch_size < 1 or chunk < 1:
        raise UsageError(f"fisher: batch_size={batch_size}, chunk={chunk}; both must be >= 1")
    if estimator in ("empirical", "batched"):
        if y is None or y.shape != (len(x),) or y.dtype != torch.int64:
            found = "none" if y is None else f"{tuple(y.shape)} of {y.dtype}"
            raise UsageError(f"fisher: {estimator} needs ({len(x)},) int64 labels, got {found}")
        if int(y.min()) < 0:
            raise UsageError(f"fisher: {estimator} needs labels >= 0; leave unlabelled samples out")
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is None:
            raise UsageError(
                f"fisher: layer {name!r} normalises by the batch, so a sample has no gradient of "
                "its own; give it track_running_stats=True"
            )
