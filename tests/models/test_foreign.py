"""Networks by name: timm's and torchvision's, or stand-ins of the functions that are used."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from small import go, pool, record_of, run
from torch import nn

from clbench.checks import check
from clbench.errors import UsageError
from clbench.nets.batch_norm import BatchNorm2d
from clbench.plugins.registry import find
from clbench.util.hashing import file_sha256

PACKAGES = ("timm", "torchvision")
STREAM = ("scenario=class_incremental", "strategy=naive", "strategy.batch_size=4")
IMAGES = {"n_classes": 4, "n_train": 5, "n_test": 3, "shape": (3, 8, 8)}


class Net(nn.Module):
    """What both packages' stand-ins make."""

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, stride=8)
        self.norm = nn.BatchNorm2d(6)
        self.fc = nn.Linear(6, n_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.norm(self.conv(x)).relu().mean(dim=(2, 3)))  # type: ignore[no-any-return]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Stand-ins of both packages; what their makers were called with."""
    calls: list[dict[str, Any]] = []

    def make(name: str, **settings: Any) -> nn.Module:
        calls.append({"name": name, **settings})
        if name == "broken":
            raise LookupError("no such thing\nsecond line")
        return Net(settings["num_classes"])

    names = ["good", "better", "broken", "vit_good", "inception_v3"]
    configuration = types.SimpleNamespace(
        get_pretrained_cfg=lambda name: types.SimpleNamespace(fixed_input_size="vit" in name)
    )
    timm = types.SimpleNamespace(create_model=make, list_models=lambda: names, models=configuration)
    models = types.SimpleNamespace(
        get_model=make, list_models=lambda module: [*names] if module is models else []
    )
    monkeypatch.setitem(sys.modules, "timm", timm)
    monkeypatch.setitem(sys.modules, "torchvision.models", models)
    return calls


def build(word: str, shape: tuple[int, ...] = (3, 8, 8), **settings: Any) -> nn.Module:
    package, _, network = word.partition(":")
    cls = find("model", package).load()
    built: nn.Module = cls(network=network, **settings).build(shape, 5, 1 / 255)
    return built


def refusal(word: str, shape: tuple[int, ...] = (3, 8, 8), **settings: Any) -> str:
    with pytest.raises(UsageError) as error:
        build(word, shape, **settings)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_network_is_made_with_fresh_weights_and_trains(package: str, asked: list[dict[str, Any]]):
    r = run(*STREAM, f"model={package}:good", on=pool(**IMAGES))
    strategy = r.strategy()
    before = strategy.weights.clone()  # type: ignore[operator, union-attr]
    assert r.config.as_dict()["model"]["network"] == "good"
    assert asked[-1]["num_classes"] == 4
    assert not asked[-1].get("pretrained")
    assert asked[-1].get("weights") is None
    assert "img_size" not in asked[-1]
    assert "image_size" not in asked[-1]
    strategy, outcome = go(r, strategy)
    assert outcome.status == "completed"
    assert not torch.equal(strategy.weights, before)  # type: ignore[arg-type]
    record = record_of(r, strategy, outcome)
    assert record.declares["pretrained"] is False


@pytest.mark.parametrize("package", PACKAGES)
def test_images_are_scaled_coloured_and_resized(package: str, asked: list[dict[str, Any]]):
    for shape in ((8, 8), (1, 8, 8), (3, 8, 8)):
        x = torch.randint(0, 256, (2, *shape), dtype=torch.uint8)
        network = build(f"{package}:good", shape)
        images = network[1](network[0](x))  # type: ignore[index, operator]
        wanted = (x.float() / 255).reshape(2, -1, 8, 8).expand(-1, 3, -1, -1)
        torch.testing.assert_close(images, wanted)
        network = build(f"{package}:good", shape, resolution=24)
        assert network[1](network[0](x)).shape == (2, 3, 24, 24)  # type: ignore[index, operator]
        assert network(x).shape == (2, 5)


@pytest.mark.parametrize(("package", "key"), [("timm", "img_size"), ("torchvision", "image_size")])
def test_networks_of_one_size_are_told_that_of_the_data(
    package: str, key: str, asked: list[dict[str, Any]]
):
    build(f"{package}:vit_good", (3, 8, 16))
    assert asked[-1][key] == 16
    build(f"{package}:vit_good", resolution=48)
    assert asked[-1][key] == 48


def test_networks_with_several_heads_are_made_with_one(asked: list[dict[str, Any]]):
    build("torchvision:inception_v3")
    assert asked[-1]["aux_logits"] is False


@pytest.mark.parametrize("package", PACKAGES)
def test_a_batch_with_one_value_per_channel_trains(package: str, asked: list[dict[str, Any]]):
    network = build(f"{package}:good")
    assert any(type(m) is BatchNorm2d for m in network.modules())
    network.train()(torch.zeros(1, 3, 8, 8, dtype=torch.uint8)).sum().backward()


