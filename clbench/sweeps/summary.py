"""The state of a sweep in a line of text."""

from __future__ import annotations

from clbench.sweeps.states import STATES, Tally


def summary(found: Tally) -> str:
    """``24 runs: 20 done, 2 running (node7: 2), 2 waiting, about 3 min left``."""
    parts = [f"{found.counts[s]:,} {s}" for s in STATES if found.counts[s] or s == "done"]
    if found.hosts:
        hosts = sorted(found.hosts.items(), key=lambda pair: (-pair[1], pair[0]))
        shown = ", ".join(f"{host}: {n}" for host, n in hosts[:5])
        more = f", {len(hosts) - 5} more hosts" if len(hosts) > 5 else ""
        at = next(i for i, part in enumerate(parts) if part.endswith(" running"))
        parts[at] += f" ({shown}{more})"
    if found.odd:
        shown = ", ".join(f"{n:,} {word}" for word, n in sorted(found.odd.items()))
        parts[0] += f" ({shown})"
    if found.seconds_left is not None and found.unfinished:
        parts.append(f"about {duration(found.seconds_left)} left")
    return f"{found.n:,} runs: {', '.join(parts)}"


def duration(seconds: float) -> str:
    """``40 s``, ``12 min``, ``3.5 h`` or ``2.1 days``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"
