"""The latent-replay study: launch its runs, join them, write a page and a figure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.study.latents import Latents, describe
from benchmarks.study.metrics import Measures, measure
from benchmarks.study.plan import Key, Member, Plan, plan
from benchmarks.study.result import Result
from clbench.configure.config import resolve_point
from clbench.configure.sweep import without_folder
from clbench.engine.build import prepare
from clbench.engine.execute import Done, Options, sink_of
from clbench.errors import ClbenchError, UsageError
from clbench.metric import Counts
from clbench.results.record import Record
from clbench.sweeps.local import run_all
from clbench.util.atomic import write_atomically


def study(
    words: Sequence[str], options: Options, page: Path, tell: Callable[[Done], None]
) -> Result | None:
    """Run the missing runs and write the page and its figure.

    Args:
        words: ``key=value`` settings, which extend or replace the study's own.
        options: the options of a sweep.
        page: the Markdown file; the figure has its name and the ending ``.png``.
        tell: called with a line for every run that ends.

    Returns:
        The results; None if the user interrupted a run, in which case nothing is written.

    Raises:
        UsageError: the words are wrong; nothing was run.
        ClbenchError: the page cannot be written; the runs are kept.
    """
    from benchmarks.study.figure import figure
    from benchmarks.study.report import report

    if page.suffix != ".md":
        raise UsageError(f"--page {page}: must end in .md")
    planned = plan(words)
    records: dict[int, Record | None] = {}
    for done in run_all(planned.points, options):
        tell(done)
        records[done.number] = done.record
        if done.record is not None and done.record.status == "interrupted":
            return None
    result = join(planned, records, options)
    picture = page.with_suffix(".png")
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(picture, figure(result))
        write_atomically(page, report(result, picture.name).encode())
    except OSError as error:
        raise ClbenchError(f"{page}: {error.strerror}") from error
    return result


def join(planned: Plan, records: dict[int, Record | None], options: Options) -> Result:
    """Join runs and their siblings."""
    counts = {
        number: record.to_counts()
        for number, record in records.items()
        if record is not None and record.status == "completed"
    }

    def of(number: int | None) -> Counts | None:
        return None if number is None else counts.get(number)

    found: dict[Key, dict[Key, dict[str, Measures]]] = {}
    latents: dict[Key, Latents] = {}
    for member in planned.members:
        run = of(member.run)
        if run is None:
            continue
        measures = measure(run, of(member.reinit), of(member.iid), of(member.alone))
        heads = found.setdefault(member.setting, {})
        heads.setdefault(member.head, {})[member.seed] = measures
        if member.setting not in latents:
            latents[member.setting] = _latents(planned, member, options)
    failed = tuple(
        _failure(planned, number, record)
        for number, record in sorted(records.items(), key=lambda pair: pair[0])
        if number not in counts
    )
    return Result(planned.words, found, latents, failed, len(planned.points))


def _latents(planned: Plan, member: Member, options: Options) -> Latents:
    """Measure the latents that the first run of each setting learned from; seeds do not change them."""
    run = prepare(resolve_point(planned.points[member.run]), sink=sink_of(options))
    return describe(run.stream)


def _failure(planned: Plan, number: int, record: Record | None) -> str:
    point = planned.points[number]
    words = [without_folder(f"{k}={v}") for k, v in point.items() if k != "overrides"]
    return f"{' '.join(words)}: {'could not run' if record is None else record.status}"
