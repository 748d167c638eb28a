"""Models: shapes, sizes from the literature, and what every strategy relies on."""

import pytest
import torch

from clbench.errors import UsageError
from clbench.model import Model, ToFloat
from clbench.models.linear import Linear
from clbench.models.mlp import Mlp
from clbench.models.scole_cnn import ScoleCnn
from clbench.models.slim_resnet18 import SlimResnet18
from clbench.nets.images import ChannelsLastImage

CASES = [
    (Linear(), (64,)),
    (Linear(), (8, 8)),
    (Mlp(), (64,)),
    (Mlp(hidden=(5,)), (3, 4, 4)),
    (Mlp(hidden=()), (8, 8)),
    (ScoleCnn(), (28, 28)),
    (ScoleCnn(), (1, 28, 28)),
    (ScoleCnn(), (3, 16, 20)),
    (SlimResnet18(), (3, 32, 32)),
    (SlimResnet18(), (8, 8)),
    (Linear(head="weight_norm"), (8, 8)),
    (Mlp(head="weight_norm"), (8, 8)),
    (ScoleCnn(head="weight_norm"), (28, 28)),
    (SlimResnet18(head="weight_norm"), (8, 8)),
    (Mlp(norm="layer"), (8, 8)),
    (Mlp(hidden=(1, 5), norm="layer"), (64,)),
    (SlimResnet18(norm="layer"), (8, 8)),
    (SlimResnet18(norm="none"), (3, 16, 16)),
]


def build(model: Model, shape, n_classes=10):
    torch.manual_seed(0)
    return model.build(shape, n_classes, 1 / 255)


def batch(shape, n=6):
    return torch.randint(0, 256, (n, *shape), generator=torch.Generator().manual_seed(1)).to(
        torch.uint8
    )


def n_parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(("model", "shape"), CASES)
def test_scores_do_not_depend_on_the_batch_in_eval_mode(model, shape):
    network = build(model, shape).eval()
    x = batch(shape)
    with torch.inference_mode():
        scores = network(x)
        assert scores.shape == (6, 10)
        assert scores.dtype == torch.float32
        alone = torch.cat([network(x[i : i + 1]) for i in range(6)])
        turned = network(x.flip(0)).flip(0)
        assert network(x[:0]).shape == (0, 10)
    torch.testing.assert_close(alone, scores)
    torch.testing.assert_close(turned, scores)


@pytest.mark.parametrize(("model", "shape"), CASES)
def test_double_precision_and_foreign_default_device(model, shape):
    network, x = build(model, shape).eval(), batch(shape)
    single = network(x)
    with torch.device("meta"):
        assert torch.equal(network(x), single)
        network.train()(x).sum().backward()
    assert all(p.grad is not None and p.grad.device.type == "cpu" for p in network.parameters())
    double = build(model, shape).eval().double()(x)
    assert double.dtype == torch.float64
    torch.testing.assert_close(double.float(), single, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("model", "shape"), CASES)
