"""``%{ Python }%`` in a script: statements about the socket under test, mostly ``assert``.

They run at their moment, all in one namespace, which holds ``TCP_INFO``'s fields as ``tcpi_…``, read just before, and
the constants that go with them. It is Python and can do what Python can: run only scripts that you trust.
"""

from __future__ import annotations

import contextlib
import io
import textwrap
from collections.abc import Mapping
from typing import Final

from estab.drill.errors import MismatchError
from estab.sockets.socket.tcp_info import FIELDS

__all__ = ["Namespace"]

_STATES: Final = (
    "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT", "CLOSE", "CLOSE_WAIT", "LAST_ACK",
    "LISTEN", "CLOSING",
)
_FREEBSD_STATES: Final = (
    "ESTABLISHED", "SYN_SENT", "SYN_RECEIVED", "FIN_WAIT_1", "FIN_WAIT_2", "TIME_WAIT", "CLOSED", "CLOSE_WAIT",
    "LAST_ACK", "LISTEN", "CLOSING",
)
"""The same in the order of Linux, by the names that scripts for FreeBSD have."""
_CONSTANTS: Final[dict[str, int]] = {
    **{f"TCP_{name}": number for number, name in enumerate(_STATES, 1)},
    **{f"TCPI_{name}": number for number, name in enumerate(_FREEBSD_STATES, 1)},
    **{f"TCP_CA_{name}": number for number, name in enumerate(("Open", "Disorder", "CWR", "Recovery", "Loss"))},
    "TCPI_OPT_TIMESTAMPS": 1, "TCPI_OPT_SACK": 2, "TCPI_OPT_WSCALE": 4, "TCPI_OPT_ECN": 8, "TCPI_OPT_ECN_SEEN": 16,
    "TCPI_OPT_SYN_DATA": 32, "TCPI_OPT_USEC_TS": 64, "TCPI_OPT_TFO_CHILD": 128, "TCP_INFINITE_SSTHRESH": 0x7FFFFFFF,
}


class Namespace:
    """The names that a script's code sees, kept from one piece to the next."""

    def __init__(self) -> None:
        self._names: dict[str, object] = dict(_CONSTANTS)

    def run(self, text: str, path: str, line: int, numbers: Mapping[str, int] | None) -> None:
        """Run one piece; ``numbers`` are the fields of TCP_INFO now.

        ``MismatchError`` if it raises: an ``assert`` shows its condition and the fields in it.
        """
        if numbers is not None:
            self._names.update(_fields(numbers))
        # packetdrill writes more code after each piece, so a piece may end in a backslash.
        source = "\n" * (line - 1) + textwrap.dedent(text).strip("\n") + "\npass\n"
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile(source, path, "exec"), self._names)
        except Exception as error:  # whatever the code raises is the script's failure
            raise MismatchError(self._told(error, text)) from None

    def _told(self, error: Exception, text: str) -> str:
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        used = [name for name in FIELDS if f"tcpi_{name}" in text]
        values = ", ".join(f"tcpi_{name} = {self._names.get('tcpi_' + name, '?')}" for name in used)
        said = f"{type(error).__name__}: {error}".rstrip(": ")
        return f"code failed: {said}{' (' + values + ')' if values else ''}"


def _fields(numbers: Mapping[str, int]) -> dict[str, object]:
    fields: dict[str, object] = {f"tcpi_{name}": number for name, number in numbers.items()}
    scales, flags = numbers["wscales"], numbers["flags"]
    fields["tcpi_snd_wscale"], fields["tcpi_rcv_wscale"] = scales & 15, scales >> 4
    fields["tcpi_delivery_rate_app_limited"], fields["tcpi_fastopen_client_fail"] = flags & 1, flags >> 1 & 3
    return fields
