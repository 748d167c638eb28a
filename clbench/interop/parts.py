"""What strategies of another library are built of: an optimizer, and pieces of our networks."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from clbench.errors import UsageError
from clbench.optim import optimizer_class
from clbench.strategy import StreamInfo

FILLED = (
    *("feature_extractor", "classifier", "slda_model", "input_size", "num_classes", "n_classes"),
    *("p_size", "cwr_layer_name", "last_layer_name", "buffer_transform"),
)
"""Arguments of some strategies that follow from the model and the stream."""


def optimizer(config: Any, model: nn.Module) -> torch.optim.Optimizer:
    """The optimizer that the settings name, over the network's tensors."""
    cls: Any = torch.optim.SGD
    rate = 0.1 if config.lr is None else config.lr
    if config.optimizer.lower() != "sgd":
        cls, rate = optimizer_class(config.optimizer), 1e-3 if config.lr is None else config.lr
    extra = {"momentum": config.momentum} if config.momentum else {}
    if config.weight_decay:
        extra["weight_decay"] = config.weight_decay
    made: torch.optim.Optimizer = cls(model.parameters(), lr=rate, **extra)
    return made


def fitting(cls: type[Any], names: set[str], model: nn.Module, info: StreamInfo) -> dict[str, Any]:
    """The arguments of ``FILLED`` that a class has."""
    values: dict[str, Any] = {
        "num_classes": info.n_classes,
        "n_classes": info.n_classes,
        "p_size": info.n_classes,
        "buffer_transform": None,
        "input_size": list(info.input_shape),
    }
    if names - set(values) or "slda_model" in names:
        layers = list(model.children())
        if not isinstance(model, nn.Sequential) or not isinstance(layers[-1], nn.Linear):
            raise UsageError(
                f"avalanche:{cls.__name__} needs features and a linear output layer: set model=mlp"
            )
        body, head = nn.Sequential(*layers[:-1]), layers[-1]
        last = str(len(layers) - 1)
        values |= {"feature_extractor": body, "classifier": head, "slda_model": body}
        values |= {"cwr_layer_name": last, "last_layer_name": last}
        if "slda_model" in names:
            values["input_size"] = head.in_features
    return {name: values[name] for name in names}
