"""Parts that another library's strategies need: an optimizer, and layers of clbench's networks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from clbench.errors import UsageError
from clbench.nets.optim import optimizer_class
from clbench.strategy import StreamInfo

FILLED = (
    *("feature_extractor", "classifier", "slda_model", "input_size", "num_classes", "n_classes"),
    *("p_size", "cwr_layer_name", "last_layer_name", "buffer_transform"),
)
"""Arguments of some strategies that are determined by the model and the stream."""


def optimizer(config: Any, model: nn.Module) -> torch.optim.Optimizer:
    """Make the optimizer that the settings name, over the network's tensors."""
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
        *first, head = layers(model, f"avalanche:{cls.__name__}")
        body, last = nn.Sequential(*first), str(len(first))
        values |= {"feature_extractor": body, "classifier": head, "slda_model": body}
        values |= {"cwr_layer_name": last, "last_layer_name": last}
        if "slda_model" in names:
            values["input_size"] = head.in_features
    return {name: values[name] for name in names}


def balance(inner: Any, storage: Any) -> None:
    """Make a reservoir that replaces Avalanche's default memory.

    The default keeps ``mem_size // T`` samples for each of T experiences: none once T exceeds
    ``mem_size``, so later experiences are never stored.
    """
    for plugin in inner.plugins:
        policy = getattr(plugin, "storage_policy", None)
        if isinstance(policy, storage.ExperienceBalancedBuffer):
            plugin.storage_policy = storage.ReservoirSamplingBuffer(policy.max_size)


def layers(model: nn.Module, name: str) -> list[nn.Module]:
    """Split a network into its features and its linear output layer.

    Raises:
        UsageError: the network is not a sequence that ends in a linear layer.
    """
    found = list(model.children())
    if not isinstance(model, nn.Sequential) or not isinstance(found[-1], nn.Linear):
        raise UsageError(f"{name} needs features and a linear output layer: set model=mlp")
    return found


class WithFeatures(nn.Sequential):
    """A network that can return the input of its last layer."""

    def get_features(self, x: Tensor) -> Tensor:
        """``(B, *input_shape)`` to ``(B, d)``."""
        for layer in list(self)[:-1]:
            x = layer(x)
        return x


def tell_classes(benchmark: Any, came: list[list[int]], n_classes: int) -> None:
    """Set the classes of each past experience in a benchmark of one experience.

    Of future experiences only the number is set; iCaRL needs no more.
    """
    past = [label for classes in came for label in classes]
    rest = [label for label in range(n_classes) if label not in past]
    benchmark.n_classes_per_exp = [*map(len, came), len(rest)]
    benchmark.classes_order = [*past, *rest]
