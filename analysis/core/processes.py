"""Processes of their own, for what they use to be theirs alone; they do not outlive what started them."""

import os
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process


def pool_of_processes(processes: int, **settings) -> ProcessPoolExecutor:
    """A pool whose processes begin anew (nothing of this one is theirs) and end when this one does, whatever ended it.

    Without that they would compute on, or wait for ever: they read tasks from a pipe of which they hold both ends.

    Parameters
    ----------
    settings : of `ProcessPoolExecutor`
    """
    return ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_end_with_parent, **settings)


def _end_with_parent() -> None:
    threading.Thread(target=_outlived, daemon=True).start()


def _outlived() -> None:
    parent_process().join()
    os._exit(1)
