"""Files that are written whole or not at all: what was there before stays until the new one is complete."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from bayescale.core.errors import SavedFileError


@contextmanager
def written_whole(path: str | os.PathLike[str], example: str) -> Iterator[Path]:
    """A file to write in the block, which takes the place of ``path`` at its end, or is gone where the block fails.

    Parameters
    ----------
    path : path
        Its folder must exist. A link stays one, and the file that it points to is replaced.
    example : str
        Name of such a file, for who names a folder.

    Raises
    ------
    SavedFileError
        When it cannot be written there.
    """
    given = Path(path).expanduser()
    # Not those of Path: they raise where a name is too long or no name at all.
    if os.path.isdir(given):
        raise SavedFileError(f"{given} cannot be written: it is a folder. Name a file in it, such as {given / example}.")
    target = given.resolve()
    if not os.path.isdir(target.parent):
        raise SavedFileError(f"{given} cannot be written: there is no folder {target.parent}. Make it first, or name another.")
    part = target.with_name(f".{target.name[:100]}.{uuid4().hex[:8]}.part")
    try:
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        yield part
        part.replace(target)
    except (OSError, RuntimeError) as error:  # the HDF library reports a full disk as a RuntimeError
        kept = " The file that was there before is kept." if target.exists() else ""
        advice = "Name a folder that you may write to and that has room."
        raise SavedFileError(f"{given} cannot be written: {reason(error)}. {advice}{kept}") from error
    finally:
        part.unlink(missing_ok=True)


def reason(error: BaseException) -> str:
    """What went wrong, without the number and the path that an ``OSError`` adds."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
