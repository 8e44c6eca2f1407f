"""How a client should connect is said once: guide, service file of the hosts and rehearsal agree."""

from __future__ import annotations

import re
import socket
from pathlib import Path

from rehearsal import echo, page

ROOT = Path(__file__).parents[2]
SOCKET_OPTIONS = {
    "keepalives_idle": socket.TCP_KEEPIDLE,
    "keepalives_interval": socket.TCP_KEEPINTVL,
    "keepalives_count": socket.TCP_KEEPCNT,
    "tcp_user_timeout": socket.TCP_USER_TIMEOUT,
}


def advised() -> dict[str, str]:
    """The table of docs/clients.md, by parameter."""
    found = {}
    for line in (ROOT / "docs/clients.md").read_text().splitlines():
        if line.startswith("| `"):
            names, values = line.split("|")[1:3]
            for name, value in zip(re.findall(r"`(\w+)`", names), values.split(","), strict=True):
                found[name] = value.replace("(ms)", "").strip(" `")
    return found


def test_the_service_of_our_application_hosts_is_what_the_guide_advises() -> None:
    template = (ROOT / "roles/app_host/templates/pg_service.conf.j2").read_text()

    written = dict(line.split("=", 1) for line in template.splitlines() if re.match(r"\w+=", line))

    assert {name: written.get(name) for name in advised()} == advised()


def test_the_rehearsals_control_gives_up_as_its_clients_do() -> None:
    set_to = {option: str(value) for _level, option, value in echo.OPTIONS}

    assert {name: set_to[option] for name, option in SOCKET_OPTIONS.items()} == {
        name: advised()[name] for name in SOCKET_OPTIONS
    }


def test_the_page_of_measurements_names_how_its_client_gives_up() -> None:
    assert [name for name in SOCKET_OPTIONS if f"`{name}={advised()[name]}`" not in page.FRAME] == []
