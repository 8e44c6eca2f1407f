"""The two doors of an agent: HTTPS for members, a Unix socket for root on this node."""

from __future__ import annotations

import contextlib
import shutil
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cheroot import wsgi
from cheroot.ssl.builtin import BuiltinSSLAdapter

from failover_agent.errors import AgentError

# Relayed calls wait for a slow API, several of each member: they must leave threads for votes and promises.
THREADS = 16
# cheroot shakes hands on the thread that accepts: a member that dies in the middle must not hold it long.
SOCKET_TIMEOUT_S = 3


class CannotListen(AgentError):
    """A door could not be opened."""


class Doors:
    """Serves one WSGI application at both doors, each on threads of its own."""

    def __init__(self, app: Callable[..., Any]) -> None:
        self._app = app
        self._servers: list[wsgi.Server] = []

    def open_https(self, address: str, port: int, *, ca: Path, cert: Path, key: Path) -> None:
        """Raises CannotListen."""
        adapter = BuiltinSSLAdapter(str(cert), str(key), str(ca))
        adapter.context = server_context(ca, cert, key)
        server = self._server((address, port))
        server.ssl_adapter = adapter
        self._serve(server, f"{address}:{port}")

    def https_port(self) -> int:
        """Where the last HTTPS door listens, also when any free port was asked for."""
        return int(next(s.bind_addr[1] for s in reversed(self._servers) if isinstance(s.bind_addr, tuple)))

    def open_unix(self, path: Path, owner: str | None = None) -> None:
        """A socket that only `owner` (ours when not said) and root can open. Raises CannotListen."""
        server = self._server(str(path))
        server.peercreds_enabled = True

        def close_to_others() -> None:
            path.chmod(0o600)
            if owner is not None:
                shutil.chown(path, owner)

        self._serve(server, str(path), after_bind=close_to_others)

    def close(self) -> None:
        for server in self._servers:
            server.stop()

    def _server(self, bind: str | tuple[str, int]) -> wsgi.Server:
        server = wsgi.Server(bind, self._app, numthreads=THREADS, max=3 * THREADS, timeout=SOCKET_TIMEOUT_S)
        server.shutdown_timeout = 1
        return server

    def _serve(self, server: wsgi.Server, where: str, after_bind: Callable[[], None] | None = None) -> None:
        try:
            server.prepare()
            if after_bind is not None:
                after_bind()
        except OSError as error:
            raise CannotListen(
                f"cannot listen on {where}: {error}", hint="Is another agent running?"
            ) from error
        self._servers.append(server)
        threading.Thread(target=_keep_serving, args=(server,), name=f"door {where}", daemon=True).start()


def server_context(ca: Path, cert: Path, key: Path) -> ssl.SSLContext:
    """Nobody without a certificate of the cluster's CA gets as far as a request."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(str(cert), str(key))
    context.load_verify_locations(cafile=str(ca))
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def _keep_serving(server: wsgi.Server) -> None:
    with contextlib.suppress(KeyboardInterrupt, SystemExit):
        server.serve()
