"""A figure that a notebook shows where it is the value of a cell."""

from __future__ import annotations

import io

from matplotlib import figure


class Figure(figure.Figure):
    """A figure without pyplot, which nothing else would show; ``%matplotlib`` may still replace it."""

    def _repr_png_(self) -> bytes:
        """What IPython asks for: the picture as PNG."""
        data = io.BytesIO()
        self.savefig(data, format="png")
        return data.getvalue()
