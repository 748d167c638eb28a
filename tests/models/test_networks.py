"""The field's networks: their published sizes, and their outputs against constructions of their own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clbench.errors import UsageError
from clbench.model import Model, ToFloat
from clbench.models.conv1d import Conv1d
from clbench.models.resnet18 import Resnet18
from clbench.models.resnet32 import Resnet32
from clbench.models.slim_resnet18 import SlimResnet18
from clbench.models.wrn import Wrn
from clbench.nets.batch_norm import BatchNorm1d
from clbench.nets.parameters import output_layer

IMAGES = [Resnet18(), Resnet18(stem="large"), Resnet32(), Wrn(depth=10, width=2)]
COSINE = [
    Resnet18(head="cosine"),
    Resnet32(head="cosine"),
    Wrn(depth=10, width=1, head="cosine"),
    Conv1d(hidden=(8, 8, 8), head="cosine"),
]


def build(model: Model, shape: tuple[int, ...], n_classes: int = 10) -> nn.Module:
    torch.manual_seed(0)
    return model.build(shape, n_classes, 1 / 255)


def batch(shape: tuple[int, ...], n: int = 4) -> Tensor:
    pixels = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (n, *shape), generator=pixels, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("model", "shape", "n_classes", "size"),
    [
        (Resnet32(), (3, 32, 32), 10, 464_154),  # He et al. 2016, table 6: 0.46 M
        (Resnet18(), (3, 32, 32), 10, 11_173_962),  # the CIFAR stem of kuangliu/pytorch-cifar
        (Resnet18(), (3, 224, 224), 1000, 11_689_512),  # torchvision's resnet18
        (Resnet18(stem="large"), (3, 32, 32), 1000, 11_689_512),
        (Wrn(), (3, 32, 32), 10, 36_479_194),  # Zagoruyko & Komodakis 2016: 36.5 M
        (Wrn(depth=16, width=4), (3, 32, 32), 10, 2_748_890),  # 2.7 M
        (Wrn(depth=40, width=4), (3, 32, 32), 10, 8_949_210),  # 8.9 M
        (SlimResnet18(), (3, 32, 32), 100, 1_109_240),
        # By hand: 128 (7 + 1), 256 (5 * 128 + 1), 128 (3 * 256 + 1), norms 2 * 512, head 129 * 2.
        (Conv1d(), (60,), 2, 1_024 + 164_096 + 98_432 + 1_024 + 258),
    ],
)
def test_sizes(model: Model, shape: tuple[int, ...], n_classes: int, size: int):
    with torch.device("meta"):
        network = model.build(shape, n_classes, 1.0)
    assert sum(p.numel() for p in network.parameters()) == size


@pytest.mark.parametrize("model", [*IMAGES, *COSINE[:3]], ids=str)
@pytest.mark.parametrize("shape", [(8, 8), (1, 1), (3, 9, 16)], ids=str)
def test_images_of_every_size_train(model: Model, shape: tuple[int, ...]):
    check_training(build(model, shape), shape)


@pytest.mark.parametrize("model", [Conv1d(hidden=(8, 8, 8)), COSINE[3]], ids=str)
@pytest.mark.parametrize("shape", [(1,), (64,), (9, 1), (3, 128)], ids=str)
def test_series_of_every_length_train(model: Model, shape: tuple[int, ...]):
    check_training(build(model, shape), shape)


def check_training(network: nn.Module, shape: tuple[int, ...]) -> None:
    assert isinstance(network, nn.Sequential)
    assert isinstance(network[0], ToFloat)
    assert output_layer(network) is network[-1]
    for n in (1, 2, 3):
        x = batch(shape, n)
        F.cross_entropy(network.train()(x), torch.arange(n)).backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    scores = network.eval()(batch(shape))
    alone = torch.cat([network(row) for row in batch(shape).split(1)])
    torch.testing.assert_close(alone, scores, rtol=1e-4, atol=1e-5)
    assert network(batch(shape)[:0]).shape == (0, 10)
    assert network.double()(batch(shape)).dtype == torch.float64


def bn(layer: nn.Module, x: Tensor) -> Tensor:
    assert isinstance(layer, nn.BatchNorm2d | nn.BatchNorm1d)
    return F.batch_norm(x, layer.running_mean, layer.running_var, layer.weight, layer.bias)


def stirred(network: nn.Module) -> nn.Module:
    """Evaluated after running statistics and weights of norms have left their first values."""
    torch.manual_seed(3)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            for tensor in (module.weight, module.bias, module.running_mean):
                nn.init.normal_(tensor, 0.5, 0.5)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 2)  # type: ignore[arg-type]
    return network.eval().double()


def convs(network: nn.Module) -> list[nn.Conv2d]:
    return [m for m in network.modules() if isinstance(m, nn.Conv2d)]


def norms(network: nn.Module) -> list[nn.BatchNorm2d]:
    return [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]


@pytest.mark.parametrize("head", ["linear", "cosine"])
@torch.no_grad()
def test_resnet32_is_that_of_the_paper(head: str):
    """Written anew from section 4.2 with option A, over the same weights in their order."""
    network = stirred(build(Resnet32(head=head), (3, 16, 16)))  # type: ignore[arg-type]
    c, b = iter(convs(network)), iter(norms(network))
    x = batch((3, 16, 16))
    h = bn(next(b), F.conv2d(x.double() / 255, next(c).weight, padding=1)).relu()
    for width in (16, 32, 64):
        for number in range(5):
            stride = 2 if number == 0 and width > 16 else 1
            r = bn(next(b), F.conv2d(h, next(c).weight, stride=stride, padding=1)).relu()
            r = bn(next(b), F.conv2d(r, next(c).weight, padding=1))
            if stride == 2:
                h = F.avg_pool2d(h, 1, 2)  # PyCIL's DownsampleA
                h = torch.cat([h, h * 0], dim=1)
            h = h + r
            if head == "linear" or (width, number) != (64, 4):
                h = h.relu()
    h = h.mean(dim=(2, 3))
    last = network[-1]  # type: ignore[index]
    if head == "cosine":
        last.sigma.fill_(3.0)
        wanted = 3 * F.cosine_similarity(h[:, None], last.weight[None], dim=2)
    else:
        wanted = h @ last.weight.T + last.bias
    torch.testing.assert_close(network(x), wanted, rtol=1e-5, atol=1e-7)


@torch.no_grad()
def test_wrn_is_that_of_the_paper():
    network = stirred(build(Wrn(depth=16, width=2), (3, 16, 16)))
    x = batch((3, 16, 16))
    c, b = iter(convs(network)), iter(norms(network))
    h = F.conv2d(x.double() / 255, next(c).weight, padding=1)
    for width in (32, 64, 128):
        for number in range(2):
            stride = 2 if number == 0 and width > 32 else 1
            ready = bn(next(b), h).relu()
            r = F.conv2d(ready, next(c).weight, stride=stride, padding=1)
            r = F.conv2d(bn(next(b), r).relu(), next(c).weight, padding=1)
            h = (F.conv2d(ready, next(c).weight, stride=stride) if number == 0 else h) + r
    h = bn(next(b), h).relu().mean(dim=(2, 3))
    last = network[-1]  # type: ignore[index]
    torch.testing.assert_close(network(x), h @ last.weight.T + last.bias, rtol=1e-5, atol=1e-7)


def test_resnet18_is_that_of_torchvision():
    models = pytest.importorskip("torchvision.models")
    ours, theirs = stirred(build(Resnet18(), (3, 64, 64))), models.resnet18(num_classes=10).double()
    # In theirs a block's norms stand after both convolutions, and the shortcut comes last, too.
    pairs = zip(convs(ours), convs(theirs), strict=True)
    with torch.no_grad():
        for a, b in [*pairs, *zip(norms(ours), norms(theirs), strict=True)]:
            b.load_state_dict(a.state_dict())  # type: ignore[attr-defined]
        theirs.fc.load_state_dict(ours[-1].state_dict())  # type: ignore[index]
        x = batch((3, 64, 64))
        torch.testing.assert_close(ours(x), theirs.eval()(x.double() / 255), rtol=1e-5, atol=1e-7)


def test_convolutions_start_as_he_et_al_2015():
    network = build(Resnet18(), (3, 32, 32))
    for conv in convs(network):
        n = conv.out_channels * conv.kernel_size[0] * conv.kernel_size[1]
        assert conv.weight.std().item() == pytest.approx((2 / n) ** 0.5, rel=0.1)


@torch.no_grad()
def test_conv1d_averages_over_time():
    network = stirred(build(Conv1d(hidden=(4, 6, 5)), (3, 20)))
    x = batch((3, 20))
    h = x.double() / 255
    layers = [m for m in network.modules() if isinstance(m, nn.Conv1d)]
    for conv, kernel in zip(layers, (7, 5, 3), strict=True):
        assert conv.kernel_size == (kernel,)
        norm = network[list(network).index(conv) + 1]  # type: ignore[index, call-overload]
        h = bn(norm, F.conv1d(h, conv.weight, conv.bias, padding=kernel // 2)).relu()
        assert h.shape[2] == 20
    last = network[-1]  # type: ignore[index]
    torch.testing.assert_close(network(x), h.mean(2) @ last.weight.T + last.bias)


def test_one_value_of_a_series_is_normalised_by_running_statistics():
    ours, torchs = BatchNorm1d(4), nn.BatchNorm1d(4)
    x = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(1))
    assert torch.equal(ours(x), torchs(x))
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    one = torch.randn(1, 4, 1)
    assert torch.equal(ours.train()(one), ours.eval()(one))
    assert all(torch.equal(ours.state_dict()[name], value) for name, value in before.items())


@pytest.mark.parametrize("model", COSINE[1:], ids=str)
def test_the_length_of_features_and_weights_does_not_count_for_a_cosine_head(model: Model):
    shape = (3, 12) if isinstance(model, Conv1d) else (3, 8, 8)
    network, x = build(model, shape).eval(), batch(shape)
    features: list[Tensor] = []
    network[-1].register_forward_pre_hook(lambda _, given: features.append(given[0]))  # type: ignore[index]
    scores = network(x)
    assert bool((features[0] < 0).any())  # no ReLU before the head
    assert float(scores.abs().max().detach()) <= 1
    with torch.no_grad():
        network[-1].weight.mul_(torch.linspace(0.1, 9, 10)[:, None])  # type: ignore[index, operator]
    torch.testing.assert_close(network(x), scores)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Resnet18().build((64,), 10, 1.0), "model=resnet18 needs images"),
        (lambda: Resnet32().build((64,), 10, 1.0), "model=resnet32 needs images"),
        (lambda: Wrn().build((64,), 10, 1.0), "model=wrn needs images"),
        (lambda: Wrn(depth=20), "model.depth=20 must be 6 n \\+ 4, such as 16 or 22"),
        (lambda: Wrn(dropout=1.0), "model.dropout=1.0"),
        (lambda: Conv1d().build((3, 8, 8), 10, 1.0), "needs series"),
        (lambda: Conv1d(hidden=(3, 4)), "must have 3 values"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(make, says: str):
    with pytest.raises(UsageError, match=says) as error:
        make()
    assert "\n" not in str(error.value)
