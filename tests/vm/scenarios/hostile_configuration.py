"""Invalid configuration files are reported clearly, disconnect nothing, and crash no daemon."""

from scene import check, daemons, equal, host, journal, stays, target, wait_until
from scene.daemons import stacd, stafd

LIMIT = 180
GOOD = b"controller=transport=tcp;traddr=::1;trsvcid=8009\n"
NONSENSE = (
    b"no section yet = 1\n"
    b"[Global]\nkato=NaN\nkato=-1e308\nqueue-size=99999999999999999999\ntron=perhaps\nip-family=ipv7\nreconnect-delay=\n=\n===\n"
    b"ctrl-loss-tmo=soon\n\xff\xfe\x00binary\x00=\xc3\x28\nunknown-key=1\n"
    b"[I/O controller connection management]\ndisconnect-scope=everything\ndisconnect-trtypes=tcp+smoke\nconnect-attempts-on-ncc=-7\n"
    b"[Discovery controller connection management]\nzeroconf-connections-persistence=a fortnight\n"
    b"[Nonsense]\nkey=value\n[unclosed\n[]\n]\n"
    b"[Controllers]\ncontroller=\ncontroller=;;;;\ncontroller=transport=pigeon;traddr=loft\ncontroller=transport=tcp\n"
    b"controller=transport=tcp;traddr=::1;trsvcid=http\ncontroller=transport=tcp;traddr=1.2.3.4.5;trsvcid=8009\n"
    b"controller=transport=tcp;traddr=10.0.0.1,nqn=injected;trsvcid=8009\n"
    b"controller=transport=tcp;traddr=::1;trsvcid=8009;nqn=" + b"n" * 300 + b"\n"
    b"exclude=transport=pigeon\nexclude=nqn\nexclude=;\n"
)
LONG = b"controller=transport=tcp;traddr=" + b"9" * 1_000_000 + b"\n"


def play():
    target.three()
    daemons.connected_to(target.THREE)
    pids = [each.pid for each in daemons.BOTH]
    with host.nothing_lost():
        spoil()
        for each in daemons.BOTH:
            host.run("systemctl", "reload", each.unit, check=False)
        stays(lambda: len(host.controllers()) >= 4, 5, "everything stays connected")
        equal([each.pid for each in daemons.BOTH], pids, "the processes: nobody crashed at reload")
        is_logged(stafd, "kato", "unknown-key", "Nonsense")
        is_logged(stacd, "disconnect-scope", "unknown-key", "Nonsense")

        # After a start with this file, its one valid line is in force.
        daemons.stop()
        daemons.start()
        wait_until(lambda: stafd.listed_subsystems() == sorted(target.THREE), 20, "stafd lists all three again", poll=0.2)
        stays(lambda: len(host.controllers()) >= 4, 5, "everything stays connected")
        for each in daemons.BOTH:
            equal(each.properties()["NRestarts"], "0", f"restarts of {each}")
    check(all(len(line) < 4000 for line in journal.messages()), "no message of a megabyte")

    # The same with sys.conf.
    with host.nothing_lost():
        with open("/etc/stas/sys.conf", "wb") as file:
            file.write(b"[Host]\nsymname=\xff\xff\nnonsense=1\n[Toast]\n")
        for each in daemons.BOTH:
            host.run("systemctl", "reload", each.unit, check=False)
        stays(lambda: all(each.active() for each in daemons.BOTH), 3, "both are active", poll=0.5)


def spoil():
    with open(stafd.conf, "wb") as file:
        file.write(NONSENSE + LONG + b"[Service Discovery]\nzeroconf=disabled\nzeroconf=maybe\n[Controllers]\n" + GOOD)
    with open(stacd.conf, "wb") as file:
        file.write(NONSENSE + LONG)


def is_logged(each, *words):
    """Checks that each of these words is in a message that names the file."""
    file = each.conf.rpartition("/")[2]
    for word in words:
        journal.wait_for(f"{file}.*{word}|{word}.*{file}", 10, each.name)
