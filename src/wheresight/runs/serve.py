"""A server for the page of a study, for the browser on this machine.

It hands out what is in memory under a few fixed addresses and never reads a file by a name that it
was asked for. A request must name this machine as its host, so that a page of another site cannot
read the study by pointing its own name here (DNS rebinding).
"""

from __future__ import annotations

import ipaddress
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import wheresight
from wheresight.errors import RunError
from wheresight.runs.watch import Watch

LOOPBACK = "127.0.0.1"
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@contextmanager
def serving(watch: Watch, host: str = LOOPBACK, port: int = 0) -> Iterator[str]:
    """Serve a study's page and keep it current, from threads of their own; gives its address.

    Args:
        watch: what makes the page.
        host: address to listen at; others than loopback let other machines in.
        port: 0 for any that is free.

    Raises:
        RunError: if nothing can listen there.
    """
    try:
        server = _Server((host, port), watch)
    except (OSError, OverflowError) as error:
        raise RunError(
            f"Nothing can listen at {host}, port {port}: {error}. Choose another --port; 0 takes "
            "any that is free."
        ) from None
    stop = threading.Event()
    threads = [
        threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True),
        threading.Thread(target=watch.keep_looking, args=(stop,), daemon=True),
    ]
    for thread in threads:
        thread.start()
    shown = "localhost" if is_loopback(host) and ":" not in host else host
    shown = f"[{shown}]" if ":" in shown else shown
    try:
        yield f"http://{shown}:{server.server_address[1]}/"
    finally:
        stop.set()
        server.shutdown()
        server.server_close()


def is_loopback(host: str) -> bool:
    """Is this a name or an address that only this machine can reach?"""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], watch: Watch) -> None:
        self.watch, self.host = watch, address[0]
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, _Handler)

    def answers_to(self, named: str) -> bool:
        """Is this what a request for this server names as its host?

        A name of another site that was made to lead here is refused; an address cannot be.
        """
        host = urlsplit(f"//{named}").hostname or ""
        if is_loopback(host):
            return True
        if is_loopback(self.host):
            return False
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return host.lower() in (self.host.lower(), socket.gethostname().lower())
        return True


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version = f"wheresight/{wheresight.__version__}"
    sys_version = ""
    timeout = 30  # one request a connection, so that none outlives the server

    def do_GET(self) -> None:
        """Hand out the page, its state, or one of the pages that it links to."""
        try:
            known = self.server.answers_to(self.headers.get("Host", ""))
        except ValueError:
            known = False
        if not known:
            self._send(
                HTTPStatus.MISDIRECTED_REQUEST, "text/plain", "This host is not served here."
            )
            return
        seen = self.server.watch.seen
        path = urlsplit(self.path).path
        if path == "/":
            self._send(HTTPStatus.OK, "text/html", seen.live)
        elif path == "/state":
            state = {"version": seen.version, "said": seen.said}
            self._send(HTTPStatus.OK, "application/json", json.dumps(state))
        elif path == "/report.html":
            self._send(HTTPStatus.OK, "text/html", seen.page)
        elif path.removeprefix("/") in seen.samples:
            self._send(HTTPStatus.OK, "text/html", seen.samples[path.removeprefix("/")])
        else:
            self._send(HTTPStatus.NOT_FOUND, "text/plain", "There is no such page.")

    def do_HEAD(self) -> None:
        """The same without the page itself."""
        self.do_GET()

    def _send(self, status: HTTPStatus, kind: str, text: str) -> None:
        data = text.encode("utf-8", "replace")
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: a page asks every second or two."""
