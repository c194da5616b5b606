"""`systemd-analyze security` rates the exposure of each daemon at 3.0 or less, and that of stas-net at 1.5 or less."""

import re

from scene import Failed, daemons, host, measure

LIMIT = 90


def play():
    for unit, at_most, peer in (*[(each.unit, 3.0, 8.1) for each in daemons.BOTH], ("stas-net@0.service", 1.5, None)):
        text = host.run("systemd-analyze", "security", "--no-pager", unit)
        found = re.search(r"exposure level for \S+: ([\d.]+)", text)
        if not found:
            raise Failed(f"expected: an exposure level\n    seen: {text[-500:]}")
        print(text)
        measure(f"{unit}: exposure", float(found.group(1)), "of 10", at_most=at_most, peer=peer)
