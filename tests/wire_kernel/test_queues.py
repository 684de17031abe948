"""Several processes on one TUN device (``estab.run_queues``), and the kernel's own TCP on the other side."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from tests.kit.namespaces import Namespace, await_that, requires_kernel

pytestmark = requires_kernel

START = """
import os, socket, sys, time
import estab

def open_link():
    return estab.Tun("tun0", peer="10.7.0.1/24", is_multi_queue=True)

def run(program, queues=3, **options):
    estab.run_queues(program, open_link, "10.7.0.2/24", queues=queues, **options)
"""

SERVING = START + """
def program(stack, number):
    listener = stack.socket()
    listener.bind(("", 7))
    listener.listen()
    print("up", flush=True)
    while True:
        end, _ = listener.accept()
        with end:
            end.sendall(str(number).encode())

run(program)
"""


def start(netns: Namespace, tmp_path: Path, text: str) -> subprocess.Popen[str]:
    """Run a program in the namespace."""
    path = tmp_path / "program.py"
    path.write_text(text)
    return netns.start(sys.executable, str(path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def await_lines(process: subprocess.Popen[str], count: int) -> None:
    """Wait until a program has written so many lines."""
    assert process.stdout is not None
    for _ in range(count):
        assert process.stdout.readline() != ""


def ask(netns: Namespace) -> bytes:
    """Connect from the kernel, and read to the end."""
    with netns.socket(socket.AF_INET) as client:
        client.settimeout(10)
        client.connect(("10.7.0.2", 7))
        return client.recv(10)


def devices(netns: Namespace) -> str:
    return netns.ip("-brief link")


def children_of(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def await_gone(pids: list[int]) -> None:
    await_that(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids), f"the processes {pids} end")


def test_a_listening_port_is_shared_and_ctrl_c_ends_all_and_takes_the_device_along(
    bare: Namespace, tmp_path: Path,
) -> None:
    process = start(bare, tmp_path, SERVING)
    await_lines(process, 3)
    answers = {ask(bare) for _ in range(60)}
    assert answers == {b"0", b"1", b"2"}
    workers = children_of(process.pid)
    assert len(workers) == 3
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert process.returncode == -signal.SIGINT or "KeyboardInterrupt" in said
    await_gone(workers)
    assert "tun0" not in devices(bare)


def test_it_is_over_when_every_program_has_returned(bare: Namespace, tmp_path: Path) -> None:
    process = start(bare, tmp_path, START + """
def program(stack, number):
    print(stack.name, number, flush=True)

run(program, name="a stack")
print("all have")
""")
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")
    assert sorted(out.splitlines()) == ["a stack 0", "a stack 1", "a stack 2", "all have"]
    assert "tun0" not in devices(bare)


def test_when_one_fails_all_end_and_it_is_said_which(bare: Namespace, tmp_path: Path) -> None:
    process = start(bare, tmp_path, START + """
def program(stack, number):
    time.sleep(0.3 if number == 1 else 60)
    raise ValueError("no more of this")

try:
    run(program)
except estab.QueueEndedError as error:
    print(error)
    sys.exit(3)
""")
    out, err = process.communicate(timeout=30)
    assert process.returncode == 3
    assert out == "the process of queue 1 ended with status 1; all were ended\n"
    assert "ValueError: no more of this" in err
    assert err.count("Traceback") == 1
    assert "tun0" not in devices(bare)


def test_when_the_first_is_killed_nothing_is_left_over(bare: Namespace, tmp_path: Path) -> None:
    process = start(bare, tmp_path, SERVING)
    await_lines(process, 3)
    workers = children_of(process.pid)
    process.kill()
    process.communicate(timeout=20)
    await_gone(workers)
    assert "tun0" not in devices(bare)
