"""A pool of latents: every sample of another pool as a frozen encoder sees it.

The latents of the pool's own samples are encoded once and come from the cache. What a scenario makes
of raw samples (rotated, permuted, corrupted images) is encoded on request, every time.
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
from torch import Tensor

from clbench import seeding
from clbench.data import latent_cache
from clbench.data.latent_cache import Meta
from clbench.data.pool import Pool, Split
from clbench.encoder import Encoder, frozen_bytes, weights_sha256
from clbench.errors import ClbenchError, UsageError
from clbench.nets.flops import Count
from clbench.plugins.registry import Plugin, line_of
from clbench.plugins.source import source_sha256
from clbench.util.environment import code_version
from clbench.util.hashing import sha256_of

DTYPES = {"float32": torch.float32, "float16": torch.float16}
Watch = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""Opens a display of progress, of a title and a total, that is told what is done."""


@dataclass(frozen=True)
class Telling:
    """To whom an encoding tells what it does."""

    watch: Watch = lambda title, total: nullcontext(lambda done: None)
    say: Callable[[str], None] = lambda line: None
    """What has been encoded."""
    warn: Callable[[str], None] = lambda line: None
    """What in the cache is damaged."""


SILENT = Telling()
SPLITS: tuple[Split, ...] = ("train", "test")
SMALL = 1 / 16
"""Latents of a root mean square below this are scaled up."""


class LatentPool(Pool):
    """``(d,)`` latents of float32 or float16 in place of raw samples; the same labels and order.

    Latents of pretrained networks have any magnitude (those of efficientnet_lite0 a root mean square
    of 9.6, on which SGD at the learning rates of pixels ends at chance). ``scale`` is for that what
    it is for pixels: the nearest power of two that brings the training latents to a root mean square
    of about 1. It is 1 where that is between 1/16 and 1 already, as of pixels. (An untrained
    efficientnet_lite0, which normalises nothing, has 1e-6: no optimizer would move on that.)
    """

    def __init__(
        self,
        raw: Pool,
        encoder: Encoder,
        plugin: Plugin,
        *,
        data: str = "",
        threads: int = 1,
        telling: Telling = SILENT,
    ) -> None:
        """Open the latents in the cache, or encode them now.

        Args:
            raw: the samples.
            encoder: its settings.
            plugin: where it is.
            data: name of the data set, for people.
            threads: to encode on; 0: as many as torch likes.
            telling: to whom.

        Raises:
            UsageError: the encoder does not take the samples, or its weights are not there.
            ClbenchError: the cache cannot be written.
        """
        self._raw, self._encoder, self._plugin = raw, encoder, plugin
        self._data, self._threads, self._telling = data, threads, telling
        self.n_classes, self.parts, self.device = raw.n_classes, raw.parts, raw.device
        self.dtype = DTYPES[encoder.dtype]
        with self._explained("cannot be built"):
            network = encoder.build(raw.input_shape, raw.scale).eval().requires_grad_(False)
        self.recipe = _recipe(raw, encoder, plugin, weights_sha256(network))
        self.sha256 = sha256_of(self.recipe)
        self.frozen_bytes = frozen_bytes(network)
        self._network = network.to(raw.device)
        place = {**self.recipe, "engine_sha256": _engine(encoder, plugin), **self._platform()}
        latents, self.meta = latent_cache.fetch(
            place, lambda folder: self._make(folder, place), telling.warn
        )
        self.input_shape, self.scale = self.meta.shape[1:], self.meta.scale
        # On a CPU the pages of the file itself, shared by all processes.
        self._latents = torch.from_numpy(latents).to(self.device)

    @property
    def raw(self) -> Pool:
        """The pool that was encoded."""
        return self._raw

    def size(self, split: Split) -> int:
        """The number of samples of a split."""
        return self._raw.size(split)

    def labels(self, split: Split) -> np.ndarray:
        """``(n,)`` int64 labels, in host memory."""
        return self._raw.labels(split)

    def gather(self, split: Split, index: np.ndarray) -> Tensor:
        """``(len(index), d)``: rows of one resident matrix, on the device."""
        rows = torch.as_tensor(index, device=self.device)
        if split == "test":
            rows = rows + self._raw.size("train")
        return self._latents.index_select(0, rows)

    def changed(
        self, split: Split, index: np.ndarray, change: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """``(len(index), d)``: latents of what ``change`` makes of the raw samples."""
        before = self._raw.gather(split, index)
        after = change(before)
        if after is before:
            return self.gather(split, index)
        self.encoded += len(after)
        with seeding.preserved(self._threads):  # the bits of the latents in the cache
            return torch.cat([*self._encode(after)])

    def factors(self, split: Split, index: np.ndarray) -> Mapping[str, np.ndarray]:
        """Those of the raw samples."""
        return self._raw.factors(split, index)

    def tuning(self) -> LatentPool:
        """The latents of the raw pool's tuning pool: the test split is not encoded, nor read."""
        return LatentPool(
            self._raw.tuning(),
            self._encoder,
            self._plugin,
            data=f"{self._data} (tuning)",
            threads=self._threads,
            telling=self._telling,
        )

    def describe(self) -> dict[str, Any]:
        """What was encoded by what, and what it took, for the record."""
        return {
            **self.recipe,
            "latents": self.meta.shape[1],
            "samples": self.meta.shape[0],
            "scale": self.scale,
            "flops_per_sample": self.meta.flops_per_sample,
            "seconds": self.meta.seconds,
        }

    def _platform(self) -> dict[str, Any]:
        """What the last bits of latents depend on; not part of the pool's identity."""
        device = self.device
        return {
            "torch": torch.__version__,
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
            "cpu_capability": torch.backends.cpu.get_cpu_capability(),
            "threads": self._threads,
        }

    def _encode(self, x: Tensor) -> Iterator[Tensor]:
        """Latents of raw samples, batch by batch.

        Every batch that the network sees has the same size, the last one being filled up: the last
        bits of a sample's latents would depend on it. So equal samples have equal latents.
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
        """Whatever a third party's network raises, in one line with the line of the plug-in."""
        try:
            yield
        except ClbenchError:
            raise
        except Exception as error:
            line = line_of(error, self._plugin.path)
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
        """Encode both splits into ``folder/latents.npy``, holding one batch at a time."""
        sizes: dict[Split, int] = {s: self._raw.size(s) for s in SPLITS}
        total, done = sum(sizes.values()), 0
        with Count():
            pass  # loading the counter takes a second that is not the encoder's
        title = f"encoding {self._data or 'data'} with {self._plugin.name}"
        started = time.perf_counter()
        out: np.ndarray | None = None
        flops, squares = 0, 0.0
        with seeding.preserved(self._threads), self._telling.watch(title, total) as report:
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
        self._telling.say(f"{title}: {total} samples in {seconds:.1f} s")
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
    """All that latents follow from, up to the last bits of another platform.

    A file's name says nothing of what is in it: paths are left out, the weights' hash is in.
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
    """The power of two nearest to ``1 / sqrt(mean_square)``; 1 for what pixels may be.

    Rounded so that neither the last bits nor the tenth that tuning leaves out change it.
    """
    if SMALL**2 <= mean_square <= 1 or mean_square == 0:
        return 1.0
    return float(2.0 ** -round(math.log2(mean_square) / 2))


def _engine(encoder: Encoder, plugin: Plugin) -> str:
    """Hash of the engine under the encoder: an entry made by another engine is not found."""
    return source_sha256(plugin.path, *encoder.files())["engine"]
