"""A pair of programs that runs on hosts of the lab and on the kernel, over loopback, and must tell the same story."""

from __future__ import annotations

import re
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any

from estab import Network

Story = list[Any]
HOST = "server.example"
Serve = Callable[[socket.socket, Story], None]


def in_the_lab(serve: Serve, call: Serve) -> tuple[Story, Story]:
    """Run the two programs on two hosts, 10 ms apart."""
    with Network(seed=3) as net:
        a, b = net.host("a"), net.host("b")
        net.link(a, b, delay="10ms")
        return run_pair(lambda work, story: b.run(work, story), lambda work, story: a.run(work, story), "b",
                        lambda: net.run(check=False), serve, call)


def on_the_kernel(serve: Serve, call: Serve) -> tuple[Story, Story]:
    """Run the two programs in threads, over loopback."""
    threads: list[threading.Thread] = []

    def start(work: Any, story: Story) -> None:
        threads.append(threading.Thread(target=work, args=(story,), daemon=True))
        threads[-1].start()

    def join() -> None:
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()

    return run_pair(start, start, "127.0.0.1", join, serve, call)


def run_pair(start_server: Any, start_client: Any, host: str, finish: Callable[[], None], serve: Serve,
             call: Serve) -> tuple[Story, Story]:
    stories: tuple[Story, Story] = ([], [])
    port: list[int] = []
    is_ready = threading.Event()

    def server(story: Story) -> None:
        with socket.create_server(("", 0)) as listener:
            port.append(listener.getsockname()[1])
            is_ready.set()
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(20)
                tell(serve, connection, story)

    def client(story: Story) -> None:
        while not port:
            time.sleep(0.01)
        with socket.create_connection((host, port[0])) as connection:
            connection.settimeout(20)
            tell(call, connection, story)

    start_server(server, stories[0])
    start_client(client, stories[1])
    finish()
    return stories


def tell(work: Serve, connection: socket.socket, story: Story) -> None:
    """Do it, and end the story with the exception, where there is one."""
    try:
        work(connection, story)
    except Exception as error:
        story.append(words(error))


def words(error: Exception) -> tuple[str, Any, str]:
    """Write an exception without the place in CPython's C files."""
    text = re.sub(r" ?\(?_ssl\.c:\d+:?\)? ?", "", str(error.args[-1] if error.args else error))
    if isinstance(error, ssl.SSLError):
        return type(error).__name__, error.errno, text
    return type(error).__name__, getattr(error, "errno", None), ""


def both(serve: Serve, call: Serve) -> tuple[Story, Story]:
    """Give what both worlds tell, which is the same."""
    virtual, real = in_the_lab(serve, call), on_the_kernel(serve, call)
    assert virtual == real
    return virtual
