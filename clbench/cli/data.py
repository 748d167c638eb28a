"""``clbench data``: write images of a data set that is drawn; list the fonts that draw it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from clbench.cli import fonts

EXAMPLES = """examples:
  clbench data synbols --preset default -n 10000 --seed 0 --out default.npz
  clbench data synbols --preset camouflage -n 1000 --out camouflage.npz data.resolution=64
  clbench data synbols --sheet presets.png            (a row of images of every preset)
  clbench data synbols --film drift.png scenario.kind=domains   (a row of images of every task)

The file has x (n, H, W, C), mask (n, H, W, symbols) and y, JSON of all attributes of each image."""


def add(commands: Any) -> None:
    """Add the subcommand and what it does."""
    parser = commands.add_parser(
        "data",
        help="write images of synbols; list fonts",
        description="Draw symbols into a file, or list the fonts that they are drawn with.",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_synbols(actions)
    fonts.add(actions)


def _add_synbols(actions: Any) -> None:
    parser = actions.add_parser(
        "synbols",
        help="write images of symbols",
        description="Draw images with all their attributes into a file, and a contact sheet beside "
        "it.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="settings: clbench show data=synbols"
    )
    parser.add_argument("--preset", metavar="NAME", help="the predefined generator (default)")
    parser.add_argument("-n", type=int, default=10_000, metavar="N", help="images (10000)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the images (0)")
    parser.add_argument("--out", type=Path, metavar="FILE", help=".npz, or .h5 with h5py")
    parser.add_argument("--sheet", type=Path, metavar="PNG", help="contact sheet (beside --out)")
    parser.add_argument("--film", type=Path, metavar="PNG", help="what the tasks of a stream show")
    parser.add_argument("--overwrite", action="store_true", help="write over what is there")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress on stderr")
    parser.set_defaults(call=main)


def main(arguments: argparse.Namespace) -> int:
    """Draw, write, and say what was written."""
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
        raise UsageError("nothing to write: give --out FILE.npz, --sheet or --film FILE.png")
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
    print(f"{picture}: the first of them")
    return 0


def _stream(arguments: argparse.Namespace) -> Any:
    """The stream of a scenario (synbols, if none is named) on the run's default device."""
    from clbench.configure.config import resolve
    from clbench.engine.build import choose_device, load_pool
    from clbench.errors import UsageError

    words = list(arguments.overrides)
    # With its own data, scenario=synbols has the settings of data that it recommends.
    groups = {word.partition("=")[0] for word in words}
    if "scenario" not in groups:
        words.append("scenario=synbols")
    elif "data" not in groups:
        words.append("data=synbols")
    if arguments.preset:
        words.append(f"data.preset={arguments.preset}")
    words += ["strategy=naive", f"data.seed={arguments.seed}"]
    found = resolve(words)
    if len(found) > 1:
        raise UsageError("one stream at a time: no commas or ranges")
    pool = load_pool(found[0], choose_device(found[0].common.device))
    if len(pool.input_shape) < 2:
        raise UsageError("--film shows images, not latents: drop encoder=")
    return found[0].scenario.stream(pool, found[0].common.seed)


def _settings(preset: str, seed: int, overrides: list[str]) -> Any:
    """The generator of these settings, on the run's default device."""
    from clbench.configure.config import resolve
    from clbench.engine.build import choose_device
    from clbench.errors import UsageError

    for word in overrides:
        if not word.startswith("data.") and not word.startswith("device="):
            raise UsageError(f"{word}: only data.* and device= are settings of images")
    stand_in = ("scenario=class_incremental", "strategy=naive", "data=synbols")
    words = (*stand_in, f"data.preset={preset}", f"data.seed={seed}", *overrides)
    found = resolve(words)
    if len(found) > 1:
        raise UsageError("one set of images at a time: no commas or ranges")
    return found[0].data.generator(choose_device(found[0].common.device))
