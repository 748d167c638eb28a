"""A pool of latents: the samples of another pool, encoded by a frozen encoder.

The latents of the pool's own samples are encoded once and read from the cache. Samples that a scenario
transforms (rotated, permuted, corrupted images) are encoded on request, every time.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from clbench import seeding
from clbench.data import latent_cache
from clbench.data.latent_cache import Meta
from clbench.data.pool import Pool, Split
from clbench.encoder import Encoder, frozen_bytes, weights_sha256
from clbench.errors import ClbenchError, UsageError
from clbench.nets.flops import Count
from clbench.plugins.blame import kind
from clbench.plugins.form import line_of_definition
from clbench.plugins.registry import Plugin, line_of
from clbench.plugins.source import source_sha256
from clbench.util.environment import code_version, processor
from clbench.util.hashing import sha256_of

DTYPES = {"float32": torch.float32, "float16": torch.float16}
Watch = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""Opens a progress display with a title and a total; it is called with the number done."""


@dataclass(frozen=True)
class ProgressSink:
    """Receives progress and messages of an encoding."""

    watch: Watch = lambda title, total: nullcontext(lambda done: None)
    say: Callable[[str], None] = lambda line: None
    """Called with a line when an encoding is done."""
    warn: Callable[[str], None] = lambda line: None
    """Called with a line when a cache entry is damaged."""
    note: Callable[[str], None] = lambda line: None
    """Called with a line on data that were left out or reinterpreted."""


SILENT = ProgressSink()
SPLITS: tuple[Split, ...] = ("train", "test")
SMALL = 1 / 16
"""Latents whose root mean square is below this are scaled up."""


