"""Our modules and functions stay small enough to be read at once."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parents[2]
MODULE_LINES, FUNCTION_LINES = 400, 60

# What may be longer, as `too_long` names it, and why no part of it would stand for itself.
EXCEPTIONS: dict[str, str] = {}


def sources() -> dict[str, str]:
    """By path. Fails where a folder has none: a limit that nothing is held to would look kept."""
    found = {folder: sorted((HERE / folder).rglob("*.py")) for folder in ("src", "tests")}
    assert all(found.values())
    return {str(p.relative_to(HERE)): p.read_text() for paths in found.values() for p in paths}


def too_long(path: str, text: str) -> Iterator[str]:
    if len(text.splitlines()) > MODULE_LINES:
        yield path
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            if node.end_lineno - node.lineno + 1 > FUNCTION_LINES:
                yield f"{path}:{node.name}"


def test_no_module_and_no_function_is_too_long_unless_a_reason_stands_beside_it() -> None:
    found = [name for path, text in sources().items() for name in too_long(path, text)]
    assert sorted(found) == sorted(EXCEPTIONS)
    assert all(EXCEPTIONS.values())


def test_a_module_and_a_function_one_line_over_the_limit_are_found() -> None:
    body = "    pass\n" * (FUNCTION_LINES - 1)
    assert list(too_long("x.py", f"def f():\n{body}")) == []
    assert list(too_long("x.py", f"class C:\n  async def f():\n{body}    pass\n")) == ["x.py:f"]
    assert list(too_long("x.py", "\n" * MODULE_LINES)) == []
    assert list(too_long("x.py", "\n" * (MODULE_LINES + 1))) == ["x.py"]
