"""What all TCP sockets of one host share: its descriptors, paths, connections and ports."""

from __future__ import annotations

from mypy_extensions import i64

from estab.host.ip.paths import HostPaths
from estab.host.sockets.demux import Demux
from estab.host.sockets.files import Files
from estab.host.sockets.ports import Binding, FlowTable, Ports
from estab.tcp.context import Context
from estab.wire.tcp import make_key

__all__ = ["StreamTables"]


class StreamTables(FlowTable):
    """What all TCP sockets of one host share."""

    def __init__(self, context: Context, files: Files, paths: HostPaths, demux: Demux, ports: Ports) -> None:
        self.context: Context = context
        self.files: Files = files
        self.paths: HostPaths = paths
        self.demux: Demux = demux
        self.ports: Ports = ports

    def is_flow_taken(self, local: bytes, local_port: i64, remote: bytes, remote_port: i64) -> bool:
        """Tell whether a connection, or a TIME-WAIT record that may not be reused, has this four-tuple."""
        return not self.demux.may_reuse(make_key(remote, local, remote_port, local_port), self.context.now_ns)

    def is_in_use(self, binding: Binding) -> bool:
        """Tell whether a connection or TIME-WAIT record lives on a binding whose socket is closed."""
        if binding.flow_key:
            return binding.flow_key in self.demux.table
        return self.demux.port_users.has(binding.port)

    def freed_count(self) -> i64:
        """How many four-tuples have been freed so far; -1 while a TIME-WAIT record may become reusable."""
        return self.demux.freed_count if self.demux.time_wait_count == 0 else -1
