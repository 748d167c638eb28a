"""The ``synbols`` package's own drawing code, timed: run by ``benchmarks/synbols.py --peer``.

Needs ``synbols==1.0.2`` (without its dependencies), ``pycairo`` and Pillow. Outside of its Docker
image the package has no alphabets and no fonts; here it gets the families in a folder that
fontconfig is told of. For each line ``preset n`` on stdin, ``n`` images are sampled and drawn; the
process times of sampling and of drawing them (``Image.make_image``) are written to stdout.
"""

from __future__ import annotations

import sys
import time
import types

import numpy as np

CHARACTERS = "abcdefghijklmnopqrstuvwxyz"


def main() -> None:
    """Answer until stdin ends."""
    # Names that the package still uses. In this process alone: with them NumPy's own tests err.
    vars(np).update(int=int, bool=bool)
    import synbols.generate as package
    from synbols.drawing import Camouflage

    alphabet = types.SimpleNamespace(name="english", symbols=list(CHARACTERS), fonts=sys.argv[1:])

    def strokes(angle: float):
        def pattern(rng: np.random.RandomState) -> Camouflage:
            seed = package.rand_seed(rng)
            return Camouflage(
                stroke_angle=angle, stroke_width=0.1, stroke_length=0.6, stroke_noise=0, seed=seed
            )

        return pattern

    samplers = {
        "default": package.basic_attribute_sampler(alphabet=alphabet),
        "camouflage": package.basic_attribute_sampler(
            alphabet=alphabet,
            foreground=strokes(0),
            background=strokes(np.pi / 2),
            is_bold=True,
            is_slant=False,
            scale=lambda rng: 0.7 * np.exp(rng.randn() * 0.1),
        ),
    }
    number = 0
    for line in sys.stdin:
        preset, n = line.split()
        start = time.process_time()
        images = [samplers[preset](seed) for seed in range(number, number + int(n))]
        sampled = time.process_time()
        for image in images:
            image.make_image()
        print(sampled - start, time.process_time() - sampled, flush=True)
        number += int(n)


if __name__ == "__main__":
    main()