@pytest.mark.parametrize("package", PACKAGES)
@pytest.mark.parametrize("n_classes", [4, 7])
def test_weights_on_disk(package: str, n_classes: int, asked: list[dict[str, Any]], tmp_path: Path):
    """An output layer for as many classes is taken, another starts fresh; the run is pretrained."""
    torch.manual_seed(5)
    given = Net(n_classes)
    path = tmp_path / "weights.pth"
    torch.save(given.state_dict(), path)
    words = (*STREAM, f"model={package}:good", f"model.pretrained={path}")
    r = run(*words, on=pool(**IMAGES))
    strategy = r.strategy()
    assert strategy.pretrained
    network = strategy.model[2]  # type: ignore[index, union-attr]
    assert torch.equal(network.conv.weight, given.conv.weight)
    assert torch.equal(network.norm.running_mean, given.norm.running_mean)
    assert (n_classes == 4) == (
        network.fc.weight.shape == given.fc.weight.shape
        and torch.equal(network.fc.weight, given.fc.weight)
    )
    sha256 = file_sha256(path)
    assert r.config.as_dict()["model"]["pretrained_sha256"] == sha256
    assert r.config.identity()["model"]["pretrained_sha256"] == sha256
    assert "pretrained" not in r.config.identity()["model"]  # where it lies says nothing
    other = Net(n_classes)
    torch.save(other.state_dict(), path)
    with pytest.raises(UsageError, match="another file"):
        r.strategy()


@pytest.mark.parametrize("package", PACKAGES)
def test_what_is_refused(package: str, asked: list[dict[str, Any]], tmp_path: Path):
    assert f"model={package}:NAME" in refusal(package)
    assert "did you mean 'good'?" in refusal(f"{package}:goood")
    assert refusal(f"{package}:broken").endswith("LookupError: no such thing")
    assert "1 or 3 channels" in refusal(f"{package}:good", (4, 8, 8))
    assert "needs images" in refusal(f"{package}:good", (8,))
    assert "no such file" in refusal(f"{package}:good", pretrained=tmp_path / "missing.pth")
    torch.save({"conv.weight": torch.zeros(2)}, tmp_path / "w.pth")
    assert "lacks tensor" in refusal(f"{package}:good", pretrained=tmp_path / "w.pth")
    assert "goes with model.pretrained" in refusal(f"{package}:good", pretrained_sha256="0" * 64)


@pytest.mark.parametrize(
    ("package", "module"), [("timm", "timm"), ("torchvision", "torchvision.models")]
)
def test_a_missing_package_is_named(package: str, module: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, module, None)
    assert f"pip install {package}" in refusal(f"{package}:resnet18")


def test_the_name_is_given_once_and_to_models_that_take_one():
    with pytest.raises(UsageError, match="give it once"):
        run(*STREAM, "model=timm:a", "model.network=b")
    with pytest.raises(UsageError, match="mlp takes nothing after a colon"):
        run(*STREAM, "model=mlp:a")


@pytest.mark.parametrize("package", PACKAGES)
def test_the_contract_of_models(package: str, asked: list[dict[str, Any]]):
    findings = [*check(find("model", f"{package}:good"))]
    assert all(f.passed for f in findings), findings
    assert not any("does not apply" in f.message for f in findings)
    assert all(f.passed for f in check(find("model", package)))  # they do not apply


# --- the packages themselves, where they are installed -------------------------------------------


@pytest.mark.parametrize(
    ("word", "size"),
    [
        ("torchvision:resnet18", 11_689_512),
        ("torchvision:mobilenet_v2", 3_504_872),
        ("torchvision:vit_b_16", 86_567_656),
        ("timm:resnet18", 11_689_512),
        ("timm:vit_tiny_patch16_224", 5_717_416),
        ("timm:deit_tiny_patch16_224", 5_717_416),
    ],
)
def test_networks_have_their_published_sizes(word: str, size: int):
    package, _, network = word.partition(":")
    pytest.importorskip(package)
    cls = find("model", package).load()
    built = cls(network=network).build((3, 224, 224), 1000, 1 / 255)
    assert sum(p.numel() for p in built.parameters()) == size


@pytest.mark.parametrize(
    "word", ["torchvision:resnet18", "timm:resnet18", "timm:vit_tiny_patch16_224"]
)
def test_the_packages_networks_train(word: str):
    pytest.importorskip(word.partition(":")[0])
    r = run(*STREAM, f"model={word}", on=pool(n_classes=4, n_train=2, n_test=1, shape=(3, 32, 32)))
    _, outcome = go(r)
    assert (outcome.status, outcome.error) == ("completed", None)
