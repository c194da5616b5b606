"""The DC of a boot table is connected through the table's interface and with its host NQN. Connections of the initramfs are never disconnected.

The firmware has two tables, and the second one is corrupt. The boot host is another one than that of /etc/nvme.
"""

import json
import re

from scene import check, daemons, equal, host, journal, network, stays, target, wait_until
from scene.daemons import stacd, stafd

LIMIT = 240
ACPI_TABLES = ("nbft.hex", "corrupt.hex")
# The content of tables/nbft.hex.
BOOT_ID = "5b3a2c10-0000-4000-8000-00000000b007"
BOOT_HOST = f"nqn.2014-08.org.nvmexpress:uuid:{BOOT_ID}"
MAC = "52:54:00:b0:07:01"
ROOT = "nqn.2014-08.org.nvmexpress:boot:root"
STRANGER = "nqn.2014-08.org.nvmexpress:scene:stranger"
# The second discovery controller of the table does not exist.
STAFD = "[Service Discovery]\nzeroconf=disabled\n[Controllers]\nexclude=traddr=2001:db8::2\n"
AUDIT = ("[I/O controller connection management]\ndisconnect-scope=all-connections-matching-disconnect-trtypes\n"
         "in-use=disconnect\n")


def play():
    check(host.hostnqn() != BOOT_HOST, "the boot host is another one than that of /etc/nvme", host.hostnqn())
    shown_for_people_and_programs()
    neighbour = network.Neighbour("target")
    cable = neighbour.cable("lan", "192.0.2.1/24", "192.0.2.2/24")
    target.lives_at(neighbour)
    with target.together():
        target.port(traddr="192.0.2.2")
        target.port(2, traddr="192.0.2.2", trsvcid="4420")
        for nqn in target.THREE:
            target.subsystem(nqn)
        for nqn in (ROOT, STRANGER):
            target.subsystem(nqn, ports=(2,))
    # One connection as the initramfs makes it, and one of another program.
    connect(ROOT, f"--hostnqn={BOOT_HOST}", f"--hostid={BOOT_ID}")
    connect(STRANGER)

    with host.nothing_lost():
        stafd.configure(STAFD)
        stacd.configure("")
        daemons.start()
        journal.wait_for(f"no interface has the address {MAC}", 10, "stafd")
        stays(lambda: not host.dcs(), 2, "no discovery controller before its interface is there")
        # The interface of the table comes up.
        host.run("ip", "link", "set", cable, "address", MAC)
        neighbour.run("ip", "neighbour", "flush", "all")
        host.wait_live(*target.THREE)
    (dc,) = host.dcs()
    equal((dc.traddr, dc.trsvcid, dc.host_iface), ("192.0.2.2", "8009", cable), "where the discovery controller is, and from where")
    for each in [dc, *(host.live(nqn)[0] for nqn in target.THREE)]:
        equal((each.hostnqn, each.attribute("hostid")), (BOOT_HOST, BOOT_ID), f"the host as which {each} is connected")
    (view,) = stafd.controllers()
    equal(view["origin"], "configured", "origin of the discovery controller")
    check(re.fullmatch("NBFT1?, discovery 1", view.get("nbft", "")), "stafd names the record", view)
    is_shown()

    # The strongest settings of an administrator.
    others = {"only": lambda each: each.nqn != STRANGER}
    with host.nothing_lost(**others):
        stacd.configure(AUDIT)
        stacd.reload()
        host.wait_gone(STRANGER, timeout=60)
        is_shown()
    with host.nothing_lost():
        stacd.configure(f"{AUDIT}[Controllers]\nexclude=nqn={ROOT}\nexclude=traddr=192.0.2.2;trsvcid=4420\n")
        stacd.reload()
        stays(lambda: host.live(ROOT), 5, "an exclusion spares what the firmware connected")
        is_shown()
        stacd.restart()
        wait_until(lambda: len(stacd.controllers()) == 4, 20, "stacd knows all four again", poll=0.2)
        stays(lambda: host.live(ROOT), 15, "a restart spares what the firmware connected")
        is_shown()
        stafd.restart()
        stays(lambda: len(host.controllers()) == 5, 5, "one discovery controller, four subsystems")
        daemons.stop()
    check(host.live(ROOT), "it is there to the end", host.picture())
    corrupt_table_was_logged_once()


