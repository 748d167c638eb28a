"""Squared or absolute per-sample gradients, summed over samples, one backward pass per label.

A backward pass over a whole chunk gives, at each layer's output, every sample's own gradient. With
the layer's input that is all its parameters' per-sample gradients need: for a linear map they are
outer products, of which only magnitudes and sums are formed. So a chunk costs one forward pass and
one backward pass (to outputs, not to parameters) per label. The idea is that of BackPACK (Dangel et al.
2020, "BackPACK: Packing more into backprop", arXiv 1912.10985).

Formulas: ``nn.Linear`` and ``nn.LayerNorm`` on ``(b, i)``, and inside the blocks of a transformer on
``(b, n, i)``, ``nn.Conv2d`` padded with zeros, batch and group norm; such a layer may be called several
times in a forward pass. Everything else (other layers, tied weights, parameters read from outside their
layer) goes through a vmapped vector-Jacobian product of the whole model: right, but about half as fast,
and only for models that ``torch.func`` can transform (not recurrent layers, nor control flow that reads
values).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, Node, get_gradient_edge

from clbench.errors import UsageError
from clbench.nets.precision import in_float32
from clbench.nets.tuning import transformer_blocks

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.GroupNorm, nn.LayerNorm)
WITH_FORMULA = (nn.Linear, nn.Conv2d, *NORMS)
PRODUCTS_AT_ONCE = 2**21
"""Per-sample gradient values held at once (8 MB in float32): more would leave the cache."""
GRADIENTS_AT_ONCE = 2**21
"""Gradient values at layers' outputs that one batched backward pass computes."""

Key = TypeVar("Key")
Magnitude = Callable[..., Tensor]
"""``torch.square`` or ``torch.abs``: that of a product is the product of those of its factors."""
Calls = dict[nn.Module, list[tuple[Tensor, GradientEdge]]]


@dataclass(frozen=True)
class Seeds:
    """K functions of each sample's scores, by their gradients; each made when it is asked for."""

    n: int
    """K"""
    at: Callable[[int], Tensor]
    """``k`` to the gradient of the k-th by the scores, ``(b, C)``."""


@dataclass(frozen=True)
class Targets:
    """K labels for each of b samples, and how much each counts.

    ``label``: ``(K, b)`` int64; ``weight``: ``(K, b)`` non-negative.
    """

    label: Tensor
    weight: Tensor

    @staticmethod
    def all_classes(p: Tensor) -> Targets:
        """Every class, weighted by its probability ``p: (b, C)``; the impossible left out."""
        classes = (p != 0).any(0).nonzero()  # NaN is not 0, so it propagates
        return Targets(classes.expand(-1, len(p)), p.T[classes.squeeze(1)])

    @staticmethod
    def given(label: Tensor) -> Targets:
        """One label per sample, ``(b,)`` int64, of weight 1."""
        return Targets(label[None], torch.ones_like(label)[None])

    def seeds(self, p: Tensor) -> Seeds:
        """For each label, √weight times the gradient of log p(label) by the scores, e_label − p.

        Written out rather than left to autograd: finite where a score is −inf.
        """
        identity = torch.eye(p.shape[1], dtype=p.dtype, device=p.device)
        root = self.weight.to(p.dtype).sqrt()[..., None]
        return Seeds(len(self.label), lambda k: (identity[self.label[k]] - p) * root[k])


def squared_gradients(
    model: nn.Module,
    params: dict[str, nn.Parameter],
    score: Callable[[Tensor], Tensor],
    x: Tensor,
    targets: Callable[[Tensor], Targets],
) -> dict[str, Tensor]:
    """Per parameter, Σ over samples and labels of weight · (∂ log p(label|x) / ∂θ)².

    Args:
        model: in eval mode.
        params: the parameters wanted, by name.
        score: ``(b, *input_shape)`` to scores ``(b, C)``, by running ``model``.
        x: ``(b, *input_shape)`` samples, processed at once.
        targets: from probabilities ``(b, C)`` to the labels.

    Returns:
        By name; a parameter the scores do not depend on is left out.
    """

    def seeds(scores: Tensor) -> Seeds:
        p = scores.softmax(1)
        return targets(p).seeds(p)

    return summed_gradients(model, params, score, x, seeds, torch.square)


