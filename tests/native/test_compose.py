"""The example of ``docker compose`` works, as far as that can be tried without Docker.

A namespace with a web server in it stands for the container, and a script that answers as ``docker`` does for the
command. What Docker itself does is not tried.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
EXAMPLE = ROOT / "examples" / "compose"

pytestmark = pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0,
                                reason="only root enters a namespace that is there")

SERVE = """
import http.server, subprocess
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<h1>Welcome to nginx!</h1>")
    def log_message(self, *words): pass
server = http.server.ThreadingHTTPServer(("", 80), Handler)
print("ready", flush=True)
server.serve_forever()
"""
DOCKER = """#!/bin/sh
case "$*" in
  "compose ps --quiet web") echo 0123456789ab ;;
  "inspect --format {{{{.State.Pid}}}} 0123456789ab") echo {pid} ;;
  *) echo "docker: what is '$*'?" >&2; exit 1 ;;
esac
"""


@pytest.fixture
def container() -> Iterator[int]:
    """Run a server in a network namespace of its own, with nothing but lo in it, and give its process id."""
    process = subprocess.Popen(["unshare", "--net", sys.executable, "-c", SERVE], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    yield process.pid
    process.kill()
    process.communicate()


def test_the_compose_example_runs_against_a_namespace_that_stands_for_the_container(
        container: int, tmp_path: Path) -> None:
    docker = tmp_path / "docker"
    docker.write_text(DOCKER.format(pid=container))
    docker.chmod(0o755)
    folder = tmp_path / "compose"
    shutil.copytree(EXAMPLE, folder)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "estab.pytest_plugin", "test_web.py"],
        cwd=folder, capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
             "PYTHONPATH": os.pathsep.join(sys.path)})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_the_page_of_the_documentation_has_the_example_as_it_is() -> None:
    page = (ROOT / "docs" / "real.md").read_text()
    services, test = (EXAMPLE / "compose.yaml").read_text(), (EXAMPLE / "test_web.py").read_text()
    assert services[services.index("services:"):].strip() in page
    assert test[test.index("def pid_of"):test.index("def test_a_cut")].strip() in page
