"""Files that are either whole or not there."""

import os
import secrets
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file that no reader ever sees half written, whoever else writes it at the same time.

    Args:
        path: the file, replaced if it exists; its folder exists.
        content: the whole file.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
