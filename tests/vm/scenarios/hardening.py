"""`systemd-analyze security` rates the exposure of stafd, stacd and stas-admin at 2.0 or less, and of stas-net at 1.5 or less."""

import re

from scene import Failed, host, measure

LIMIT = 90


def play():
    for unit, at_most, peer in (("stafd.service", 2.0, 8.1), ("stacd.service", 2.0, 8.1), ("stas-admin@0.service", 2.0, None), ("stas-net@0.service", 1.5, None)):
        text = host.run("systemd-analyze", "security", "--no-pager", unit)
        found = re.search(r"exposure level for \S+: ([\d.]+)", text)
        if not found:
            raise Failed(f"expected: an exposure level\n    seen: {text[-500:]}")
        print(text)
        measure(f"{unit}: exposure", float(found.group(1)), "of 10", at_most=at_most, peer=peer)
