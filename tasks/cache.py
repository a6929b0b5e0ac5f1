"""Data files from a cache that is held against checksums: no damaged file is ever trained on."""

import logging
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import platformdirs
import pooch

from .files import write_atomically
from .task import TaskError

logger = logging.getLogger(__name__)

PATIENCE = 5.0  # seconds a server may stay silent before the next is asked


def cache_folder() -> Path:
    """Return the folder downloaded data is kept in: `RNN_PARITY_DATA`, or the user's cache folder."""
    return Path(os.environ.get("RNN_PARITY_DATA") or platformdirs.user_cache_path("rnn-parity"))


@dataclass(frozen=True)
class DataFile:
    """A public file whose content is known by its checksum.

    Args:
        name: of the file.
        algorithm: of the checksum: "md5" or "sha1".
        checksum: of the file's bytes, in hexadecimal.
        folder: in the cache.
        mirror: the environment variable that may name a folder that holds the file.
    """

    name: str
    algorithm: str
    checksum: str
    folder: Path
    mirror: str

    def take(self, folder: Path) -> bool:
        """Copy the file into a folder, out of the cache or else from the mirror, if one of them has it.

        A file from the mirror is put into the cache; a damaged one in the cache is passed over.

        Args:
            folder: exists; the copy there is whole.

        Returns:
            Whether the file is there now.

        Raises:
            TaskError: the mirror's file is missing or damaged.
        """
        if self._take_from_cache(folder):
            return True
        if not (mirror := os.environ.get(self.mirror)):
            return False
        self._copy_verified(Path(mirror, self.name), folder)
        self.keep(folder / self.name)
        return True

    def is_whole(self, file: Path) -> bool:
        """Return whether a file is there and has this one's content."""
        return file.is_file() and self._checksum(file) == self.checksum

    def keep(self, file: Path) -> None:
        """Put a verified file into the cache."""
        folder = cache_folder() / self.folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(folder / self.name, file.read_bytes())
        except OSError as error:
            logger.warning("cannot keep %s in %s: %s", self.name, folder, error.strerror)

    def _take_from_cache(self, folder: Path) -> bool:
        cached = cache_folder() / self.folder / self.name
        if not cached.is_file():
            return False
        try:
            self._copy_verified(cached, folder)
        except TaskError as error:
            logger.warning("%s; fetching it again", error)
            return False
        return True

    def _copy_verified(self, source: Path, folder: Path) -> None:
        """Copy a file; the copy's checksum counts, as the file itself may change meanwhile."""
        try:
            copy = shutil.copyfile(source, folder / source.name)
        except OSError as error:
            raise TaskError(f"cannot read {source}: {error.strerror}") from error
        if (found := self._checksum(copy)) != self.checksum:
            copy.unlink()
            raise TaskError(f"{source} is damaged: expected {self.algorithm.upper()} {self.checksum}, came {found}")

    def _checksum(self, file: Path) -> str:
        checksum: str = pooch.file_hash(str(file), alg=self.algorithm)
        return checksum
