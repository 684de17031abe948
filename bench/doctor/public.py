"""The doctor on public captures whose truth people have written down; tshark's expert information beside it.

``python -m bench.doctor.public FOLDER [--page FILE]``: FOLDER holds the files, fetched from their repositories. Nothing
of them is kept here: only where they are, and what is true of them.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

from bench.doctor.score import put_between
from estab.doctor.captures import diagnose_capture

ROWS = (
    ("chrissanders/packets", "tcp_retransmissions.pcapng", "peer fell silent", ("path-silent",)),
    ("chrissanders/packets", "tcp_dupack.pcapng", "loss, found by SACK", ("loss",)),
    ("chrissanders/packets", "tcp_zerowindowrecovery.pcapng", "window closed for 10 ms", ("window-limited",)),
    ("chrissanders/packets", "tcp_zerowindowdead.pcapng", "receiver never reads", ("peer-not-reading",)),
    ("chrissanders/packets", "nowebaccess2.pcapng", "refused", ("refused",)),
    ("chrissanders/packets", "nowebaccess3.pcapng", "SYN unanswered", ("syn-unanswered",)),
    ("chrissanders/packets", "http_espn_fail.pcapng", "SYNs to one server unanswered", ("syn-unanswered",)),
    ("chrissanders/packets", "latency2.pcapng", "long path", ("long-path",)),
    ("chrissanders/packets", "latency4.pcapng", "slow server", ("slow-server",)),
    ("chrissanders/packets", "synscan.pcapng", "port scan", ("scan",)),
    ("zeek/zeek", "testing/btest/Traces/http/206_example_b.pcap", "window closed and overrun; then the client is gone",
     ("window-limited", "path-silent")),
    ("the-tcpdump-group/tcpdump", "tests/of10_pf5240.pcap", "Nagle against delayed ACK", ("nagle-delayed-ack",)),
    ("zeek/zeek", "testing/btest/Traces/tcp/ssh-dups.pcap", "each packet four times; one Nagle stall",
     ("captured-twice", "nagle-delayed-ack")),
    ("zeek/zeek", "testing/btest/Traces/ftp/bigtransfer.pcap", "capture lost packets", ("capture-dropped",)),
    ("zeek/zeek", "testing/btest/Traces/vlan-collisions.pcap", "VLANs share a four-tuple", ("vlan-collision",)),
    ("zeek/zeek", "testing/btest/Traces/tcp/retransmit-fast009.pcap", "loss, found by SACK", ("loss",)),
    ("zeek/zeek", "testing/btest/Traces/tcp/qi_internet_SYNACK_curl_jsonip.pcap", "injected answer", ("injected",)),
    ("zeek/zeek", "testing/btest/Traces/tcp/fin_retransmission.pcap", "client gave up while connecting",
     ("closed-while-connecting",)),
    ("zeek/zeek", "testing/btest/Traces/tcp/ctu-64702-888.pcap", "each frame twice; FIN overtakes text",
     ("captured-twice", "reordering")),
    ("OISF/suricata-verify", "tests/tcp-empty-sack/tcp-opt.pcap", "one loss, one needless repetition; FIN unanswered",
     ("loss", "spurious-retransmission", "close-unanswered")),
)
"""Repository, path, what is true, and the causes that say it."""
_QUIET = ("Connection establish", "Connection finish", "initiates the connection closing",
          "undergoes the connection closing", "common at capture start")


def main() -> int:
    """Diagnose all, and tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--page")
    options = parser.parse_args()
    lines = ["| capture | true | estab doctor says | tshark's expert information says |", "|---|---|---|---|"]
    named = 0
    total = 0
    for repository, path, truth, causes in ROWS:
        file = options.folder / Path(path).name
        said = Counter(finding.name for finding in diagnose_capture(file).findings)
        words = ", ".join(f"**`{name}`**" if name in causes else f"`{name}`" for name in said)
        named += sum(name in said for name in causes)
        total += len(causes)
        missing = [name for name in causes if name not in said]
        words += f" (missing: {', '.join(missing)})" if missing else ""
        lines.append(f"| {repository} `{Path(path).name}` | {truth} | {words} | {_expert(file)} |")
    text = "\n".join(lines) + f"\n\n{named} of {total} causes named, in {len(ROWS)} captures."
    print(text)
    if options.page:
        put_between(options.page, "public", text)
    return 0


def _expert(file: Path) -> str:
    """Give what tshark finds worth a warning or a note, without what belongs to every connection."""
    tshark = shutil.which("tshark")
    if tshark is None:
        return "(tshark is not installed)"
    done = subprocess.run([tshark, "-r", str(file), "-q", "-z", "expert"], capture_output=True, text=True, check=True)
    found = []
    for line in done.stdout.splitlines():
        words = line.split(None, 3)
        if len(words) == 4 and words[0].isdigit() and words[2] == "TCP" and not any(one in words[3] for one in _QUIET):
            found.append(f"{words[3].replace('This frame is a (suspected) ', '').strip()} {words[0]}")
    return "; ".join(found) or "–"


if __name__ == "__main__":
    sys.exit(main())
