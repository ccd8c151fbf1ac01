"""Progress of long steps: a line on stderr every few seconds, with the share done and the time left.

Executed notebooks keep no stderr. The progress of a task on a worker is reported by the process that started the task.
"""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

INTERVAL_S = 8.0  # between two lines
LEAST_SHARE = 0.01  # done before a time is printed: the start compiles, and is slower than the rest
Step = TypeVar("Step")

_listener: ContextVar[Callable[[float], None] | None] = ContextVar("listener", default=None)


def progress(
    what: str, total: float, *, done: float = 0.0, clock: Callable[[], float] = time.monotonic
) -> Callable[..., None]:
    """A function to call with the amount of work just done (1 if left out); it prints a line now and then.

    Parameters
    ----------
    what : name of the work, at the head of each line
    total : amount of the whole work
    done : amount done by an earlier, interrupted run; it does not count for the speed
    """
    listener, begun = _listener.get(), clock()
    first, told = done, begun

    def advance(by: float = 1.0) -> None:
        nonlocal done, told
        done += by
        if listener is not None:
            listener(done / total)
        elif (now := clock()) - told >= INTERVAL_S and first + LEAST_SHARE * total <= done < total:
            told = now
            left = (now - begun) * (total - done) / (done - first)
            print(f"  {what}: {100 * done / total:.0f} % done, about {spoken(left)} left", file=sys.stderr, flush=True)

    return advance


def followed(steps: Sequence[Step], what: str) -> Iterator[Step]:
    """The steps of a loop, with lines of progress."""
    advance = progress(what, len(steps))
    for step in steps:
        yield step
        advance()


@contextmanager
def within(advance: Callable[[float], None], size: float = 1.0) -> Iterator[None]:
    """Count the block as one step of `size`; progress inside the block counts as a part of it and prints no lines."""
    seen = 0.0

    def heard(share: float) -> None:
        nonlocal seen
        if share > seen:
            by, seen = size * (share - seen), share
            advance(by)

    token = _listener.set(heard)
    try:
        yield
    finally:
        _listener.reset(token)
    heard(1.0)


def spoken(seconds: float) -> str:
    """A time in a suitable unit: `45 s`, `12 min`, `2.5 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
