"""Puts the picture of the README together from two figures of the docs.

    python -m benchmarks.site.why            writes docs/why.png

Left: docs/scole_digits.png. Right: the third panel of docs/long_streams.png, with its legend.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

DOCS = Path(__file__).parents[2] / "docs"
PANEL = (980, 0, 1428, 418)
"""Left, top, right and bottom of EWC with a penalty for each task, in pixels of the figure."""
UNITS = (0, 100, 64, 310)
"""The title of its vertical axis, and its numbers, which the first panel of the row has."""
LEGEND = ((1060, 554, 1345, 610), (1060, 638, 1345, 694))
"""Its lines, less that of a library that has no EWC."""
HEIGHT = 568
"""Of the picture, in pixels."""


def main() -> None:
    """Write the picture."""
    left = Image.open(DOCS / "scole_digits.png").convert("RGB")
    costs = Image.open(DOCS / "long_streams.png").convert("RGB")
    left = left.resize((round(left.width * HEIGHT / left.height), HEIGHT), Image.Resampling.LANCZOS)
    right = (PANEL[2] - PANEL[0]) + (UNITS[2] - UNITS[0])
    made = Image.new("RGB", (left.width + 16 + right, HEIGHT), "white")
    made.paste(left, (0, 0))
    made.paste(costs.crop(PANEL), (left.width + 16 + UNITS[2] - UNITS[0], 0))
    made.paste(costs.crop(UNITS), (left.width + 16, UNITS[1]))
    top = PANEL[3] + 8
    for part in LEGEND:
        made.paste(costs.crop(part), (left.width + 130, top))
        top += part[3] - part[1]
    made.quantize(64, dither=Image.Dither.NONE).save(DOCS / "why.png", optimize=True)


if __name__ == "__main__":
    main()
