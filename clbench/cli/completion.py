"""``clbench completion``: words for the shell, found without importing torch."""

from __future__ import annotations

import argparse
import re
from typing import Any

from clbench.errors import ClbenchError
from clbench.plugins import source
from clbench.plugins.registry import FOLDERS, FOLDERS_WORD, find, plugins

SCRIPTS = {
    "bash": """_clbench() {
    local words
    words=$(clbench __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
    COMPREPLY=($(compgen -W "$words" -- "${COMP_WORDS[COMP_CWORD]##*=}"))
    [[ ${COMPREPLY[0]-} == *= || ${COMPREPLY[0]-} == *. ]] && compopt -o nospace
}
complete -o default -F _clbench clbench
""",
    "zsh": """#compdef clbench
_clbench() {
    local -a found
    found=(${(f)"$(clbench __complete --whole "${(@)words[2,CURRENT]}" 2>/dev/null)"})
    compadd -S '' -- $found
}
compdef _clbench clbench
""",
    "fish": """function __clbench_complete
    set -l words (commandline -opc) (commandline -ct)
    clbench __complete --whole $words[2..-1] 2>/dev/null
end
complete -c clbench -f -a '(__clbench_complete)'
""",
}
OPTIONS = {
    "run": (
        "--config",
        "--out",
        "--cfg",
        "--dry-run",
        "--resume",
        "--overwrite",
        "--jobs",
        "--json",
        "--quiet",
    ),
    "list": ("--json",),
    "show": ("--json",),
    "check": ("--json",),
    "results": ("--format", "--groups", "--factors", "--plot"),
    "compare": ("--board", "--boards", "--metric", "--json"),
    "export": ("--weights", "--overwrite"),
    "fisher": (),
    "leaderboard": ("--boards", "--check"),
    "study": ("--out", "--page", "--dry-run", "--resume", "--jobs", "--quiet"),
    "cache": ("--json", "--dry-run"),
    "data": ("--preset", "--seed", "--out", "--sheet", "--film", "--overwrite", "--quiet"),
    "fonts": ("--path", "--json"),
    "board": ("--boards", "--out", "--jobs", "--json"),
    "tune": ("--out", "--jobs", "--resume"),
    "verify": ("--seeds", "--prefix", "--jobs", "--isolate", "--held-out", "--json"),
    "submit": ("--entry", "--boards"),
    "validate": ("--boards", "--against", "--json"),
    "completion": (),
}
FISHER = {
    "compute": (
        "--estimator",
        "--samples",
        "--batch-size",
        "--exclude",
        "--weights",
        "--of",
        "--out",
        "--overwrite",
        "--quiet",
    ),
    "show": ("--json",),
    "compare": ("--json",),
    "convert": ("--weights", "--clip", "--floor", "--unit-trace", "--out", "--overwrite"),
}
"""Options of ``clbench fisher <action>``."""


def add(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "completion",
        help="print a completion script for your shell",
        description="Print a completion script.",
        epilog="bash: source <(clbench completion bash)    zsh: source <(clbench completion zsh)    "
        "fish: clbench completion fish | source",
    )
    parser.add_argument("shell", choices=sorted(SCRIPTS))
    parser.set_defaults(call=main)


def main(arguments: argparse.Namespace) -> int:
    """Print the script."""
    print(SCRIPTS[arguments.shell], end="")
    return 0


def answer(words: list[str]) -> int:
    """Print what may stand for the last word, one a line.

    bash completes what follows the last ``=``; with ``--whole`` first, whole words are printed.
    """
    whole = words[:1] == ["--whole"]
    words = words[1:] if whole else words
    try:
        found = candidates(words or [""])
    except ClbenchError:  # such as a strategy that is not there; a shell wants no explanation
        return 0
    for candidate in found:
        print(candidate if whole else re.sub(r"^.*=(?=.)", "", candidate))
    return 0


def candidates(words: list[str]) -> list[str]:
    """Whole words that the last one may become."""
    # bash parts words at "=": put them together again.
    joined = re.sub(r" ?= ?", "=", " ".join(words)).split(" ")
    command, last = joined[0], joined[-1]
    if len(joined) == 1:
        return [c for c in OPTIONS if c.startswith(last)]
    if command == "fisher":
        if len(joined) == 2:
            return [c for c in FISHER if c.startswith(last)]
        return [o for o in FISHER.get(joined[1], ()) if o.startswith(last)]
    if last.startswith("-"):
        return [o for o in OPTIONS.get(command, ()) if o.startswith(last)]
    if command == "list":
        return [w for w in (*FOLDERS_WORD.values(), "metrics") if w.startswith(last)]
    if command == "cache":
        return [w for w in ("list", "verify", "clear") if w.startswith(last) and len(joined) == 2]
    if command == "study" and len(joined) == 2:
        return [w for w in ("latent",) if w.startswith(last)]
    if command not in ("run", "study", "show", "check"):
        return []
    return [c for c in _settings(joined[1:-1], last, command) if c.startswith(last)]


def _settings(chosen: list[str], last: str, command: str) -> list[str]:
    key, equals, value = last.partition("=")
    if equals and key in FOLDERS:
        done = value.rpartition(",")[0]
        return [f"{key}={done + ',' if done else ''}{name}" for name in plugins(key)]
    groups = [f"{group}=" for group in FOLDERS]
    if command not in ("run", "study") or equals:
        return groups
    common = source.class_settings(source.PACKAGE / "config.py", "Common")
    found = [*groups, *(f"{s.name}=" for s in common)]
    picked = {"data": "digits", **dict(w.split("=", 1) for w in chosen if "=" in w)}
    for group in FOLDERS:
        for name in picked.get(group, "").split(","):
            if name:
                settings = source.settings(find(group, name).path)
                found += [f"{group}.{s.name}=" for s in settings]
    return list(dict.fromkeys(found))
