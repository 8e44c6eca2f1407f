"""Ansible module: write a list of files, folders and links in one round trip, durably."""

from __future__ import annotations

import difflib
import grp
import os
import pwd
import shlex
import stat
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule  # type: ignore[import-untyped]  # Ansible ships no types

DOCUMENTATION = r"""
module: file_set
short_description: Write a list of files, folders and links in one round trip
description:
  - Each entry is compared with what is there and only what differs is changed.
  - Contents are synced to disk before they get their name.
options:
  entries:
    description: What shall be there, in this order.
    type: list
    elements: dict
    required: true
    suboptions:
      path: {description: Absolute path., type: path, required: true}
      content: {description: The file's text., type: str}
      link: {description: Make it a symbolic link to this., type: str}
      state: {description: What it is; follows from content and link where they are given., type: str,
        choices: [file, directory, link, absent]}
      owner: {description: Name of the owner., type: str, default: root}
      group: {description: Name of the group., type: str, default: root}
      mode: {description: "Octal, as a string; 0644 for files and 0755 for folders.", type: str}
      keep: {description: Leave a file alone that is there already., type: bool, default: false}
      validate: {description: Command that must succeed on the new file; %s is its path., type: str}
"""

EXAMPLES = r"""
- name: Write the settings
  ansible.legacy.file_set:
    entries:
      - {path: /etc/primacy, state: directory}
      - {path: /etc/primacy/x.conf, content: "{{ lookup('ansible.builtin.template', 'x.j2') }}", mode: "0640"}
"""

RETURN = r"""
changed_paths: {description: What was changed., type: list, elements: str, returned: always}
"""

ENTRY = {
    "path": {"type": "path", "required": True},
    "content": {"type": "str"},
    "link": {"type": "str"},
    "state": {"type": "str", "choices": ["file", "directory", "link", "absent"]},
    "owner": {"type": "str", "default": "root"},
    "group": {"type": "str", "default": "root"},
    "mode": {"type": "str"},
    "keep": {"type": "bool", "default": False},
    "validate": {"type": "str"},
}
VALIDATE_TIMEOUT_S = 60


class Refused(Exception):
    """The entry cannot be made so; the message names it."""


