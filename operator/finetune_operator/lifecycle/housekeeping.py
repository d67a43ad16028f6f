"""The work folder stays bounded: datasets and answers that nobody has used for long are removed.

Both can be had again: a dataset is read anew when its sweep is checked, and a model that is asked again answers again.
What providers keep in the folder, such as jobs on this machine or what they deleted at a company, is not touched.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from finetune_operator.lifecycle.context import Context

log = logging.getLogger(__name__)

UNUSED_FOR = timedelta(days=30)
EVERY_S = 24 * 3600.0
DATASETS, ANSWERS = "datasets", "answers"


async def clean_often(context: Context) -> None:
    """Clean up now and once a day, until cancelled."""
    while True:
        await asyncio.to_thread(
            clean, context.work_dir, in_use=context.admissions.dataset_paths(), now=context.now()
        )
        await asyncio.sleep(EVERY_S)


def clean(work_dir: Path, *, in_use: Iterable[Path], now: datetime) -> None:
    """Remove what nobody has used for long, after noting the use of what is in use. Blocking.

    A file's time of change is when it was used last: datasets are written anew whenever a sweep is checked, logs of
    answers are touched when they are opened and grow, and the datasets of the sweeps in memory are marked here.

    Args:
        work_dir: The folder of datasets and answers.
        in_use: Datasets that sweeps in memory refer to.
        now: The time, timezone-aware.
    """
    for path in in_use:
        with suppress(OSError):  # one that is not there is brought again when its sweep is checked
            os.utime(path, (now.timestamp(), now.timestamp()))
    for folder in (work_dir / DATASETS, work_dir / ANSWERS):
        removed = sum(_remove_unused(path, before=now - UNUSED_FOR) for path in _files(folder))
        if removed:
            days = UNUSED_FOR.days
            log.info("removed %d files from %s that were not used for %d days", removed, folder, days)


def _files(folder: Path) -> tuple[Path, ...]:
    try:
        return tuple(path for path in folder.iterdir() if path.is_file() and not path.is_symlink())
    except FileNotFoundError:
        return ()
    except OSError as error:
        log.warning("%s cannot be cleaned up: %s", folder, error.strerror)
        return ()


def _remove_unused(path: Path, *, before: datetime) -> bool:
    try:
        if path.stat().st_mtime >= before.timestamp():
            return False
        path.unlink()
    except OSError as error:
        log.warning("%s cannot be cleaned up: %s", path, error.strerror)
        return False
    return True
