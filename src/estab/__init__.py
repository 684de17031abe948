"""estab: a TCP/IP stack in user space with the Berkeley sockets API."""

from estab._version import __version__

__all__ = ["__version__"]