class FileSet:
    """Compares entries with the file system and, unless it only looks, makes them so."""

    def __init__(self, dry: bool) -> None:
        self.dry = dry
        self.changed: list[str] = []
        self.diffs: list[dict[str, str]] = []

    def settle(self, entry: dict[str, Any]) -> None:
        """Make one entry so. Raises Refused, OSError, subprocess.TimeoutExpired."""
        kind = entry.get("state") or ("link" if entry.get("link") is not None else "file")
        path = Path(entry["path"])
        if kind == "absent":
            self._absent(path)
        elif kind == "directory":
            self._directory(path, entry)
        elif kind == "link":
            self._link(path, entry["link"])
        elif entry.get("content") is None:
            raise Refused("one of content, link and state is needed")
        else:
            self._file(path, entry)

    def _absent(self, path: Path) -> None:
        if not path.exists() and not path.is_symlink():
            return
        if path.is_dir() and not path.is_symlink():
            raise Refused("is a folder; folders are not removed here")
        self._note(path, "present\n", "absent\n")
        if not self.dry:
            path.unlink()
            _sync_folder(path)

    def _directory(self, path: Path, entry: dict[str, Any]) -> None:
        if not path.is_dir():
            if path.exists() or path.is_symlink():
                raise Refused("is there and is no folder")
            self._note(path, "absent\n", "folder\n")
            if self.dry:
                return
            path.mkdir(parents=True)
        self._own(path, entry, int(entry.get("mode") or "0755", 8))

    def _link(self, path: Path, target: str) -> None:
        before = str(path.readlink()) if path.is_symlink() else None
        if before == target:
            return
        if before is None and path.is_dir():
            raise Refused(f"is a folder, not a link to {target}")
        self._note(path, f"-> {before}\n", f"-> {target}\n")
        if self.dry:
            return
        fresh = path.with_name(f".new-{os.getpid()}-{path.name}")
        fresh.symlink_to(target)
        fresh.replace(path)  # there is no moment without the link
        _sync_folder(path)

    def _file(self, path: Path, entry: dict[str, Any]) -> None:
        wanted = entry["content"].encode()
        there = _read(path)
        if there is not None and entry.get("keep"):
            return  # who writes it from now on also says whose it is
        if there == wanted:
            self._own(path, entry, int(entry.get("mode") or "0644", 8))
            return
        self._note(path, (there or b"").decode(errors="replace"), entry["content"])
        if not self.dry or path.parent.is_dir():
            self._replace(path, wanted, entry)

    def _replace(self, path: Path, wanted: bytes, entry: dict[str, Any]) -> None:
        handle, name = tempfile.mkstemp(prefix=".new-", dir=path.parent)
        fresh = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(wanted)
                file.flush()
                os.fsync(file.fileno())
            self._validate(entry, fresh)
            if self.dry:
                return
            os.chown(fresh, *_ids(entry))
            fresh.chmod(int(entry.get("mode") or "0644", 8))
            fresh.replace(path)
            _sync_folder(path)
        finally:
            fresh.unlink(missing_ok=True)

    def _validate(self, entry: dict[str, Any], fresh: Path) -> None:
        if not entry.get("validate"):
            return
        command = [word.replace("%s", str(fresh)) for word in shlex.split(entry["validate"])]
        if self.dry and not os.access(command[0], os.X_OK):
            return
        done = subprocess.run(command, capture_output=True, text=True, timeout=VALIDATE_TIMEOUT_S)
        if done.returncode != 0:
            raise Refused(f"would be wrong: {shlex.join(command)} says: {done.stdout}{done.stderr}")

    def _own(self, path: Path, entry: dict[str, Any], mode: int) -> None:
        seen = path.stat()
        try:
            uid, gid = _ids(entry)
        except Refused:
            if not self.dry:
                raise
            uid, gid = -1, -1  # an earlier task would have made them
        before = (seen.st_uid, seen.st_gid, stat.S_IMODE(seen.st_mode))
        if before == (uid, gid, mode):
            return
        self._note(path, f"{before[0]}:{before[1]} {before[2]:04o}\n", f"{uid}:{gid} {mode:04o}\n")
        if not self.dry:
            os.chown(path, uid, gid)
            path.chmod(mode)

    def _note(self, path: Path, before: str, after: str) -> None:
        if str(path) not in self.changed:
            self.changed.append(str(path))
        lines = difflib.unified_diff(before.splitlines(True), after.splitlines(True), str(path), str(path))
        self.diffs.append({"prepared": "".join(lines)})


def _ids(entry: dict[str, Any]) -> tuple[int, int]:
    try:
        return pwd.getpwnam(entry["owner"]).pw_uid, grp.getgrnam(entry["group"]).gr_gid
    except KeyError as unknown:
        raise Refused(f"there is no such owner or group: {unknown}") from unknown


def _read(path: Path) -> bytes | None:
    if path.is_symlink() or not path.exists():
        return None
    if not path.is_file():
        raise Refused("is there and is no file")
    return path.read_bytes()


def _sync_folder(path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def main() -> None:
    """Settle every entry; stop at the first that cannot be."""
    module = AnsibleModule(
        argument_spec={"entries": {"type": "list", "elements": "dict", "required": True, "options": ENTRY}},
        supports_check_mode=True,
    )
    files = FileSet(dry=module.check_mode)
    for entry in module.params["entries"]:
        try:
            files.settle(entry)
        except (Refused, OSError, subprocess.TimeoutExpired) as refused:
            module.fail_json(msg=f"{entry['path']}: {refused}", changed_paths=files.changed)
    module.exit_json(changed=bool(files.changed), changed_paths=files.changed, diff=files.diffs)


if __name__ == "__main__":
    main()
