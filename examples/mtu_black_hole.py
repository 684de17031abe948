"""Through the VPN, logging in works and the first large page hangs: packets over 1400 bytes vanish in the tunnel.

The tunnel's gateway says so by ICMP, but a firewall before the server drops ICMP. Handshakes and small answers fit, so
everything looks well. ``tcp_mtu_probing=1`` finds it out by itself; a smaller ``TCP_MAXSEG`` avoids it.
"""

from __future__ import annotations

import socket

import estab

ICMP = 1


def fetch(size: int, has_icmp: bool = False, probing: int = 0, mss: int = 0) -> str:
    """Fetch so many bytes from a server behind the tunnel."""
    with estab.Network(seed=1) as net:
        laptop, server = net.host("laptop"), net.host("server")
        near, far = net.host("near", forwarding=True), net.host("far", forwarding=True)
        net.link(laptop, near, delay="5ms")
        net.link(near, far, delay="10ms", mtu=1400)
        inside = net.link(far, server, delay="1ms")
        if not has_icmp:
            inside.rule(lambda sender, frame: frame[9] == ICMP)
        server.sysctl["net.ipv4.tcp_mtu_probing"] = probing

        @server.run
        def serve() -> None:
            with socket.create_server(("", 80)) as listener:
                if mss:
                    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, mss)
                with listener.accept()[0] as sock:
                    sock.sendall(b"x" * size)

        @laptop.run
        def load() -> str:
            with socket.create_connection(("server", 80), timeout=30) as sock, sock.makefile("rb") as stream:
                try:
                    return f"{len(stream.read())} bytes after {net.now:.2f} s"
                except TimeoutError:
                    return "nothing more for 30 s"

        net.run(until=120)
        return load.result()


def main() -> None:
    """Print a line for each case."""
    print(f"1 kB                     {fetch(1000)}")
    print(f"100 kB                   {fetch(100_000)}")
    print(f"100 kB, ICMP passes      {fetch(100_000, has_icmp=True)}")
    print(f"100 kB, mtu_probing=1    {fetch(100_000, probing=1)}")
    print(f"100 kB, TCP_MAXSEG=1340  {fetch(100_000, mss=1340)}")


if __name__ == "__main__":
    main()
