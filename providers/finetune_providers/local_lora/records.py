"""Reading the files of a job, in whose place something else may lie by now."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from finetune_providers.errors import TransientProviderError
from finetune_providers.plain_files import read_plain_file

T = TypeVar("T")

_LASTING = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EINVAL, errno.EFBIG}
"""What will be no better the next time that a file is read."""


class DamagedJob(Exception):
    """A job's file is not what was written; the message names it."""


def parsed(path: Path, parse: Callable[[Mapping[str, Any]], T]) -> T:
    """What a JSON file of a job says.

    Args:
        path: The file.
        parse: Makes it of the JSON, and may stumble over what does not fit.

    Raises:
        DamagedJob: The file is not what was written.
        TransientProviderError: The disk does not give it now.
    """
    try:
        return parse(json.loads(read_plain_file(path)))
    except OSError as error:
        if error.errno not in _LASTING:
            raise TransientProviderError(f"{path} cannot be read now: {error.strerror}") from error
        why = error.strerror
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        why = f"it is not what was written ({type(error).__name__})"
    raise DamagedJob(
        f"{path} cannot be used: {why}. The job counts as failed; bring the file back from a copy before the next "
        "start to have it go on"
    )
