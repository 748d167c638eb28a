"""Encoders of timm and torchvision, by their interfaces."""

from __future__ import annotations

import sys
import types

import pytest
from encoding import COLOUR, GRAY, build, refusal
from torch import Tensor, nn

from clbench.encoder import weights_sha256


def feature_net(**_: object) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def test_timm(monkeypatch: pytest.MonkeyPatch):
    """Against a stand-in of the two functions that are used."""
    asked: list[tuple[str, bool, int]] = []

    def create_model(name: str, pretrained: bool, num_classes: int) -> nn.Module:
        asked.append((name, pretrained, num_classes))
        if name != "good":
            raise RuntimeError("Unknown model\n(more)")
        return feature_net()

    data = {"input_size": (3, 16, 16), "mean": (0.5,) * 3, "std": (0.5,) * 3}
    resolve = lambda net: {**data, "interpolation": "bicubic"}  # noqa: E731
    package = types.SimpleNamespace(
        create_model=create_model, data=types.SimpleNamespace(resolve_model_data_config=resolve)
    )
    monkeypatch.setitem(sys.modules, "timm", package)
    network = build("timm:good")
    assert asked == [("good", True, 0)]
    assert network(GRAY).shape == (5, 4)
    assert network[0](GRAY).shape == (5, 3, 16, 16)  # type: ignore[index,operator]
    assert network[0].mode == "bicubic"  # type: ignore[index]
    again = build("timm:good", pretrained=False, resolution=8)
    assert weights_sha256(again) == weights_sha256(build("timm:good", pretrained=False))
    assert "RuntimeError: Unknown model" in refusal("timm:bad")
    assert "encoder=timm:NAME" in refusal("timm")


def test_torchvision(monkeypatch: pytest.MonkeyPatch):
    """Against a stand-in of the functions that are used."""

    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features, self.fc = feature_net(), nn.Linear(4, 9)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.fc(self.features(x))
            return out

    preset = types.SimpleNamespace(
        crop_size=[16], mean=[0.5] * 3, std=[0.5] * 3, interpolation="InterpolationMode.BILINEAR"
    )
    weights = types.SimpleNamespace(transforms=lambda: preset)
    nets = {"good": Classifier, "odd": feature_net}
    models = types.SimpleNamespace(
        get_model_weights=lambda name: types.SimpleNamespace(DEFAULT=weights),
        get_model=lambda name, weights: nets[name](),
    )
    monkeypatch.setitem(sys.modules, "torchvision.models", models)
    monkeypatch.setitem(sys.modules, "torchvision", types.SimpleNamespace(models=models))
    network = build("torchvision:good", pretrained=False)
    assert network(GRAY).shape == (5, 4)
    assert network[0](COLOUR).shape == (5, 3, 16, 16)  # type: ignore[index,operator]
    assert "is not a classifier" in refusal("torchvision:odd")
    assert "could not be loaded: KeyError" in refusal("torchvision:bad")
    assert "encoder=torchvision:NAME" in refusal("torchvision")
