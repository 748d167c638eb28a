"""``clbench data``: writes images of symbols, lists their fonts, fetches released weights."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from clbench.cli import fonts, weights

EPILOG = """examples:
  clbench data synbols --preset camouflage -n 1000 --out camouflage.npz
  clbench data fonts
  clbench data weights vit_s14
  clbench data synbols --help             (all options of an action)"""
EXAMPLES = """examples:
  clbench data synbols --preset default -n 10000 --seed 0 --out default.npz
  clbench data synbols --preset camouflage -n 1000 --out camouflage.npz
  clbench data synbols --sheet presets.png     (a row of images of every preset)
  clbench data synbols --film drift.png scenario.kind=domains

The file holds x (n, H, W, C), mask (n, H, W, symbols) and y, a JSON text with
all attributes of each image. --film draws a row of images of every task."""


def add(commands: Any) -> None:
    """Add the subcommand and the actions below it."""
    parser = commands.add_parser(
        "data",
        help="write images of symbols, list fonts, or fetch weights",
        description="Draw symbols and write them to a file, list the fonts they are drawn with, or "
        "fetch released weights.",
        epilog=EPILOG,
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_synbols(actions)
    fonts.add(actions)
    weights.add(actions)


def _add_synbols(actions: Any) -> None:
    parser = actions.add_parser(
        "synbols",
        help="write images of symbols",
        description="Draw images and write them, with all their attributes, to a file; write a "
        "contact sheet beside it.",
        epilog=EXAMPLES,
    )
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="key=value",
        help="settings of the data; see clbench show data=synbols",
    )
    parser.add_argument(
        "--preset", metavar="NAME", help="name of a predefined generator (default: default)"
    )
    parser.add_argument(
        "-n", type=int, default=10_000, metavar="N", help="number of images (default: 10000)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="seed of the images (default: 0)"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="file to write: .npz, or .h5 if h5py is installed"
    )
    parser.add_argument(
        "--sheet",
        type=Path,
        metavar="PNG",
        help="file of the contact sheet (default: beside --out)",
    )
    parser.add_argument(
        "--film", type=Path, metavar="PNG", help="draw the first images of each task of a stream"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")
    parser.add_argument("-q", "--quiet", action="store_true", help="print no progress")
    parser.set_defaults(call=main)


def main(arguments: argparse.Namespace) -> int:
    """Draw the images, write them and print the names of the files."""
    from clbench.data.synbols import files, sheet
    from clbench.errors import UsageError
    from clbench.trackers import progress as tracking
    from clbench.util.atomic import write_atomically
    from clbench.util.tensor_files import writable

    if arguments.film is not None:
        writable(arguments.film, arguments.overwrite)
        frames = sheet.film(_stream(arguments))
        write_atomically(arguments.film, sheet.png(frames, colours=256))
        print(f"{arguments.film}: {len(frames)} tasks")
        return 0
    if arguments.out is None and arguments.sheet is None:
        raise UsageError(
            "nothing to write: give --out FILE.npz, --sheet FILE.png or --film FILE.png"
        )
    if arguments.n < 1:
        raise UsageError(f"-n {arguments.n} must be at least 1")
    picture = arguments.sheet or arguments.out.with_suffix(".png")
    for path in filter(None, (arguments.out, picture)):
        writable(path, arguments.overwrite)
    if arguments.out is None:
        rows = sheet.of_presets(_settings, arguments.preset, arguments.seed, arguments.overrides)
        write_atomically(picture, sheet.png(rows, colours=256))
        print(f"{picture}: {len(rows)} rows")
        return 0
    files.check_suffix(arguments.out)
    generator = _settings(arguments.preset or "default", arguments.seed, arguments.overrides)
    if arguments.quiet:
        arrays = files.make(generator, arguments.n)
    else:
        with tracking.counted(arguments.out.name, arguments.n) as report:
            arrays = files.make(generator, arguments.n, report)
    files.write(arguments.out, arrays)
    write_atomically(picture, sheet.png(sheet.grid(arrays["x"])))
    print(f"{arguments.out}: {arguments.n:,} images, recipe {generator.sha256[:16]}")
    print(f"{picture}: contact sheet of the first images")
    return 0


def _stream(arguments: argparse.Namespace) -> Any:
    """Build the stream of a scenario (default: synbols) on the run's default device."""
    from clbench.configure.config import resolve, stand_in_words
    from clbench.engine.build import choose_device, load_pool
    from clbench.errors import UsageError

    words = list(arguments.overrides)
    # If no data are named, scenario=synbols sets the data that it recommends.
    groups = {word.partition("=")[0] for word in words}
    if "scenario" not in groups:
        words.append("scenario=synbols")
    elif "data" not in groups:
        words.append("data=synbols")
    if arguments.preset:
        words.append(f"data.preset={arguments.preset}")
    words += [stand_in_words()[1], f"data.seed={arguments.seed}"]
    found = resolve(words)
    if len(found) > 1:
        raise UsageError("--film draws one stream: give no commas or ranges")
    pool = load_pool(found[0], choose_device(found[0].common.device))
    if len(pool.input_shape) < 2:
        raise UsageError("--film shows images, not latents: drop encoder=")
    return found[0].scenario.stream(pool, found[0].common.seed)


def _settings(preset: str, seed: int, overrides: list[str]) -> Any:
    """Build the generator of these settings on the run's default device."""
    from clbench.configure.config import resolve, stand_in_words
    from clbench.engine.build import choose_device
    from clbench.errors import UsageError

    for word in overrides:
        if not word.startswith("data.") and not word.startswith("device="):
            raise UsageError(f"{word}: not a setting of images; only data.* and device= are")
    words = (
        *stand_in_words(),
        "data=synbols",
        f"data.preset={preset}",
        f"data.seed={seed}",
        *overrides,
    )
    found = resolve(words)
    if len(found) > 1:
        raise UsageError("one set of images at a time: give no commas or ranges")
    return found[0].data.generator(choose_device(found[0].common.device))