def connect(nqn, *options):
    host.run("nvme", "connect", "--transport=tcp", "--traddr=192.0.2.2", "--trsvcid=4420", f"--nqn={nqn}", *options)
    host.wait_live(nqn)


def shown_for_people_and_programs():
    """Runs `stasadm nbft`, which ends with status 1 because of the corrupt table."""
    done = host.run("stasadm", "nbft", check=False)
    equal(done.returncode, 1, f"status of stasadm nbft; it said {done.stderr}")
    check("heap (128 + 1000 bytes) is not inside the table" in done.stderr, "the cause is named", done.stderr)
    for text in (BOOT_HOST, MAC, ROOT, "nvme+tcp://192.0.2.2:8009/"):
        check(text in done.stdout, f"{text} is shown", done.stdout)
    tables = json.loads(host.run("stasadm", "nbft", "-o", "json", check=False).stdout)
    good, bad = sorted(tables, key=lambda table: "error" in table)
    equal((good["host"]["nqn"], good["hfi"][0]["mac"], good["subsystem"][0]["nqn"]), (BOOT_HOST, MAC, ROOT), "the table as JSON")
    same_as_nvme_cli(good)
    check(bad["file"].startswith("/sys/firmware/acpi/tables/NBFT"), "the corrupt one is among them", bad)


def same_as_nvme_cli(table):
    """Checks that nvme-cli reads the same from the table. That of Debian 12 is too old for it."""
    if host.on_debian_12():
        return
    (other,) = json.loads(host.run("nvme", "nbft", "show", "-o", "json"))
    for ours, theirs in (
            ([table["host"]["nqn"], table["host"]["id"]], [other["host"]["nqn"], other["host"]["id"]]),
            ([table["hfi"][0][key] for key in ("index", "mac", "ip", "prefix", "gateway", "route_metric", "dhcp_server", "host_name")],
             [other["hfi"][0][key] for key in ("index", "mac_addr", "ipaddr", "subnet_mask_prefix", "gateway_ipaddr", "route_metric",
                                               "dhcp_server_ipaddr", "host_name")]),
            ([table["subsystem"][0][key] for key in ("index", "traddr", "trsvcid", "port_id", "nsid", "nqn", "hfi")],
             [other["subsystem"][0][key] for key in ("index", "traddr", "trsvcid", "subsys_port_id", "nsid", "subsys_nqn", "hfis")]),
            ([table["subsystem"][0]["extended"][key] for key in ("cntlid", "asqsz", "dhcp_root_path")],
             [other["subsystem"][0][key] for key in ("controller_id", "asqsz", "dhcp_root_path_string")])):
        equal(ours, theirs, "what nvme-cli reads from the table")


def is_shown():
    """Checks that the firmware's connections are listed, with their records."""
    def view():
        return next((each for each in stacd.controllers() if each["subsysnqn"] == ROOT), {})
    wait_until(lambda: re.fullmatch("NBFT1?, SSNS 1", view().get("nbft", "")), 15, lambda: f"stacd names the record\n    seen: {view()}", poll=0.2)
    equal((view()["connected"], view()["hostnqn"]), ("True", BOOT_HOST), "its state and its host")
    for command in (("ls", "-o", "table"), ("status", "-o", "table")):
        text = stacd.tool(*command)
        check(ROOT in text and re.search("NBFT1?, SSNS 1", text), f"stacctl {command[0]} shows it", text)


def corrupt_table_was_logged_once():
    """Checks that each daemon reports it once per start: both were started twice, and stacd was reloaded twice."""
    for each in daemons.BOTH:
        lines = journal.wait_for_all(r"heap \(128 \+ 1000 bytes\)", 2, 10, each.name)
        equal(len(lines), 2, f"lines of {each} about the corrupt table")
        check("/sys/firmware/acpi/tables/NBFT" in lines[0] and "ignored" in lines[0], "file, cause and consequence", lines[0])
