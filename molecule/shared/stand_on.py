"""Make what a scenario presumes, as far as it does not stand yet.

usage: stand_on.py SCENARIO…      in the order in which they build on each other

Runs the converge.yml of each that has not converged in this lab. In a run of all scenarios that is none.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SCENARIOS = Path(__file__).resolve().parents[1]
INVENTORY = SCENARIOS / "shared" / "inventory"


def missing(presumed: list[str], runs: Path) -> list[str]:
    """Those that have not converged, in the same order."""
    return [name for name in presumed if not (runs / f"{name}.stands").exists()]


def main() -> None:
    """Converge what is missing; end with the first failure's status."""
    for name in missing(sys.argv[1:], Path(os.environ["PRIMACY_MOLECULE_DIR"])):
        print(f"making what this scenario presumes: {name}", flush=True)
        done = subprocess.run(
            ["ansible-playbook", f"--inventory={INVENTORY}", str(SCENARIOS / name / "converge.yml")]
        )
        if done.returncode != 0:
            raise SystemExit(f"{name} did not converge, and this scenario presumes it; its words stand above")


if __name__ == "__main__":
    main()