def summed_gradients(
    model: nn.Module,
    params: dict[str, nn.Parameter],
    score: Callable[[Tensor], Tensor],
    x: Tensor,
    seeds: Callable[[Tensor], Seeds],
    magnitude: Magnitude,
) -> dict[str, Tensor]:
    """Per parameter, Σ over samples b and functions k of magnitude(∂ f_k(scores_b) / ∂θ).

    Args:
        model: in eval mode; out of any ``precision=`` meanwhile.
        params: the parameters wanted, by name.
        score: ``(b, *input_shape)`` to scores ``(b, C)``, by running ``model``.
        x: ``(b, *input_shape)`` samples, processed at once.
        seeds: from scores ``(b, C)``, detached, to the functions' gradients by them.
        magnitude: ``torch.square`` or ``torch.abs``.

    Returns:
        By name; a parameter the scores do not depend on is left out.
    """
    with in_float32(model):
        return _summed(model, params, score, x, seeds, magnitude)


def _summed(
    model: nn.Module,
    params: dict[str, nn.Parameter],
    score: Callable[[Tensor], Tensor],
    x: Tensor,
    seeds: Callable[[Tensor], Seeds],
    magnitude: Magnitude,
) -> dict[str, Tensor]:
    with _captured(model, len(x)) as calls:
        scores = score(x)
    if scores.shape[:1] != x.shape[:1] or scores.dim() != 2 or scores.grad_fn is None:
        raise UsageError(
            f"fisher: scores of {len(x)} samples have shape {tuple(scores.shape)}, "
            f"requires_grad={scores.requires_grad}; need (n, n_classes) that depend on the model"
        )
    by = seeds(scores.detach())
    name_of = {id(param): name for name, param in params.items()}
    uses = _uses(scores.grad_fn)
    layers = {
        module: {
            kind: name_of[id(param)]
            for kind, param in module.named_parameters(recurse=False)
            # Used as often as the layer was called: so never from outside it.
            if id(param) in name_of and uses[id(param)] == len(made)
        }
        for module, made in calls.items()
    }
    total = _by_layer(calls, layers, scores, by, magnitude)
    rest = [name for key, name in name_of.items() if uses[key] and name not in total]
    if rest:
        total |= _by_vmap(model, rest, score, x, by, magnitude)
    return {name: value.view_as(params[name]) for name, value in total.items()}


def _by_layer(
    calls: Calls,
    layers: dict[nn.Module, dict[str, str]],
    scores: Tensor,
    seeds: Seeds,
    magnitude: Magnitude,
) -> dict[str, Tensor]:
    """The sums for layers with a formula; ``layers``: module → {"weight" or "bias": full name}."""
    layers = {module: names for module, names in layers.items() if names}
    if not layers:
        return {}
    edges = [edge for module in layers for _, edge in calls[module]]
    inputs = {m: _join([_columns(m, a) for a, _ in calls[m]]) for m in layers}
    # The magnitude of an outer product factors: such a layer needs only its Σ_k |g| or Σ_k g².
    outer = {m for m in layers if type(m) is nn.Linear and inputs[m].shape[2] == 1}
    factors: dict[nn.Module, Tensor] = {}
    total: dict[str, Tensor] = {}
    for gradients in _backward(scores, edges, seeds):
        left = iter(gradients)
        for module, names in layers.items():
            # All functions' gradients at the layer's output, (K, b, c, L).
            # Laid out alike whatever the pass gave, so that sums round alike.
            g = _join([_channels(module, next(left), a) for a, _ in calls[module]]).contiguous()
            if module in outer:
                _add(factors, module, magnitude(g).sum(0))
                continue
            for kind, name in names.items():
                if kind == "bias":
                    _add(total, name, magnitude(g.sum(3)).sum((0, 1)))
                    continue
                for of_one in g:
                    _add(total, name, _weight(module, inputs[module], of_one, magnitude))
    for module in factors:
        s, a = factors[module][..., 0], inputs[module][..., 0]
        for kind, name in layers[module].items():
            total[name] = s.sum(0) if kind == "bias" else s.T @ magnitude(a)
    return total


