"""``estab doctor --lab``: can hosts of the lab be processes of the system here?"""

from __future__ import annotations

import errno
import json
import sys

import pytest
from click.testing import CliRunner

from estab.cli.doctor import doctor
from estab.native import able, spaces
from tests.kit.unprivileged import call_unprivileged

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="hosts of the kernel are Linux's namespaces")


def test_it_makes_a_host_and_says_what_it_found() -> None:
    result = CliRunner().invoke(doctor, ["--lab"])
    assert result.exit_code == 0
    assert result.output.startswith("ok  network namespaces: ")
    assert "ok  a host with an interface: made, and removed again\n" in result.output
    assert all(len(line) <= 79 for line in result.output.splitlines())


def look_without_rights() -> object:
    """Look in a process without any rights."""
    return json.loads(CliRunner().invoke(doctor, ["--lab", "--json"]).output)


def test_it_knows_what_a_user_without_rights_can_do() -> None:
    found = {check["what"]: check for check in call_unprivileged(look_without_rights)}
    assert found["network namespaces"] == {
        "what": "network namespaces", "ok": True, "needed": True, "remark": "in a user namespace, without root"}


@pytest.mark.parametrize(("files", "number", "said"), [
    ({"/proc/sys/user/max_user_namespaces": "0"}, errno.ENOSPC, "sudo sysctl user.max_user_namespaces=15000"),
    ({"/proc/sys/kernel/unprivileged_userns_clone": "0"}, errno.EPERM, "kernel.unprivileged_userns_clone=1"),
    ({"/proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1"}, errno.EPERM,
     "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0"),
    ({}, errno.EPERM, "--security-opt seccomp=unconfined"),
])
def test_the_cause_of_a_refusal_is_named_with_what_helps(
    files: dict[str, str], number: int, said: str, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(spaces, "_first_word", lambda path: files.get(path, ""))
    assert said in spaces.cause_of(number, is_root=False)


def test_a_machine_that_refuses_is_an_exit_status(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(able, "why_not", lambda: "user namespaces are switched off")
    result = CliRunner().invoke(doctor, ["--lab"])
    assert result.exit_code == 1
    assert result.output == "NO  network namespaces: user namespaces are switched off\n"