class LatentPool(Pool):
    """Replaces raw samples by ``(d,)`` latents, float32 or float16, with the same labels and order.

    Latents of pretrained networks have any magnitude. (Those of efficientnet_lite0 have a root mean
    square of 9.6; with it, SGD at learning rates for pixels ends at chance.) ``scale`` therefore is
    the power of two that brings the training latents to a root mean square of about 1. It is 1 if
    their root mean square is between 1/16 and 1, as for pixels. (An untrained efficientnet_lite0,
    which normalises nothing, has 1e-6, too small for any optimizer.)
    """

    def __init__(
        self,
        raw: Pool,
        encoder: Encoder,
        plugin: Plugin,
        *,
        data: str = "",
        threads: int = 1,
        sink: ProgressSink = SILENT,
    ) -> None:
        """Open the latents in the cache, or encode them now.

        Args:
            raw: the samples.
            encoder: the settings of the encoder.
            plugin: the encoder's plug-in.
            data: name of the data set, for messages.
            threads: CPU threads for encoding; 0: torch's default.
            sink: receives progress and messages.

        Raises:
            UsageError: the encoder does not take the samples, or its weights are not there.
            ClbenchError: the cache cannot be written.
        """
        self._raw, self._encoder, self._plugin = raw, encoder, plugin
        self._data, self._threads, self._sink = data, threads, sink
        self.n_classes, self.parts, self.device = raw.n_classes, raw.parts, raw.device
        self.class_names, self.notes = raw.class_names, raw.notes
        self.superclasses = raw.superclasses
        self.dtype = DTYPES[encoder.dtype]
        with self._explained("cannot be built"):
            network: Any = encoder.build(raw.input_shape, raw.scale)
            if not isinstance(network, nn.Module):
                raise TypeError(f"build() must return a torch.nn.Module, not {kind(network)}")
            network.eval().requires_grad_(False)
        self.recipe = _recipe(raw, encoder, plugin, weights_sha256(network))
        self.sha256 = sha256_of(self.recipe)
        self.frozen_bytes = frozen_bytes(network)
        self._network = network.to(raw.device)
        place = {**self.recipe, "engine_sha256": _engine(encoder, plugin), **self._platform()}
        latents, self.meta = latent_cache.fetch(
            place, lambda folder: self._make(folder, place), sink.warn
        )
        self.input_shape, self.scale = self.meta.shape[1:], self.meta.scale
        # On a CPU these are the pages of the file itself, shared by all processes.
        self._latents = torch.from_numpy(latents).to(self.device)

    @property
    def raw(self) -> Pool:
        """The pool of raw samples."""
        return self._raw

    def size(self, split: Split) -> int:
        """The number of samples of a split."""
        return self._raw.size(split)

    def labels(self, split: Split) -> np.ndarray:
        """``(n,)`` int64 labels, in host memory."""
        return self._raw.labels(split)

    def gather(self, split: Split, index: np.ndarray) -> Tensor:
        """Gather ``(len(index), d)`` rows of one resident matrix, on the device."""
        rows = torch.as_tensor(index, device=self.device)
        if split == "test":
            rows = rows + self._raw.size("train")
        return self._latents.index_select(0, rows)

    def changed(
        self, split: Split, index: np.ndarray, change: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """Encode ``(len(index), d)`` latents of raw samples transformed by ``change``."""
        before = self._raw.gather(split, index)
        after = change(before)
        if after is before:
            return self.gather(split, index)
        self.encoded += len(after)
        with seeding.preserved(self._threads):  # equal bit for bit to the latents in the cache
            return torch.cat([*self._encode(after)])

    def encode(self, x: Tensor) -> Tensor:
        """``(n, d)`` latents of raw samples of the user's own, on the pool's device."""
        with seeding.preserved(self._threads):
            parts = [*self._encode(x.to(self.device))]
        return torch.cat(parts) if parts else self._latents[:0]

    def factors(self, split: Split, index: np.ndarray) -> Mapping[str, np.ndarray]:
        """The factors of the raw samples."""
        return self._raw.factors(split, index)

    def tuning(self) -> LatentPool:
        """The latents of the raw pool's tuning pool; the test split is neither encoded nor read."""
        return LatentPool(
            self._raw.tuning(),
            self._encoder,
            self._plugin,
            data=f"{self._data} (tuning)",
            threads=self._threads,
            sink=self._sink,
        )

    def describe(self) -> dict[str, Any]:
        """Describe data, encoder and encoding costs for the record."""
        return {
            **self.recipe,
            "latents": self.meta.shape[1],
            "samples": self.meta.shape[0],
            "scale": self.scale,
            "flops_per_sample": self.meta.flops_per_sample,
            "seconds": self.meta.seconds,
        }

    def _platform(self) -> dict[str, Any]:
        """The platform, on which the last bits of latents depend; not part of the pool's identity."""
        device = self.device
        return {
            "torch": torch.__version__,
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
            "cpu_capability": torch.backends.cpu.get_cpu_capability(),
            "processor": processor(),
            "threads": self._threads,
        }

    def _encode(self, x: Tensor) -> Iterator[Tensor]:
        """Encode raw samples batch by batch.

        All batches have the same size (the last one is padded), because the last bits of a sample's
        latents depend on the batch size. So equal samples have equal latents.
        """
        size = self._encoder.batch_size
        for start in range(0, len(x), size):
            part = x[start : start + size]
            n = len(part)
            if n < size:
                part = torch.cat([part, part[-1:].expand(size - n, *part.shape[1:])])
            with torch.no_grad(), self._explained("fails"):
                z = self._network(part)
            yield self._checked(z[:n])

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        """Turn an error of a third party's network into one line, with the line in the plug-in."""
        try:
            yield
        except ClbenchError:
            raise
        except Exception as error:
            line = line_of(error, self._plugin.path) or line_of_definition(
                self._plugin.path, "build"
            )
            at = f" line {line}" if line else ""
            reason = (str(error).splitlines() or [""])[0]
            raise UsageError(
                f"{self._plugin.path.name}{at}: {what} for samples of shape "
                f"{self._raw.input_shape}: {type(error).__name__}: {reason}"
            ) from error

    def _checked(self, z: Tensor) -> Tensor:
        name = self._plugin.name
        if z.dim() != 2:
            raise UsageError(f"encoder={name}: gives {tuple(z.shape)}, must give (n, d)")
        small = z.to(self.dtype)
        if not bool(small.isfinite().all()):
            if bool(z.isfinite().all()):
                raise UsageError(
                    f"encoder={name}: latents of up to {float(z.abs().max()):.3g} are too large for "
                    "float16: set encoder.dtype=float32"
                )
            raise UsageError(f"encoder={name}: latents are NaN or infinite; its weights are broken")
        return small

    def _make(self, folder: Path, place: dict[str, Any]) -> Meta:
        """Encode both splits into ``folder/latents.npy``, one batch at a time."""
        sizes: dict[Split, int] = {s: self._raw.size(s) for s in SPLITS}
        total, done = sum(sizes.values()), 0
        with Count():
            pass  # loading the counter takes a second, which is not part of the encoding
        title = f"encoding {self._data or 'data'} with {self._plugin.name}"
        started = time.perf_counter()
        out: np.ndarray | None = None
        flops, squares = 0, 0.0
        with seeding.preserved(self._threads), self._sink.watch(title, total) as report:
            for batch in self._batches(sizes):
                with Count() if out is None else nullcontext() as count:
                    z = torch.cat([*self._encode(batch)])
                if count is not None:
                    flops = round(count.total / self._encoder.batch_size)
                if out is None:
                    file, dtype = folder / "latents.npy", np.dtype(self._encoder.dtype)
                    shape = (total, z.shape[1])
                    out = np.lib.format.open_memmap(file, "w+", dtype, shape)
                rows = z.cpu()
                out[done : done + len(z)] = rows.numpy()
                if done < sizes["train"]:
                    squares += float(rows.double().square().sum())
                done += len(z)
                report(done)
        assert out is not None  # a pool has samples
        out.flush()  # type: ignore[attr-defined]
        seconds = time.perf_counter() - started
        self._sink.say(f"{title}: {total} samples in {seconds:.1f} s")
        return Meta(
            format=latent_cache.FORMAT,
            data=self._data,
            recipe=place,
            shape=(total, out.shape[1]),
            dtype=out.dtype.name,
            sha256="",
            flops_per_sample=flops,
            scale=_power_of_two(squares / (sizes["train"] * out.shape[1])),
            seconds=round(seconds, 3),
            clbench=code_version()["clbench"],
            made=latent_cache.now(),
        )

    def _batches(self, sizes: dict[Split, int]) -> Iterator[Tensor]:
        for split, n in sizes.items():
            for start in range(0, n, self._encoder.batch_size):
                stop = min(n, start + self._encoder.batch_size)
                yield self._raw.gather(split, np.arange(start, stop))


def _recipe(raw: Pool, encoder: Encoder, plugin: Plugin, weights: str) -> dict[str, Any]:
    """Everything that determines the latents, up to the last bits on another platform.

    A file's name does not determine its content: paths are left out, the weights' hash is included.
    """
    settings = {f.name: getattr(encoder, f.name) for f in dataclasses.fields(encoder)}
    return {
        "encoder": plugin.name,
        "settings": {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in settings.items()
            if not isinstance(value, Path)
        },
        "weights_sha256": weights,
        "code_sha256": source_sha256(plugin.path, *encoder.files())["own"],
        "packages": {name: importlib.metadata.version(name) for name in encoder.packages},
        "data_sha256": raw.sha256,
    }


def _power_of_two(mean_square: float) -> float:
    """The power of two nearest to ``1 / sqrt(mean_square)``; 1 for magnitudes as of pixels.

    It is rounded so that neither the last bits nor the 10 % that tuning leaves out change it.
    """
    if SMALL**2 <= mean_square <= 1 or mean_square == 0:
        return 1.0
    return float(2.0 ** -round(math.log2(mean_square) / 2))


def _engine(encoder: Encoder, plugin: Plugin) -> str:
    """Hash of the engine that the encoder uses; another engine finds no entry of this one."""
    return source_sha256(plugin.path, *encoder.files())["engine"]
