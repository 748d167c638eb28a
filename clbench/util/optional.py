"""Packages that only an extra of clbench brings."""

from __future__ import annotations

import importlib.util

from clbench.errors import MissingPackage


def require(module: str, feature: str, extra: str) -> None:
    """Refuse to go on without a package; nothing is imported.

    Args:
        module: the package's name in ``import``.
        feature: what needs it, as the user types it.
        extra: the extra of clbench that brings it.

    Raises:
        MissingPackage: it is not installed, with the command that installs it.
    """
    if importlib.util.find_spec(module) is None:
        raise MissingPackage(
            f"{feature} needs {module}, which is not installed: pip install 'clbench[{extra}]'"
        )
