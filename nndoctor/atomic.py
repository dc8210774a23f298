"""Files that are replaced at once: a reader sees the old one or the new one, never half of one."""

from __future__ import annotations

import os
from pathlib import Path

PERMISSIONS = 0o666  # of a new file, less what the umask takes away


def replace_bytes(file: Path, data: bytes) -> None:
    """Write the file, which keeps its mode; raises OSError where that is refused, and then leaves nothing behind."""
    import tempfile

    mode = file.stat().st_mode if file.exists() else PERMISSIONS & ~_umask()
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        Path(name).chmod(mode)
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _umask() -> int:
    """The mask of this process, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
