"""``estab lab``: the lab in a browser's tab, from this machine.

It serves the folder that `make lab` builds, on loopback only, until Ctrl-C. The page asks for nothing else.
"""

from __future__ import annotations

import functools
import http.server
import sys
import webbrowser
from pathlib import Path
from typing import Any, Final

import click

from estab.cli.ascii import echo

__all__ = ["find_folder", "lab", "new_server"]

_BUILT: Final = Path("build", "lab")
_NEEDED: Final = ("index.html", "lab.js", "lessons.json", "worker.js", "pyodide.mjs", "estab.zip")


class _Handler(http.server.SimpleHTTPRequestHandler):
    extensions_map = {**http.server.SimpleHTTPRequestHandler.extensions_map,  # noqa: RUF012
                      ".mjs": "text/javascript", ".js": "text/javascript", ".wasm": "application/wasm"}

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


class _Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a browser that closed a connection, as one does when its page is loaded again."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@click.command()
@click.argument("folder", required=False, type=click.Path(file_okay=False))
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Where to serve it; 0: any free port.")
@click.option("--no-browser", is_flag=True, help="Open no browser, only say the address.")
def lab(folder: str | None, port: int, no_browser: bool) -> None:
    """Open the lab in a browser's tab: programs, hosts and links to try, break and share.

    FOLDER is what `make lab` has built in a clone of estab; without it, build/lab here or in the clone that estab runs
    from. Ctrl-C ends it.
    """
    found = find_folder(folder)
    try:
        server = new_server(found, port)
    except OSError as error:
        raise click.ClickException(f"cannot serve on 127.0.0.1:{port}: {error.strerror}") from None
    address = f"http://127.0.0.1:{server.server_address[1]}/"
    echo(f"estab: the lab is at {address} until Ctrl-C")
    with server:
        if not no_browser and not webbrowser.open(address):
            echo("estab: no browser could be opened; open the address in Chrome or Edge", err=True)
        server.serve_forever()


def find_folder(folder: str | None) -> Path:
    """Find the page's folder. ``ClickException`` says what is missing, and where to get it."""
    places = [Path(folder)] if folder is not None else [_BUILT, Path(__file__).resolve().parents[3] / _BUILT]
    for place in places:
        if all((place / name).is_file() for name in _NEEDED):
            return place
    where = f"in {folder}" if folder is not None else "here"
    missing = next(name for name in _NEEDED if not (places[0] / name).is_file())
    raise click.ClickException(
        f"the lab's page is not {where}: there is no {places[0] / missing}. It is not part of the package, for PyPI "
        "does not have Pyodide, on which it runs. In a clone of estab, `make lab` builds it (it needs npm); then: "
        "estab lab CLONE/build/lab")


def new_server(folder: Path, port: int) -> http.server.ThreadingHTTPServer:
    """Make the server, on loopback only."""
    return _Server(("127.0.0.1", port), functools.partial(_Handler, directory=str(folder)))
