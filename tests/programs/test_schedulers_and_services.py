"""What goes by the calendar, what keeps a clock from its import, and a service that is stopped as services are."""

from __future__ import annotations

import signal
import time
import urllib.request
from typing import Any

import cachetools
import uvicorn
from apscheduler.schedulers.background import BackgroundScheduler
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from estab import ExitError, Host, Network


def test_apscheduler_runs_its_jobs_by_the_hosts_calendar(net: Network, client: Host) -> None:
    @client.run
    def main() -> list[float]:
        runs: list[float] = []
        scheduler = BackgroundScheduler(timezone="UTC")
        scheduler.add_job(lambda: runs.append(time.monotonic()), "interval", seconds=5)
        scheduler.start()
        time.sleep(60)
        scheduler.shutdown(wait=False)
        return runs

    net.run()
    assert main.result() == [5.0 * times for times in range(1, 12)]


def test_a_cache_whose_clock_is_a_default_argument_forgets_in_virtual_time(net: Network, client: Host) -> None:
    @client.run
    def main() -> list[bool]:
        cache: Any = cachetools.TTLCache(10, ttl=60)
        cache["k"] = 1
        time.sleep(59)
        found = ["k" in cache]
        time.sleep(2)
        return [*found, "k" in cache]

    net.run()
    assert main.result() == [True, False]


class Service:
    """A web service that notes when its lifespan begins and ends."""

    def __init__(self) -> None:
        self.told: list[tuple[str, float]] = []
        self.app = Starlette(routes=[Route("/", self.answer)], lifespan=self.lifespan)

    async def answer(self, request: object) -> PlainTextResponse:
        return PlainTextResponse("ok")

    def lifespan(self, app: Starlette) -> Any:
        service = self

        class Lifespan:
            async def __aenter__(self) -> None:
                service.told.append(("up", time.monotonic()))

            async def __aexit__(self, *error: object) -> None:
                service.told.append(("down", time.monotonic()))

        return Lifespan()

    def run(self) -> None:
        uvicorn.run(self.app, host="0.0.0.0", port=80, log_config=None)


def test_sigterm_ends_uvicorn_with_its_lifespan(net: Network, server: Host, client: Host) -> None:
    service = Service()
    running = server.run(service.run)
    asked = client.run(lambda: urllib.request.urlopen("http://server/").read(), start=1)
    net.at(10, running.terminate)
    net.run(until=20)
    assert asked.result() == b"ok"
    assert [word for word, _ in service.told] == ["up", "down"]
    assert 10 <= service.told[1][1] < 11
    assert isinstance(running.exception(), ExitError)
    assert running.exception().status == -signal.SIGTERM  # type: ignore[union-attr]


def test_a_network_that_closes_ends_uvicorn_with_its_lifespan_and_without_a_word(
    server: Host, client: Host, net: Network, caplog: Any, capfd: Any,
) -> None:
    service = Service()
    server.run(service.run)
    asked = client.run(lambda: urllib.request.urlopen("http://server/").read(), start=1)
    net.run()
    assert asked.result() == b"ok"
    assert net.now < 2
    net.close()
    assert [word for word, _ in service.told] == ["up", "down"]
    assert [record for record in caplog.records if record.levelname in ("WARNING", "ERROR", "CRITICAL")] == []
    assert capfd.readouterr().err == ""
