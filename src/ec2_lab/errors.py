"""What the lab foresees going wrong, each with what to do about it."""

from __future__ import annotations


class LabError(Exception):
    """Something foreseen. The message names object and value, the hint what to try."""

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.args[0]}\nHINT: {self.hint}"


class NoSuchHost(LabError):
    """No instance has this name or id."""


class NoSuchLab(LabError):
    """No lab of this name is up."""


class MachineMissing(LabError):
    """This computer lacks something the lab needs: root, a program, a kernel feature, disk."""


class CommandFailed(LabError):
    """A program of the lab's own (ip, nft, mount …) refused."""
