"""A trained strategy as an ONNX file: raw samples in, scores out."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from clbench.errors import UsageError
from clbench.strategy import Strategy
from clbench.util.atomic import write_atomically
from clbench.util.optional import require

INPUT, OUTPUT = "samples", "scores"


class _Scores(nn.Module):
    def __init__(self, strategy: Strategy) -> None:
        super().__init__()
        self.strategy = strategy

    def forward(self, samples: Tensor) -> Tensor:
        scores: Tensor = self.strategy(samples, None)
        return scores


def save(path: Path, strategy: Strategy) -> None:
    """Write ``samples (n, *input_shape) -> scores (n, n_classes)``, for any n.

    Raises:
        UsageError: the strategy is told the task of a sample, or does what ONNX has no operator for.
        MissingPackage: the exporter of torch needs ``onnxscript``, which is not here.
    """
    require("onnxscript", "--onnx", "onnx")
    # It warns of packages of operators that are not here, whether or not any is needed.
    logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)
    info, name = strategy.info, type(strategy).__name__
    if info.task_ids:
        raise UsageError(f"--onnx: {name} is told the task of each sample, which the file is not")
    sample = torch.zeros(2, *info.input_shape, dtype=info.dtype)
    try:
        with warnings.catch_warnings(action="ignore"), torch.no_grad():
            made = torch.onnx.export(
                _Scores(strategy.cpu()).eval(),
                (sample,),
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=({0: torch.export.Dim("n")},),
                dynamo=True,
                verbose=False,
            )
            assert made is not None
            data: bytes = made.model_proto.SerializeToString()
    except Exception as error:  # whatever the exporter raises
        reason = (str(error).strip().splitlines() or [""])[0]
        raise UsageError(
            f"--onnx: {name} cannot be written as ONNX: {type(error).__name__}: {reason[:200]}"
        ) from error
    write_atomically(path, data)
