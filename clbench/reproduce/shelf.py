"""Where reproductions are: found by name, read and checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from clbench.errors import UsageError
from clbench.plugins.registry import PACKAGE, did_you_mean
from clbench.reproduce.form import ReproductionForm, RowForm
from clbench.util import schema
from clbench.util.files import FileError, read_yaml

FOLDER = "reproductions"


@dataclass(frozen=True)
class Reproduction:
    """One file of published numbers."""

    name: str
    """The file's name without its ending."""
    form: ReproductionForm

    def row(self, name: str) -> RowForm:
        """A row by name.

        Raises:
            UsageError: there is none, with the nearest name.
        """
        for row in self.form.rows:
            if row.name == name:
                return row
        names = [row.name for row in self.form.rows]
        raise UsageError(
            f"--only {name}: {self.name} has no such row{did_you_mean(name, names)} "
            f"({', '.join(names)})"
        )


def builtin() -> Path:
    """The folder that comes with clbench: in the package, or beside it in a checkout."""
    inside = PACKAGE / FOLDER
    return inside if inside.is_dir() else PACKAGE.parent / FOLDER


def names(root: Path) -> list[str]:
    """The names of all reproductions in a folder, sorted."""
    return sorted(path.stem for path in root.glob("*.yaml"))


def find(name: str, root: Path) -> Reproduction:
    """A reproduction by its name.

    Raises:
        UsageError: there is none, with the nearest name; or the file is malformed.
    """
    if name not in names(root):
        raise UsageError(
            f"unknown reproduction {name!r}{did_you_mean(name, names(root))} (clbench reproduce)"
        )
    path = root / f"{name}.yaml"
    try:
        data = read_yaml(path)
    except FileError as error:
        raise UsageError(str(error)) from error
    wrong = schema.faults(ReproductionForm, data)
    if not wrong:
        form = ReproductionForm.model_validate(data)
        wrong = _parts(form)
    if wrong:
        raise UsageError(f"{path}: {'; '.join(wrong[:3])}")
    return Reproduction(name, form)


def _parts(form: ReproductionForm) -> list[str]:
    """What a form cannot say of its fields alone."""
    known = [row.name for row in form.rows]
    wrong = [f"two rows are named {name}" for name in set(known) if known.count(name) > 1]
    by_name = {row.name: row for row in form.rows}
    for row in form.rows:
        if row.over is not None and row.over not in known:
            wrong.append(f"row {row.name} is over {row.over}, which is no row")
        elif row.over is not None and by_name[row.over].over is not None:
            wrong.append(f"row {row.name} is over {row.over}, which is a ratio itself")
        if row.published is None and all(other.over != row.name for other in form.rows):
            wrong.append(f"row {row.name} publishes nothing, and no row is over it")
        if not row.words and not row.missing:
            wrong.append(f"row {row.name} has neither words nor what is missing")
    return sorted(wrong)
