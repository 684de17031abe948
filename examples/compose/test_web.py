"""A service of ``docker compose`` behind a slow, lossy link, which is cut in the middle.

Root runs it, in a machine on which Docker is, from this folder:

    docker compose up --detach --wait
    sudo python -m pytest test_web.py
    docker compose down
"""

from __future__ import annotations

import subprocess
from urllib.request import urlopen

import pytest

import estab


def pid_of(service: str) -> int:
    """Find the process id of a running service's container: its namespaces are the container's."""

    def docker(*words: str) -> str:
        return subprocess.run(["docker", *words], check=True, capture_output=True, text=True).stdout.strip()

    return int(docker("inspect", "--format", "{{.State.Pid}}", docker("compose", "ps", "--quiet", service)))


@pytest.fixture
def web(real_net: estab.Network) -> estab.Host:
    """Put the container on the network."""
    return real_net.attach("web", pid=pid_of("web"))


def test_the_page_comes_through_a_lossy_link(real_net: estab.Network, web: estab.Host) -> None:
    phone = real_net.host("phone")
    real_net.link(phone, web, delay="40ms", loss="2%", rate="10Mbit")

    @phone.run
    def read() -> tuple[int, bytes]:
        with urlopen(f"http://{web.address}/", timeout=30) as answer:
            return answer.status, answer.read()

    real_net.run()
    status, page = read.result()
    assert status == 200
    assert b"nginx" in page
    assert any(row.state == "LISTEN" and row.local.endswith(":80") for row in web.sockets())


def test_a_cut_of_two_seconds_delays_the_page_and_does_not_lose_it(real_net: estab.Network, web: estab.Host) -> None:
    phone = real_net.host("phone")
    link = real_net.link(phone, web, delay="10ms")
    began = real_net.now
    link.cut()
    real_net.at(began + 2, link.heal)

    @phone.run
    def read() -> int:
        with urlopen(f"http://{web.address}/", timeout=30) as answer:
            return int(answer.status)

    real_net.run()
    assert read.result() == 200
    assert real_net.now - began > 2
