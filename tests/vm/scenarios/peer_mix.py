"""stafd works with the stacd of nvme-stas, the stafd of nvme-stas works with our stacd, and the Python stafctl and stacctl of nvme-stas work with both of our daemons."""

import ast

from scene import check, daemons, equal, host, skip, target
from scene.daemons import stacd, stafd

LIMIT = 240


def play():
    if stafd.peer:
        skip("nothing of ours to mix the peer with")
    target.three()

    daemons.connected_to(target.THREE)
    for each, wanted in ((stafd, 1), (stacd, 3)):
        listed = ast.literal_eval(each.tool("ls", peers=True))
        equal(len(listed), wanted, f"controllers that the peer's tool lists from our {each}")
        check(all(entry["device"].startswith("nvme") and entry["device"] != "nvme?" for entry in listed),
              f"the peer's tool knows the devices of our {each}", listed)
        check("tron" in each.tool("status", peers=True), f"the peer's `status` works with our {each}")
    pages = ast.literal_eval(stafd.tool("adlp", peers=True))
    equal(sorted(entry["subnqn"] for page in pages for entry in page["log-pages"] if entry["subtype"] == "nvme"),
          sorted(target.THREE), "the subsystems that the peer's `stafctl adlp` lists")
    shown = ast.literal_eval(stafd.tool("dlp", "-t", "tcp", "-a", "::1", "-s", "8009", peers=True))
    check(len(shown) >= 3, "the peer's `stafctl dlp` lists three entries", shown)

    for theirs, ours in ((stacd, stafd), (stafd, stacd)):
        with host.nothing_lost():
            daemons.stop()
            stacd.peer = stafd.peer = False
            replace(theirs)
            daemons.start()
            host.wait_live(*target.THREE)
            host.wait_dc()
        works(f"our {ours} with the peer's {theirs}")


def replace(theirs):
    """Replaces one daemon by the peer's; the other daemon is ours."""
    for each in daemons.BOTH:
        path = f"{daemons.OVERRIDES}/{each.unit}"
        host.run("rm", "-f", path)
    daemons.use_peer(theirs)


def works(who):
    target.unlink(target.KLINGONS)
    host.wait_gone(target.KLINGONS, timeout=60)
    target.link(target.KLINGONS)
    host.wait_live(target.KLINGONS)
    print(f"works: {who}", flush=True)
