"""With secrets configured and in use, an unprivileged user finds none of them on D-Bus, in the journal, in files, in /proc or in /sys."""

from scene import check, daemons, host, journal, target, wait_until
from scene.daemons import stacd, stafd

LIMIT = 150
NQN = "nqn.2014-08.org.nvmexpress:scene:guarded"
USER = "tester"
MARK = "DHHC-1"


def play():
    key = host.run("nvme", "gen-dhchap-key", "--hmac=1").strip()
    ctrl_key = host.run("nvme", "gen-dhchap-key", "--hmac=1").strip()
    target.port()
    target.subsystem(NQN)
    target.only_for(NQN, host.hostnqn(), key, ctrl_key)
    with open("/etc/nvme/hostkey", "w") as file:
        file.write(key + "\n")
    host.run("chmod", "600", "/etc/nvme/hostkey")
    with open("/etc/stas/sys.conf", "w") as file:
        file.write("[Host]\nkey=file:///etc/nvme/hostkey\n")
    secrets = f"dhchap-secret={key};dhchap-ctrl-secret={ctrl_key}"
    broken = key[:-6] + "AAAA=:"
    daemons.configure()
    stafd.configure(host.read(stafd.conf) + f"\ncontroller=transport=tcp;traddr=127.0.0.1;trsvcid=8009;dhchap-secret={key}\n", 0o600)
    stacd.configure("[Controllers]\n"
                    f"controller=transport=tcp;traddr=::1;trsvcid=8009;nqn={NQN};{secrets}\n"
                    f"controller=transport=tcp;traddr=::1;trsvcid=8009;nqn={NQN}-2;dhchap-secret={broken}\n"
                    f"controller=transport=tcp;traddr=::1;trsvcid=8009;nqn={NQN}-3;dhchap-secret={key};nonsense={key}\n", 0o600)
    daemons.start()
    host.wait_live(NQN)
    check(any(host.read(f"/sys/class/nvme/{each.device}/dhchap_secret").startswith(MARK) for each in host.live(NQN)),
          "the secret is in use (root sees it in sysfs)")
    host.wait_dc()

    seen = list(what_a_user_sees())
    # The kernel shows the secrets of a new controller to everyone until a daemon hides them. Running daemons would keep
    # retrying NQN-3, and each attempt creates such a controller.
    daemons.stop()
    wait_until(lambda: host.live(NQN) and all(each.state == "live" for each in host.controllers()), 20,
               lambda: f"only live controllers, one of them with secrets\n{host.picture()}")
    seen += files("/sys/class/nvme", "/sys/devices/virtual/nvme-fabrics")
    found = [f"{place}: …{line[max(0, line.index(MARK) - 60):line.index(MARK) + 20]}…"
             for place, text in seen for line in text.splitlines() if MARK in line]
    check(not found, "no secret anywhere", "\n          ".join(found[:20]) + f"\n          ({len(found)} in all)")


def what_a_user_sees():
    """Returns (place, text) for each place while the daemons run."""
    for each in daemons.BOTH:
        yield from answers(each)
        for words in (("ls",), ("ls", "-d"), ("status",)) + ((("adlp", "-d"),) if each is stafd else ()):
            done = each.tool(*words, user=USER, check=False)
            yield f"{each}'s tool, {words}", done.stdout + done.stderr
    yield "journal", journal.text() + "\n" + journal.kernel()
    yield "journal with its fields", "\n".join(str(entry) for entry in journal.entries())
    yield from files("/run", "/etc", "/var/cache", "/var/lib/systemd", "/tmp")
    # The brackets keep grep from finding its own command line.
    pattern = f"[{MARK[0]}]{MARK[1:]}"
    yield "/proc", host.run("sh", "-c", f"grep -asH '{pattern}' /proc/[0-9]*/cmdline /proc/[0-9]*/environ || true",
                            user=USER).replace("\0", " ")


def files(*places):
    """The lines of files below these places. A file that may not be read is as it should be."""
    for place in places:
        # The slash: a place may be a link.
        yield place, host.run("grep", "-rsI", MARK, place + "/", user=USER, check=False, timeout=120).stdout


def answers(each):
    """Every method that answers without changing anything, and every property."""
    def ask(method, *arguments, interface=None):
        done = each.call(method, *arguments, interface=interface, user=USER, check=False)
        return f"{each}: {method} {arguments}", done.stdout + done.stderr

    yield ask("Introspect", interface="org.freedesktop.DBus.Introspectable")
    for interface in (each.bus, f"{each.bus}.debug"):
        yield ask("GetAll", "s", interface, interface="org.freedesktop.DBus.Properties")
    yield ask("process_info", interface=f"{each.bus}.debug")
    for detailed in ("true", "false"):
        yield ask("list_controllers", "b", detailed)
        if each is stafd:
            yield ask("get_all_log_pages", "b", detailed)
    for entry in each.controllers():
        names = [entry.get(key, "") for key in ("transport", "traddr", "trsvcid", "subsysnqn", "host-traddr", "host-iface", "host-nqn")]
        yield ask("controller_info", "sssssss", *names, interface=f"{each.bus}.debug")
        if each is stafd:
            yield ask("get_log_pages", "sssssss", *names)
    if each is stafd:
        yield ask("list_removed_controllers")
