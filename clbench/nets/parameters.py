"""Selects parameters of a network: its output layer, or those whose names match patterns."""

from __future__ import annotations

import fnmatch

from torch import nn

from clbench.errors import UsageError

OUTPUT = "output"
NONE = "none"


def output_layer(model: nn.Module) -> nn.Linear | None:
    """The last ``nn.Linear`` in ``model.modules()``, if there is one."""
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    return layers[-1] if layers else None


def output_parameters(model: nn.Module) -> tuple[str, ...]:
    """The names of the parameters of the output layer; empty where there is none."""
    layer = output_layer(model)
    if layer is None:
        return ()
    [prefix] = (name for name, module in model.named_modules() if module is layer)
    return tuple(f"{prefix}.{kind}".lstrip(".") for kind, _ in layer.named_parameters())


def matching(model: nn.Module, words: str, setting: str) -> frozenset[str]:
    """List the names of the selected parameters.

    Args:
        model: the network.
        words: separated by spaces: ``output`` (the last ``nn.Linear``), ``none``, or shell patterns
            of names such as ``head.*``.
        setting: where the words come from, for errors.

    Raises:
        UsageError: a word matches nothing.
    """
    names = [name for name, _ in model.named_parameters()]
    found: set[str] = set()
    for word in words.split():
        if word == NONE:
            continue
        if word == OUTPUT:
            hits = list(output_parameters(model))
            reason = "the model has no nn.Linear; give patterns of parameter names, or none"
        else:
            hits = fnmatch.filter(names, word)
            reason = f"no parameter has such a name ({', '.join(names[:4])}, ...)"
        if not hits:
            raise UsageError(f"{setting}={words}: {word!r}: {reason}")
        found.update(hits)
    return frozenset(found)
