"""The study's page: the runs, their results, and the paper's claims."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from benchmarks.study.plan import DEFAULTS, MLP, REPLAY, Key
from benchmarks.study.result import RANDOM, Result, names_of, parts_of, replay_of
from clbench.engine.resolved import resolved
from clbench.results.tables import Interval

COLUMNS = (
    ("a_cl", "A_CL"),
    ("a_task_cl", "A_task-cl"),
    ("forgetting", "F"),
    ("relative_forgetting", "rel. F"),
    ("a_cl_reinit", "A_CL-reinit"),
    ("transfer", "transfer"),
    ("a_iid", "A_iid"),
    ("a_task_iid", "A_task-iid"),
    ("interference_total", "interf. total"),
    ("interference", "interf."),
)
INTRODUCTION = """\
# Latent replay: results

The study of Ostapenko et al. 2022 ("Continual Learning with Foundation Models: An Empirical Study
of Latent Replay", arXiv 2205.00329) at small scale: `scenario=latent_replay`, class-incremental,
one head, no task identity; seed s uses the study's task order s. Each encoder is frozen and encodes
the data once; the heads learn from its latents. `identity` means raw pixels, without an encoder.
`random:x` is the encoder `x` with untrained weights. This command writes the page:

<!-- command: {command} -->

```sh
{command}
```

{n_runs} runs, including those that the metrics need for comparison. {mlp}

## The metrics

A(i, j) is the accuracy on task j after task i of T; means over tasks are not weighted. Values are in
percent, mean ± 95 % Student-t half-width over seeds.

- A_CL = 1/T Σ A(T, t); A_task-cl = 1/T Σ A(t, t)
- F (forgetting) = A_task-cl − A_CL, positive if the head forgets;
  rel. F = 1/T Σ (A(t, t) − A(T, t)) / A(t, t)
- A_CL-reinit: the same with the head re-initialised before each task (its memory stays);
  transfer = A_CL − A_CL-reinit
- A_iid: all classes in one task; A_task-iid: each task learned by a fresh head without replay (our
  reading of the name)
- interference total = A_task-iid − A_iid; interference = A_task-iid − A_task-cl
"""


def report(result: Result, picture: str) -> str:
    """The page in Markdown.

    Args:
        result: of all runs.
        picture: file name of the figure, beside the page.
    """
    command = _command(result)
    origin = _origin(result)
    parts = [
        INTRODUCTION.format(command=command, n_runs=result.n_runs, mlp=_mlp(result)),
        "## The paper's claims, and the results here\n",
        origin,
        _meeting(result),
        _pretraining(result),
        _replay_size(result),
        f"![Accuracy against replay size]({picture})\n",
        "## The latents\n",
        origin,
        _latents(result),
        "## All numbers\n",
        origin,
        *(_numbers(result, setting, name) for setting, name in names_of(result.found).items()),
    ]
    if result.failed:
        parts += ["## Runs without numbers\n", "".join(f"- {line}\n" for line in result.failed)]
    return "\n".join(parts)


def _mlp(result: Result) -> str:
    """Describe how the MLP was trained, and how the study trains it."""
    for setting, heads in result.found.items():
        for head in heads:
            if replay_of(head) is not None:
                words = [word for word in setting if word[0].startswith("model")]
                words += [word for word in head if word[0] not in ("strategy", REPLAY)]
                said = " ".join(f"{name}={value}" for name, value in words)
                return (
                    f"The MLP: `{said}`; the study uses one hidden layer of 1,024, Adam, "
                    "batches of 64, 100 epochs, and a learning rate and decay chosen on the first task."
                )
    return ""


def _meeting(result: Result) -> str:
    """The replay sizes at which the MLP equals NMC and SLDA."""
    rows = []
    for setting, name in names_of(result.found).items():
        levels = [result.level(setting, head) for head in ("nmc", "slda")]
        sizes = [result.crossing(setting, head) for head in ("nmc", "slda")]
        cells = [_percent(levels[0]), _or_dash(sizes[0]), _percent(levels[1]), _or_dash(sizes[1])]
        rows.append([name, *cells])
    head = ["latents", "NMC", "as good as replay of", "SLDA", "as good as replay of"]
    return (
        "**NMC and SLDA are as good as an MLP that replays about 20 samples per class** (on data "
        "like those of the pretraining; on other data SLDA about 10, NMC 4 to 5). Here the MLP's "
        f"curve, interpolated linearly in log(size), reaches their accuracy at:\n\n{_table(head, rows)}"
    )


def _pretraining(result: Result) -> str:
    """The gain of the pretrained encoder over the random one."""
    gains = result.pretraining()
    if not gains:
        return (
            "**Pretrained beats random.** Not measured: this needs an encoder and its untrained twin, "
            f"`encoder=NAME,{RANDOM}NAME`.\n"
        )
    settings, heads = names_of(g[0] for g in gains), names_of(g[1] for g in gains)
    rows = [[settings[s], heads[h], _interval(gain, sign=True)] for s, h, gain in gains]
    better = sum((gain.mean or 0) > 0 for *_, gain in gains)
    clearly = sum(_is_above_zero(gain) for *_, gain in gains)
    return (
        f"**Pretrained beats random.** A_CL was higher in {better} of {len(gains)} comparisons, "
        f"paired by seed; in {clearly} of them the interval excludes zero:\n\n"
        f"{_table(['latents', 'head', 'pretrained − random'], rows)}"
    )


def _is_above_zero(gain: Interval) -> bool:
    return gain.mean is not None and gain.half_width is not None and gain.mean > gain.half_width


def _replay_size(result: Result) -> str:
    """The effect of replay size against the quality of the latents."""
    names = names_of(result.found)
    by_data: dict[Key, list[tuple[float, float, str]]] = {}
    for setting, name in names.items():
        iid, gain = result.iid(setting), result.replay_gain(setting)
        if iid is not None and gain is not None:
            by_data.setdefault(parts_of(setting)[0], []).append((iid, gain, name))
    if not by_data:
        return "**Replay size matters less on better latents.** Not measured.\n"
    rows, holds, pairs = [], 0, 0
    for found in by_data.values():
        found.sort(reverse=True)
        rows += [[name, _percent(iid), _percent(gain)] for iid, gain, name in found]
        for better, worse in pairwise(found):
            pairs, holds = pairs + 1, holds + (better[1] < worse[1])
    head = ["latents, best first", "A_iid of the MLP", "gain of A_CL, smallest to largest replay"]
    said = (
        f"This holds for {holds} of {pairs} pairs of neighbouring rows, ordered by A_iid:"
        if pairs
        else "One encoder allows no comparison:"
    )
    return f"**Replay size matters less on better latents.** {said}\n\n{_table(head, rows)}"


def _command(result: Result) -> str:
    return " ".join(["python -m benchmarks.study latent", *result.words])


def _origin(result: Result) -> str:
    """What made a section's tables, and the network on the latents, as the docs' tests ask for."""
    model = [word for word in result.words if word.startswith("model")]
    words = ["scenario=latent_replay", *model]
    words += [f"{group}={DEFAULTS[group].split(',')[0]}" for group in ("data", "encoder")]
    words.append(f"strategy={MLP}")
    lines = [f"<!-- command: {_command(result)} -->", f"<!-- resolved: {' '.join(words)} -->"]
    return "\n".join([*lines, *resolved(words), ""])


def _latents(result: Result) -> str:
    rows = []
    for setting, name in names_of(result.latents).items():
        found = result.latents[setting]
        overlap, likeness = found.subspace_overlap, found.class_similarity
        shares = ["–" if v is None else f"{v:.3f}" for v in (overlap, likeness)]
        rows.append([name, str(found.dimension), f"{found.rankme:.1f}", *shares])
    head = ["latents", "dimension", "RankMe", "subspace overlap", "class similarity"]
    return (
        "Measured on training samples: RankMe (at most 25,600), overlap of the 20 "
        "leading directions of two tasks (mean over pairs; 1: the same subspace), cosine of the "
        "means of two classes (mean over pairs). In the study, more overlap means lower accuracy.\n"
        f"\n{_table(head, rows)}"
    )


def _numbers(result: Result, setting: Key, name: str) -> str:
    rows = []
    for head, title in names_of(result.found[setting]).items():
        means = [result.mean(setting, head, column) for column, _ in COLUMNS]
        rows.append([title, str(len(result.found[setting][head])), *map(_interval, means)])
    titles = ["head", "n", *(title for _, title in COLUMNS)]
    return f"### {name}\n\n{_table(titles, rows, left=1)}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    lines = [head, ["---"] * left + ["---:"] * (len(head) - left), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def _interval(value: Interval, sign: bool = False) -> str:
    if value.mean is None:
        return "–"
    text = f"{100 * value.mean:+.1f}" if sign else f"{100 * value.mean:.1f}"
    return text if value.half_width is None else f"{text} ± {100 * value.half_width:.1f}"


def _or_dash(value: object) -> str:
    return "–" if value is None else str(value)
