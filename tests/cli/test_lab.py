"""``estab lab``: it serves the page on loopback, or says what is missing."""

from __future__ import annotations

import socket
import struct
import threading
import urllib.request
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from estab.cli.lab import find_folder, lab, new_server
from tests.kit.namespaces import await_that


def _folder(path: Path) -> Path:
    for name in ("index.html", "lab.js", "lessons.json", "worker.js", "pyodide.mjs", "estab.zip"):
        (path / name).write_text(name, encoding="utf-8")
    return path


def test_without_the_page_one_line_says_where_to_get_it(tmp_path: Path) -> None:
    result = CliRunner().invoke(lab, [str(tmp_path)])
    assert result.exit_code == 1
    assert result.output == (
        f"Error: the lab's page is not in {tmp_path}: there is no {tmp_path / 'index.html'}. It is not part of the "
        "package, for PyPI does not have Pyodide, on which it runs. In a clone of estab, `make lab` builds it (it "
        "needs npm); then: estab lab CLONE/build/lab\n")


def test_a_folder_that_lacks_a_file_is_none(tmp_path: Path) -> None:
    assert find_folder(str(_folder(tmp_path))) == tmp_path
    (tmp_path / "estab.zip").unlink()
    with pytest.raises(click.ClickException):
        find_folder(str(tmp_path))


def test_it_serves_modules_as_a_browser_wants_them(tmp_path: Path) -> None:
    with new_server(_folder(tmp_path), 0) as server:
        assert server.server_address[0] == "127.0.0.1"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with urllib.request.urlopen(f"http://127.0.0.1:{server.server_address[1]}/pyodide.mjs") as answer:
            assert (answer.headers["Content-Type"], answer.read()) == ("text/javascript", b"pyodide.mjs")
        server.shutdown()
        thread.join()


def test_a_browser_that_loads_the_page_again_meanwhile_leaves_no_traceback(
    tmp_path: Path, capfd: pytest.CaptureFixture[str],
) -> None:
    (_folder(tmp_path) / "estab.zip").write_bytes(bytes(50_000_000))
    with new_server(tmp_path, 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        before = threading.active_count()
        with socket.create_connection(server.server_address[:2]) as browser:
            browser.sendall(b"GET /estab.zip HTTP/1.1\r\nHost: x\r\n\r\n")
            assert browser.recv(1000)
            browser.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closing resets
        await_that(lambda: threading.active_count() <= before, "the answer has ended")
        server.shutdown()
        thread.join()
    assert capfd.readouterr().err == ""
