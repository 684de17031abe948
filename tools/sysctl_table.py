"""Print the table of docs/sysctls.md from the code: ``python tools/sysctl_table.py``."""

from __future__ import annotations

from estab.host.engine import Engine
from estab.host.sysctls import TABLE


def table() -> str:
    """Write a row for each sysctl of Linux: name, default, unit, effect."""
    sysctl = Engine("docs", bytes(16)).sysctl
    rows = ["| name | default | unit | effect |", "|---|---|---|---|"]
    for row in sorted(TABLE, key=lambda row: row.name):
        value = sysctl.text(row.name).replace("\t", " ")
        rows.append(f"| `{row.name}` | {value} | {row.unit} | {row.effect} |")
    return "\n".join(rows)


def own_table() -> str:
    """Write a row for each setting that Linux does not have."""
    sysctl = Engine("docs", bytes(16)).sysctl
    rows = ["| name | default |", "|---|---|"]
    for name in sysctl:
        if name.startswith("estab."):
            rows.append(f"| `{name}` | {sysctl.text(name)} |".replace("\t", " "))
    return "\n".join(rows)


if __name__ == "__main__":
    print(table(), own_table(), sep="\n\n")
