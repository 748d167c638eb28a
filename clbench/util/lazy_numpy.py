"""``np``: NumPy, imported by the first look into it.

Modules that only compute when they are asked to import this one instead. What lists the metrics reads
their names and docstrings, and would spend most of its time on the import.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
else:

    class _NumPy:
        """Looks each name up once."""

        def __getattr__(self, name: str) -> Any:
            import numpy

            value = getattr(numpy, name)
            setattr(self, name, value)
            return value

    np = _NumPy()

__all__ = ["np"]
