"""Where painted samples are made: once, in a folder of the cache, by several processes.

What is painted is in the modules beside this one. Nothing here is slow to import.
"""

from __future__ import annotations

import logging
import multiprocessing
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.progress import Progress

from vedute.cores import usable_cores
from vedute.files import cache_folder, whole
from vedute.locks import alone

logger = logging.getLogger("vedute.data.painted")

Task = TypeVar("Task")
Result = TypeVar("Result")


def painted_folder(name: str, write: Callable[[Path], None]) -> Path:
    """Return the folder of a painted sample in the cache, painting it on first use.

    Several processes may ask at once: one paints, the others wait. A killed process leaves nothing
    that could be taken for a sample.

    Args:
        name: The folder's name; it must hold everything that decides the content.
        write: Paints into the folder that it is given.

    Raises:
        VeduteError: The cache cannot be written.
    """
    folder = cache_folder() / "painted" / name
    if folder.is_dir():
        return folder
    with alone(folder):
        if not folder.is_dir():
            for left in folder.parent.glob(f".{folder.name}.*.partial"):  # by a killed process
                shutil.rmtree(left, ignore_errors=True)
            start = time.monotonic()
            with whole(folder) as temporary:
                temporary.mkdir()
                write(temporary)
            logger.info("Painted %s in %.0f s.", folder, time.monotonic() - start)
    return folder


def in_processes(
    paint: Callable[[Task], Result], tasks: Sequence[Task], title: str, workers: int | None = None
) -> Iterator[Result]:
    """Yield ``paint(task)`` for each task, in order, computed by several processes.

    Args:
        paint: A function of a module (workers import it); it should need numpy and Pillow only.
        tasks: One argument each; about a second of work or more outweighs handing it over.
        title: What the progress bar says; it is shown on a terminal.
        workers: Processes; None takes every core. The results do not depend on it.
    """
    console = Console(stderr=True)
    bar = Progress(console=console, transient=True, disable=not console.is_terminal)
    with bar, _results(paint, tasks, min(workers or usable_cores(), len(tasks))) as results:
        task = bar.add_task(title, total=len(tasks))
        for result in results:
            yield result
            bar.advance(task)


@contextmanager
def _results(
    paint: Callable[[Task], Result], tasks: Sequence[Task], workers: int
) -> Iterator[Iterator[Result]]:
    if workers <= 1 or multiprocessing.current_process().daemon:  # daemons may not have children
        yield map(paint, tasks)
        return
    # The workers use numpy and Pillow only, so that a fork is safe; spawning would run a user's script again.
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        futures = [pool.submit(paint, task) for task in tasks]
        try:
            yield (future.result() for future in futures)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
