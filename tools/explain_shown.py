"""Writes ``src/estab/explain/shown.py``: which scene of the lab shows each word, found by playing all of them."""

from __future__ import annotations

import sys
from pathlib import Path

from estab.cli.scenes import SCENES, play, shown_by
from estab.explain.table import terms

PATH = Path(__file__).resolve().parent.parent / "src" / "estab" / "explain" / "shown.py"
HEAD = '''"""Which scene of the lab shows a word, by ``kind:name``: written by ``tools/explain_shown.py``."""

from __future__ import annotations

from typing import Final

__all__ = ["SHOWN"]

'''


PREFERRED = {
    "state:CLOSE-WAIT": "close-wait", "state:FIN-WAIT-2": "close-wait", "state:TIME-WAIT": "time-wait",
    "state:ESTABLISHED": "exchange", "state:SYN-RECEIVED": "syn-queue", "state:SYN-SENT": "no-answer",
    "state:LISTEN": "accept-queue", "state:CLOSING": "both-close", "state:LAST-ACK": "exchange",
    "state:FIN-WAIT-1": "exchange", "errno:ETIMEDOUT": "cable", "errno:ECONNRESET": "reset-unread",
    "errno:EPIPE": "after-close", "errno:ECONNREFUSED": "refused", "counter:TcpExtTCPTimeouts": "cable",
    "counter:TcpRetransSegs": "loss", "counter:TcpExtDelayedACKs": "exchange", "counter:TcpOutRsts": "refused",
}
"""Words that many scenes show, with the one that is about them."""


def main() -> int:
    """Play every scene, and give each word the scene that shows the fewest other words."""
    known = {f"{kind}:{name}" for kind, name in terms()}
    by_scene = {name: {word for word in shown_by(play(scene)) if word in known} for name, scene in SCENES.items()}
    chosen: dict[str, str] = {}
    for name in sorted(by_scene, key=lambda name: len(by_scene[name])):
        for word in by_scene[name]:
            chosen.setdefault(word, name)
    chosen.update({word: name for word, name in PREFERRED.items() if word in by_scene[name]})
    rows = "".join(f'    "{word}": "{chosen[word]}",\n' for word in sorted(chosen))
    text = f"{HEAD}SHOWN: Final[dict[str, str]] = {{\n{rows}}}\n"
    if sys.argv[1:] == ["--stdout"]:
        sys.stdout.write(text)
        return 0
    PATH.write_text(text, encoding="utf-8")
    print(f"{len(chosen)} of {len(known)} words have a scene")
    return 0


if __name__ == "__main__":
    sys.exit(main())