def test_starts_with_the_scale_and_is_drawn_from_the_generator(model, shape):
    network = build(model, shape)
    assert isinstance(network[0], ToFloat)
    assert "scale" not in str(list(network.state_dict()))
    again = build(model, shape)
    for (name, a), b in zip(network.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    assert all(parameter.is_contiguous() for parameter in network.parameters())


@pytest.mark.parametrize("model", [Linear, Mlp, ScoleCnn, SlimResnet18])
def test_a_weight_normalised_head_scores_by_angle_and_length_of_the_features(model):
    """Against cosine similarity times |h|; neither a bias nor the length of a row counts."""
    network, x = build(model(head="weight_norm"), (28, 28)).eval().double(), batch((28, 28))
    head = [layer for layer in network.modules() if isinstance(layer, torch.nn.Linear)][-1]
    assert list(dict(head.named_parameters())) == ["weight"]
    assert head is network[-1]
    h, rows = network[:-1](x), head.weight
    wanted = torch.cosine_similarity(h[:, None], rows[None], dim=2) * h.norm(dim=1, keepdim=True)
    scores = network(x)
    torch.testing.assert_close(scores, wanted)
    with torch.no_grad():
        head.weight.mul_(torch.linspace(0.1, 9, 10)[:, None])
    torch.testing.assert_close(network(x), scores)
    gradient = torch.autograd.grad(network(x).square().sum(), head.weight)[0]
    along = (gradient * head.weight).sum(1)  # nothing is gained by the length
    torch.testing.assert_close(along, torch.zeros_like(along), rtol=0, atol=1e-9)


def test_sizes():
    assert n_parameters(build(ScoleCnn(), (28, 28))) == 21_840
    assert n_parameters(build(SlimResnet18(), (3, 32, 32), 100)) == 1_109_240
    assert n_parameters(build(Linear(), (8, 8))) == 650
    assert n_parameters(build(Mlp(), (8, 8))) == 65 * 64 + 65 * 64 + 65 * 10
    # A factor and a shift for each hidden unit.
    assert n_parameters(build(Mlp(norm="layer"), (8, 8))) == 65 * 64 + 65 * 64 + 65 * 10 + 2 * 128
    # Likewise for each channel, as batch normalisation has; without any, a bias for each.
    assert n_parameters(build(SlimResnet18(norm="layer"), (3, 32, 32), 100)) == 1_109_240
    channels = 20 + 4 * 20 + sum(5 * 20 * 2**stage for stage in (1, 2, 3))
    assert n_parameters(build(SlimResnet18(norm="none"), (3, 32, 32), 100)) == 1_109_240 - channels


@pytest.mark.parametrize("shape", [(28, 28), (1, 28, 28), (3, 28, 28)])
def test_channels_last_changes_the_layout_and_not_the_values(shape):
    network, x = build(ScoleCnn(), shape), batch(shape)
    channels = network[1].channels
    images = network[1](network[0](x))
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert images.stride()[1] == 1
    assert network[2](images).is_contiguous(memory_format=torch.channels_last)
    h = (x.float() / 255).reshape(-1, channels, 28, 28)
    torch.testing.assert_close(images, h)
    torch.testing.assert_close(network[2:](h.contiguous()), network(x))


def test_channels_last_works_under_vmap():
    for channels in (1, 3):
        x = torch.rand(4, channels, 8, 8)
        module = ChannelsLastImage(channels)
        assert torch.equal(torch.func.vmap(lambda s, m=module: m(s[None])[0])(x), x)


def test_slim_resnet_learns_a_batch():
    network, x = build(SlimResnet18(), (3, 8, 8), 2), batch((3, 8, 8), 8)
    y = torch.arange(8) % 2
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    losses = []
    for _ in range(15):
        loss = torch.nn.functional.cross_entropy(network(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (ScoleCnn(), (64,)),
        (ScoleCnn(), (15, 28)),
        (SlimResnet18(), (64,)),
    ],
)
def test_unsuitable_samples_are_refused_in_one_line(model, shape):
    with pytest.raises(UsageError) as error:
        model.build(shape, 10, 1.0)
    assert "\n" not in str(error.value)


def test_a_hidden_layer_without_units_is_refused():
    with pytest.raises(UsageError, match="at least 1"):
        Mlp(hidden=(0,))


@torch.no_grad()
def stirred(network):
    """With factors, shifts and biases that have left their first values."""
    for parameter in network.parameters():
        if parameter.dim() == 1:
            parameter.normal_(0.5, 0.5)
    return network.double()


def standardised(h, dims, eps=1e-5):
    """To mean 0 and variance 1 over some dimensions, from the definition."""
    mean = h.mean(dims, keepdim=True)
    return (h - mean) / ((h - mean).square().mean(dims, keepdim=True) + eps).sqrt()


@pytest.mark.parametrize("training", [True, False])
@torch.no_grad()
def test_layer_normalisation_of_an_mlp_is_over_units_before_the_relu(training):
    network = stirred(build(Mlp(hidden=(7, 5), norm="layer"), (8, 8))).train(training)
    w = list(network.parameters())
    assert [tuple(p.shape) for p in w] == [
        *((7, 64), (7,), (7,), (7,)),
        *((5, 7), (5,), (5,), (5,)),
        *((10, 5), (10,)),
    ]
    x = batch((8, 8))
    h = x.double().flatten(1) / 255
    for weight, bias, factor, shift in (w[:4], w[4:8]):
        h = (standardised(h @ weight.T + bias, 1) * factor + shift).relu()
    torch.testing.assert_close(network(x), h @ w[8].T + w[9])


@pytest.mark.parametrize("norm", ["layer", "none"])
@torch.no_grad()
def test_slim_resnet18_with_other_norms(norm):
    """Written anew over the same weights in their order; a map is normalised as a whole."""
    network = stirred(build(SlimResnet18(norm=norm), (3, 16, 16))).train()
    left = iter(network.parameters())

    def conv(h, stride=1):
        weight = next(left)
        bias = next(left) if norm == "none" else None
        h = torch.nn.functional.conv2d(h, weight, bias, stride, padding=weight.shape[-1] // 2)
        if norm == "none":
            return h
        factor, shift = (next(left).view(1, -1, 1, 1) for _ in range(2))
        return standardised(h, (1, 2, 3)) * factor + shift

    x = batch((3, 16, 16))
    h = conv(x.double() / 255).relu()
    for stage in range(4):
        for number in range(2):
            stride = 2 if stage and not number else 1
            inner = conv(conv(h, stride).relu())
            h = (inner + (conv(h, stride) if stride == 2 else h)).relu()
    scores = h.mean((2, 3)) @ next(left).T + next(left)
    assert next(left, None) is None
    torch.testing.assert_close(network(x), scores)
