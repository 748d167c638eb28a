"""Reads the weights of a vision transformer out of an ONNX graph, once, into our names."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clbench.errors import MissingPackage, UsageError

ROOT = "backbone."
EMBEDDINGS = f"{ROOT}embeddings."
ADDED = "/backbone/embeddings/Concat_6"
"""The node that puts the position of the class token before those of the patches."""
RESHAPED = "/backbone/embeddings/Reshape_1"
"""The node that reads the positions of the patches."""
LAYERS = {
    "attention.query": "attention/attention/query",
    "attention.key": "attention/attention/key",
    "attention.value": "attention/attention/value",
    "attention.out": "attention/output/dense",
    "mlp.fc1": "mlp/fc1",
    "mlp.fc2": "mlp/fc2",
}
"""Our linear layers, and the part of their nodes' names in the graph."""
SCALES = {"scale1": "layer_scale1.lambda1", "scale2": "layer_scale2.lambda1"}


def package() -> Any:
    """Import onnx.

    Raises:
        MissingPackage: it is not there.
    """
    try:
        return importlib.import_module("onnx")
    except ImportError as error:
        raise MissingPackage(
            "reading the weights needs the package onnx, once: pip install onnx (or clbench[vit])"
        ) from error


def read(path: Path, depth: int) -> dict[str, Tensor]:
    """Read the backbone of a graph of DINOv2 (names as in the package transformers).

    Matrices have no names of their own there: each is found by the product that takes it, and is
    stored transposed.

    Args:
        path: the ONNX file.
        depth: its number of blocks.

    Returns:
        The tensors of ``clbench.nets.vit.Vit``, float32; ``position`` has the grid of the training.

    Raises:
        MissingPackage: onnx is not there.
        UsageError: the graph is another.
    """
    onnx = package()
    try:
        graph = onnx.load(str(path)).graph
        values = {i.name: i for i in graph.initializer}
        nodes = {n.name: n for n in graph.node}
        return _Graph(onnx.numpy_helper.to_array, values, nodes).tensors(depth)
    except (KeyError, IndexError, ValueError) as error:
        raise UsageError(f"{path.name}: is not the graph that is known: lacks {error}") from error


class _Graph:
    """Finds tensors by their own names or by the nodes that read them."""

    def __init__(self, to_array: Any, values: dict[str, Any], nodes: dict[str, Any]) -> None:
        self.to_array, self.values, self.nodes = to_array, values, nodes

    def named(self, name: str) -> Tensor:
        return torch.from_numpy(np.array(self.to_array(self.values[name]), dtype=np.float32))

    def read_by(self, node: str, place: int) -> Tensor:
        return self.named(self.nodes[node].input[place])

    def tensors(self, depth: int) -> dict[str, Tensor]:
        patches = self.read_by(RESHAPED, 0)
        found = {
            "class_token": self.named(f"{EMBEDDINGS}cls_token"),
            "position": torch.cat(
                [self.read_by(ADDED, 0), patches.reshape(1, -1, patches.shape[-1])], 1
            ),
            "norm.weight": self.named(f"{ROOT}layernorm.weight"),
            "norm.bias": self.named(f"{ROOT}layernorm.bias"),
        }
        for kind in ("weight", "bias"):
            found[f"patches.{kind}"] = self.named(f"{EMBEDDINGS}patch_embeddings.projection.{kind}")
        for number in range(depth):
            theirs, ours = f"{ROOT}encoder.layer.{number}.", f"blocks.{number}."
            block = f"/backbone/encoder/layer.{number}"
            for name in ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias"):
                found[ours + name] = self.named(theirs + name)
            for name, scale in SCALES.items():
                found[f"{ours}{name}.factor"] = self.named(theirs + scale)
            for name, node in LAYERS.items():
                product = f"{block}/{node}/MatMul"
                found[f"{ours}{name}.weight"] = self.read_by(product, 1).T.contiguous()
                found[f"{ours}{name}.bias"] = self.named(f"{theirs}{node.replace('/', '.')}.bias")
        return found
