"""A user's mistakes: ``tests/test_typing.py`` has mypy and pyright find each line that says so."""

from __future__ import annotations

import estab

net = estab.Network(1)
a, b = net.host("a"), net.host("b", tcp_sincookies="always")  # a mistake: no such setting
net.host("c", tcp_syncookies="sometimes")  # a mistake: no such value
net.host("d", tcp_syn_retries="three")  # a mistake: not a number
net.link(a, b, latency="1ms")  # a mistake: no such property
link = net.link(a, b, delay=("1ms", "2ms", "3ms"))  # a mistake: a pair is two
link.set(lost="2%")  # a mistake: no such property
link.firewall(idle="1h", unknown="reset")  # a mistake: no such word
net.nat(link, link, idel="1h")  # a mistake: no such property
net.rule(lambda p: p.tcp.syn)  # a mistake: there may be no segment
stack = estab.Stack(estab.QueueDevice(), "10.7.0.2/24", tcp_retries="5")  # a mistake: no such setting


@a.run
def go() -> int:
    """Give a number."""
    return 5


@a.run
async def wait() -> bytes:
    """Give bytes."""
    return b""


@a.run(daemon=True)
def later() -> int:
    """Give a number."""
    return 5


wrong: str = go.result()  # a mistake: an int
text: str = wait.result()  # a mistake: bytes
number: str = later.result()  # a mistake: an int
if go.done:  # a mistake: a method is always true
    pass
go.now()  # a mistake: a program has no clock
print(net.now() + 1)  # a mistake: time is a property
with net.observe(5):  # a mistake: not a function
    pass
with a.installed() as host:
    host.wait(5)  # a mistake: that is the runtime's
