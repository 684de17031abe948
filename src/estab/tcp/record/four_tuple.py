"""The four-tuple, which identifies a connection: both addresses and both ports."""

from __future__ import annotations

from mypy_extensions import i64, mypyc_attr

from estab.tcp.context import flow_text

__all__ = ["FourTuple"]


@mypyc_attr(acyclic=True, free_list_len=1)
class FourTuple:
    """Both ends of a connection. ``key`` is the same in the form that the demultiplexer's table has."""

    def __init__(self, key: bytes, local: bytes, local_port: i64, remote: bytes, remote_port: i64) -> None:
        self.key = key
        self.local = local
        self.local_port = local_port
        self.remote = remote
        self.remote_port = remote_port

    def name(self) -> str:
        """Write it as facts do."""
        return flow_text(self.local, self.local_port, self.remote, self.remote_port)
