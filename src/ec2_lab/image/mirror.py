"""What the image brings along so that hosts without internet can install: .debs and wheels.

Where the .debs come from is this machine's own business: the mirrors in its apt sources, asked for
the image's release instead of its own.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from ec2_lab.errors import MachineMissing
from ec2_lab.image import recipe
from ec2_lab.image.programs import run

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
# The suites of a Debian release that a cloud image has: bookworm, bookworm-updates, bookworm-security.
SUITES = ("", "-updates", "-security")


def debian_sources() -> list[str]:
    """One-line apt sources of the image's release on the mirrors this machine uses for its own."""
    own = _own_codename()
    targets = run(
        [
            "apt-get",
            "indextargets",
            "--format",
            "$(REPO_URI) $(RELEASE) $(COMPONENT)",
            "Created-By: Packages",
        ],
        hint="`apt-get indextargets` shows what apt thinks of /etc/apt/sources.list.d",
    )
    wanted = {own + suffix: recipe.RELEASE + suffix for suffix in SUITES}
    sources: list[str] = []
    for line in targets.splitlines():
        uri, suite, component = line.split()
        if suite in wanted and component == "main":
            sources.append(f"deb [signed-by={KEYRING}] {uri} {wanted[suite]} main")
    if not sources:
        raise MachineMissing(
            f"no Debian mirror for {own} in this machine's apt sources",
            hint="hosts are built from this Debian machine's own mirror; add one to /etc/apt/sources.list.d",
        )
    if not KEYRING.is_file():
        raise MachineMissing(f"no keyring at {KEYRING}", hint="apt-get install debian-archive-keyring")
    return list(dict.fromkeys(sources))


def _own_codename() -> str:
    lines = Path("/etc/os-release").read_text().splitlines()
    facts = dict(line.split("=", 1) for line in lines if "=" in line)
    return facts.get("VERSION_CODENAME", "unknown").strip('"')


def write_index(folder: Path) -> int:
    """Make `folder` of .debs an apt repository (flat: sources say `Suites: ./`); returns how many."""
    stanzas = []
    debs = sorted(folder.glob("*.deb"))
    for deb in debs:
        control = run(["dpkg-deb", "--field", str(deb)], hint=f"{deb.name} is damaged; build again")
        content = deb.read_bytes()
        stanzas.append(
            f"{control.rstrip()}\nFilename: ./{deb.name}\nSize: {len(content)}\n"
            f"SHA256: {hashlib.sha256(content).hexdigest()}\n"
        )
    (folder / "Packages").write_text("\n".join(stanzas))
    return len(debs)


def download_wheels(folder: Path) -> None:
    """Fetch the node's locked wheels for the image's Python, through this machine's own pip settings."""
    argv = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(folder), "--only-binary=:all:"]
    argv += ["--implementation=cp", f"--python-version={recipe.PYTHON}"]
    argv += [f"--platform={name}" for name in recipe.PLATFORMS]
    hint = "the wheels come from the package index pip is configured for; see `pip config list`"
    run([*argv, "--no-deps", "--requirement", str(recipe.NODE_LOCK)], hint=hint)
    run([*argv, *recipe.EXTRA_WHEELS], hint=hint)
