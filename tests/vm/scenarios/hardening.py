"""`systemd-analyze security` rates the exposure of each daemon at 3.0 or less."""

import re

from scene import Failed, daemons, host, measure

LIMIT = 90


def play():
    for each in daemons.BOTH:
        text = host.run("systemd-analyze", "security", "--no-pager", each.unit)
        found = re.search(r"exposure level for \S+: ([\d.]+)", text)
        if not found:
            raise Failed(f"expected: an exposure level\n    seen: {text[-500:]}")
        print(text)
        measure(f"{each}: exposure", float(found.group(1)), "of 10", at_most=3.0, peer=8.1)