def _backward(scores: Tensor, edges: list[GradientEdge], seeds: Seeds) -> Iterator[list[Tensor]]:
    """Yield the gradients at each edge, ``(K, b, c, L)``, of as many functions as fit at once."""
    one = torch.autograd.grad(scores, edges, seeds.at(0), retain_graph=True)
    yield [g[None].flatten(3) if g.dim() > 2 else g[None, ..., None] for g in one]
    at_once = max(1, GRADIENTS_AT_ONCE // max(1, sum(g.numel() for g in one)))
    for start in range(1, seeds.n, at_once):
        of = torch.stack([seeds.at(k) for k in range(start, min(start + at_once, seeds.n))])
        many = torch.autograd.grad(scores, edges, of, retain_graph=True, is_grads_batched=True)
        yield [g.flatten(3) if g.dim() > 3 else g[..., None] for g in many]


def _channels(module: nn.Module, g: Tensor, x: Tensor) -> Tensor:
    """Gradients at the output for an input x, ``(K, b, c, L)``: those of tokens have c last."""
    return g.transpose(2, 3) if _is_tokens(module, x) else g.flatten(3)


def _is_tokens(module: nn.Module, x: Tensor) -> bool:
    return isinstance(module, nn.Linear | nn.LayerNorm) and x.dim() == 3


def _add(sums: dict[Key, Tensor], key: Key, value: Tensor) -> None:
    sums[key] = sums[key].add_(value) if key in sums else value


def _join(calls: list[Tensor]) -> Tensor:
    """``(..., L)`` from each call of one layer: a layer called twice has twice the positions."""
    return calls[0] if len(calls) == 1 else torch.cat(calls, -1)


def _columns(module: nn.Module, x: Tensor) -> Tensor:
    """What the weight multiplies, ``(b, i, L)``: at each of L positions of the output a column."""
    if isinstance(module, nn.Conv2d):
        assert not isinstance(module.padding, str)  # has no formula
        return F.unfold(x, module.kernel_size, module.dilation, module.padding, module.stride)
    if isinstance(module, nn.GroupNorm):
        return _positions(F.group_norm(x, module.num_groups, eps=module.eps))
    if isinstance(module, nn.LayerNorm):
        x = F.layer_norm(x, module.normalized_shape, eps=module.eps)
    if _is_tokens(module, x):
        return x.transpose(1, 2)
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        x = F.batch_norm(x, module.running_mean, module.running_var, eps=module.eps)
    return _positions(x)


def _positions(x: Tensor) -> Tensor:
    """``(b, c, ...)`` to ``(b, c, L)``."""
    return x.reshape(*x.shape[:2], -1)


def _weight(module: nn.Module, a: Tensor, g: Tensor, magnitude: Magnitude) -> Tensor:
    """Σ_b of the weight gradients' magnitudes, from ``a: (b, i, L)`` and ``g: (b, o, L)``."""
    if isinstance(module, NORMS):
        return magnitude((g * a).sum(2)).sum(0)
    groups = module.groups if isinstance(module, nn.Conv2d) else 1
    (b, o, n), i = g.shape, a.shape[1] // groups
    g, a = g.reshape(b * groups, o // groups, n), a.reshape(b * groups, i, n)
    total = g.new_zeros(groups, o // groups, i)
    step = groups * max(1, PRODUCTS_AT_ONCE // (o * i))
    for g_part, a_part in zip(torch.split(g, step), torch.split(a, step), strict=True):
        product = torch.bmm(g_part, a_part.mT)
        magnitude(product, out=product)
        total += product.view(-1, *total.shape).sum(0)
    return total


def _by_vmap(
    model: nn.Module,
    names: list[str],
    score: Callable[[Tensor], Tensor],
    x: Tensor,
    by: Seeds,
    magnitude: Magnitude,
) -> dict[str, Tensor]:
    """The same sums for any parameter of any model ``torch.func`` can transform."""
    scorer = _Scorer(model, score)
    params = {f"model.{name}": model.get_parameter(name).detach() for name in names}
    # All others are detached too, or each sample's pass would leave a graph of them behind.
    fixed = {f"model.{name}": p.detach() for name, p in model.named_parameters()}
    seeds = torch.stack([by.at(k) for k in range(by.n)], 1)  # (b, K, C)

    def sums(sample: Tensor, seed: Tensor) -> dict[str, Tensor]:
        def scores(params: dict[str, Tensor]) -> Tensor:
            row: Tensor = torch.func.functional_call(scorer, fixed | params, (sample[None],))[0]
            return row

        vjp = torch.func.vjp(scores, params)[1]
        (gradients,) = torch.func.vmap(vjp)(seed)
        return {name: magnitude(g).sum(0) for name, g in gradients.items()}

    size = seeds.shape[1] * sum(param.numel() for param in params.values())
    step = max(1, PRODUCTS_AT_ONCE // size)
    total: dict[str, Tensor] = {}
    try:
        for x_part, seeds_part in zip(x.split(step), seeds.split(step), strict=True):
            for name, of_samples in torch.func.vmap(sums)(x_part, seeds_part).items():
                _add(total, name, of_samples.sum(0))
    except RuntimeError as error:
        named = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        raise UsageError(
            f"fisher: {named} need per-sample gradients of the whole model, and "
            f"torch.func.vmap cannot transform it ({str(error).splitlines()[0]}); "
            "use estimator='batched' (with batch_size=1 it is 'empirical')"
        ) from error
    return {name: total[f"model.{name}"] for name in names}


class _Scorer(nn.Module):
    """``score`` as a module around ``model``, so that ``functional_call`` can swap parameters."""

    def __init__(self, model: nn.Module, score: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.model = model
        self.score = (score,)  # in a tuple: the model itself would be a module twice

    def forward(self, x: Tensor) -> Tensor:
        return self.score[0](x)


@contextmanager
def _captured(model: nn.Module, n: int) -> Iterator[Calls]:
    """Inside, every call of a layer with a formula is noted: its input, where its output goes."""
    calls: Calls = defaultdict(list)

    of_tokens = {part for block in transformer_blocks(model) for part in block.modules()}

    def note(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        # The edge, not the output: a ReLU in place would make the tensor mean something else.
        is_known = len(args) == 1 and _has_formula(module, args[0], n, module in of_tokens)
        if is_known and output.requires_grad:
            calls[module].append((args[0].detach(), get_gradient_edge(output)))

    known = [module for module in model.modules() if type(module) in WITH_FORMULA]
    handles = [module.register_forward_hook(note, prepend=True) for module in known]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def _has_formula(module: nn.Module, x: Tensor, n: int, is_of_block: bool) -> bool:
    """Whether a call of a layer of a known type is one the formulas hold for; n samples at once.

    ``is_of_block``: it lies in the block of a transformer, whose first axis is that of the samples.
    """
    if len(x) != n:  # its rows are not the samples
        return False
    if isinstance(module, nn.Linear | nn.LayerNorm):
        return x.dim() == 2 or (x.dim() == 3 and is_of_block)  # else the first axis might be time
    if isinstance(module, nn.Conv2d):
        padded_with_zeros = module.padding_mode == "zeros" and not isinstance(module.padding, str)
        return x.dim() == 4 and padded_with_zeros
    return True


def _uses(root: Node) -> Counter[int]:
    """How often the graph under ``root`` reads each parameter, by ``id``."""
    uses: Counter[int] = Counter()
    seen, stack = {root}, [root]
    while stack:
        for node, _ in stack.pop().next_functions:
            if node is None:
                continue
            if hasattr(node, "variable"):  # the graph's end at a leaf
                uses[id(node.variable)] += 1
            elif node not in seen:
                seen.add(node)
                stack.append(node)
    return uses
