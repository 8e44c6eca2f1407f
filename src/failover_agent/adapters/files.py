"""Files that are either old or new, never half, also after a power loss."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import tempfile
from collections.abc import Mapping
from pathlib import Path

from failover_agent.errors import AgentError

ADOPT = "adopt"


class FileNotWritten(AgentError):
    """A file of ours could not be made durable."""


def sync_directory(directory: Path) -> None:
    """Make names in `directory` durable."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_durably(path: Path, text: str, *, mode: int = 0o600, owner: str | None = None) -> None:
    """Replace `path` by `text`: temporary file, fsync, rename, fsync of the directory.

    Raises OSError. The mode is there before the text is.
    """
    fd, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(fd, "w") as file:
            os.fchmod(file.fileno(), mode)
            if owner is not None:
                entry = pwd.getpwnam(owner)
                os.fchown(file.fileno(), entry.pw_uid, entry.pw_gid)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise
    sync_directory(path.parent)


def write_if_other(path: Path, text: str, *, mode: int = 0o600, owner: str | None = None) -> bool:
    """`write_durably` unless the file says so already; whether it was written. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        if path.read_text() == text:
            return False
    write_durably(path, text, mode=mode, owner=owner)
    return True


def remove_durably(path: Path) -> None:
    """Remove `path` if it is there. Raises OSError."""
    try:
        path.unlink()
    except FileNotFoundError:
        return
    sync_directory(path.parent)


class JsonNotebook:
    """Implements `ports.Notebook`: one JSON file per key in one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def load(self, key: str) -> Mapping[str, object] | None:
        try:
            value = json.loads(self._path(key).read_text())
        except (FileNotFoundError, ValueError):
            return None
        except OSError as error:
            raise self._failed("read", key, error) from error
        return value if isinstance(value, dict) else None

    def save(self, key: str, value: Mapping[str, object]) -> None:
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_durably(self._path(key), json.dumps(value, sort_keys=True))
        except OSError as error:
            raise self._failed("written", key, error) from error

    def forget(self, key: str) -> None:
        try:
            remove_durably(self._path(key))
        except OSError as error:
            raise self._failed("removed", key, error) from error

    def _path(self, key: str) -> Path:
        if not key or "/" in key or key.startswith("."):
            raise ValueError(f"{key!r} is no name for a note")
        return self._directory / f"{key}.json"

    def _failed(self, what: str, key: str, error: OSError) -> FileNotWritten:
        return FileNotWritten(
            f"{self._path(key)} could not be {what}: {error.strerror or error}",
            hint="Look at the disk: is it full, or mounted read-only?",
        )


class TokenFile:
    """Implements `ports.BootstrapToken`: the playbook puts a file there once (PROTOCOL L6).

    One word is leave to run initdb; `adopt SYSTEM_IDENTIFIER WORD` is leave to begin with that data, and
    with no other.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def present(self) -> bool:
        words = self._words()
        return bool(words) and words[0] != ADOPT

    def adopts(self) -> str:
        words = self._words()
        return words[1] if len(words) == 3 and words[0] == ADOPT else ""

    def _words(self) -> list[str]:
        try:
            return self._path.read_text().split()
        except OSError:
            return []

    def spend(self) -> None:
        try:
            remove_durably(self._path)
        except OSError as error:
            raise FileNotWritten(
                f"{self._path} could not be removed: {error.strerror or error}", hint="Remove it by hand."
            ) from error
