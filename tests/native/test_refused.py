"""Where the system forbids spawned hosts, ``spawn`` fails at once with a sentence: the cause, and what helps."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from tests.kit.unprivileged import unprivileged

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="hosts of the kernel are Linux's namespaces")

NESTED = """
import ctypes, os
uid, gid = os.getuid(), os.getgid()
assert ctypes.CDLL(None).unshare(0x10000000) == 0
for name, text in ("setgroups", "deny"), ("uid_map", f"{%(inside)s} {uid} 1"), ("gid_map", f"{%(inside)s} {gid} 1"):
    with open(f"/proc/self/{name}", "w") as file:
        file.write(text)
with open("/proc/sys/user/max_%(kind)s_namespaces", "w") as file:
    file.write("0")
"""
SECCOMP = """
import ctypes, platform, struct
libc = ctypes.CDLL(None, use_errno=True)
number = {"x86_64": 272, "aarch64": 97}[platform.machine()]  # unshare
code = struct.pack("=HBBI", 0x20, 0, 0, 0) + struct.pack("=HBBI", 0x15, 0, 1, number)
code += struct.pack("=HBBI", 0x06, 0, 0, 0x00050001) + struct.pack("=HBBI", 0x06, 0, 0, 0x7FFF0000)
memory = ctypes.create_string_buffer(code)
program = struct.pack("@HP", 4, ctypes.addressof(memory))
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, program, 0, 0) == 0
"""
SPAWN = """
import time, estab
from estab.errors import explain
from estab.native.able import check_lab
with estab.Network(clock="real", late_max="60s") as net:
    host = net.host("db")
    for call in (lambda: host.spawn(["true"]), lambda: host.spawn_python(time.time)):
        began = time.monotonic()
        try:
            call()
        except OSError as error:
            print(explain(error))
        assert time.monotonic() - began < 20
    assert host.processes == [] and not host.is_spawned
(check,) = check_lab()
print(check.is_ok, check.remark)
"""
CASES = {
    "max_user_namespaces": (
        NESTED % {"inside": "uid", "kind": "user"}, "No space left on device",
        "user namespaces are switched off: sudo sysctl user.max_user_namespaces=15000, or run as root"),
    "max_net_namespaces": (
        NESTED % {"inside": "0", "kind": "net"}, "No space left on device",
        "net namespaces are switched off: sudo sysctl user.max_net_namespaces=15000"),
    "seccomp": (
        SECCOMP, "Operation not permitted",
        "user namespaces are refused, as Docker's seccomp profile does: start the container with "
        "--security-opt seccomp=unconfined, or run as root with --cap-add SYS_ADMIN"),
}


def said_by(code: str, *rights: str) -> list[str]:
    with unprivileged(code + SPAWN, **({"rights": rights} if rights else {})) as (argv, env):  # type: ignore[arg-type]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False, env=env, cwd="/")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("case", CASES)
def test_a_system_that_forbids_namespaces_is_named_with_what_helps(case: str) -> None:
    if case == "seccomp" and platform.machine() not in ("x86_64", "aarch64"):
        pytest.skip("the number of unshare is known for two machines")
    code, error, cause = CASES[case]
    *said, checked = said_by(code)
    assert said == [f"{error}: host db can't be spawned: {cause}"] * 2
    assert checked == f"False {cause}"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be without a right of root's")
def test_root_in_a_container_without_rights_is_told_which_it_needs() -> None:
    *said, checked = said_by("", "--inh-caps=-all", "--bounding-set=-sys_admin")
    cause = ("root may not make network namespaces here: this is a container without CAP_SYS_ADMIN; start it with "
             "--cap-add SYS_ADMIN --security-opt seccomp=unconfined")
    assert said == [f"Operation not permitted: host db can't be spawned: {cause}"] * 2
    assert checked == f"False {cause}"


ATTACH = """
import estab
from estab.errors import explain
with estab.Network(clock="real", late_max="60s") as net:
    for words in {"pid": 1}, {"netns": "no-such"}:
        try:
            net.attach("web", **words)
        except OSError as error:
            print(explain(error))
    assert net.hosts == {}
"""


def test_a_user_is_told_that_attaching_takes_root() -> None:
    with unprivileged(ATTACH) as (argv, env):
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False, env=env, cwd="/")
    assert done.stdout.splitlines() == [
        "Permission denied: host web can't be attached to /proc/1/ns/net; only root enters a namespace that is there",
        "No such file or directory: host web can't be attached to /run/netns/no-such",
    ], done.stderr
