"""Invalid D-Bus calls of any user are answered or refused. No connection is lost, no daemon crashes, and only root can set a property."""

import concurrent.futures

from scene import check, daemons, equal, host, target
from scene.daemons import stacd, stafd

LIMIT = 180
USER = "tester"
ROOT_NAME = "org.nvmexpress.staf.root"
STRINGS = ("", "x", "nvme0", "../../etc/shadow", "%n%s", "\N{PILE OF POO}", "a,b=c", "\n", "A" * 60000)


def play():
    target.three()
    daemons.connected_to(target.THREE)
    pids = [each.pid for each in daemons.BOTH]
    with host.nothing_lost():
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            for each in daemons.BOTH:
                list(pool.map(lambda words: each.call(*words[0], interface=words[1], user=USER, check=False), nonsense(each)))
        for each in daemons.BOTH:
            for name, kind, value in (("tron", "b", "true"), ("tron", "s", "true"), ("log_level", "s", "DEBUG"), ("none", "s", "")):
                done = each.set_property(name, kind, value, user=USER)
                check(done.returncode, f"a user cannot set {name} of {each}", done.stdout)
            check(each.set_property("log_level", "s", "DEBUG").returncode, f"log_level of {each} is read-only")
            equal(each.property("tron"), False, f"tron of {each}")
        # The bus refuses methods that only root may call: the daemons do not see the arguments.
        for each, member, interface, arguments in (
            (stafd, "get_published_pages", None, ("a(sssssss)", 0)),
            *((each, "plan_reload", f"{each.bus}.debug", ("sa{sas}", "", 0)) for each in daemons.BOTH),
        ):
            done = each.call(member, *arguments, interface=interface, user=USER, check=False)
            check(done.returncode and "denied" in done.stderr, f"a user cannot call {member} of {each}", done.stderr)
        # Only root may call this name.
        done = host.run("busctl", "call", ROOT_NAME, stafd.path, stafd.bus, "refresh_log_pages", "sssssss", *[""] * 7, user=USER, check=False)
        check(done.returncode and "denied" in done.stderr, f"a user cannot call {ROOT_NAME}", done.stderr)
        # No other user may own the names.
        for name in (stafd.bus, stacd.bus, ROOT_NAME):
            done = host.run("busctl", "call", "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "RequestName",
                            "su", name, "4", user=USER, check=False)
            check(done.returncode, f"a user cannot own {name}", done.stdout)
        equal([each.pid for each in daemons.BOTH], pids, "the processes: nobody crashed")
        equal(stafd.listed_subsystems(), sorted(target.THREE), "the subsystems that stafd lists")
        equal(len(stacd.controllers()), 3, "the controllers that stacd lists")
    # The answer for an unknown controller is empty.
    unknown = ("sssssss", "tcp", "192.0.2.9", "8009", "nqn.none", "", "", "")
    equal(stafd.call("get_log_pages", *unknown), [], "the log page of an unknown controller")
    for each in daemons.BOTH:
        equal(each.call("controller_info", *unknown, interface=f"{each.bus}.debug"), "{}", f"an unknown controller of {each}")


def nonsense(each):
    """Returns ((method, signature, arguments …), interface)."""
    debug = f"{each.bus}.debug"
    for text in STRINGS:
        yield ("controller_info", "sssssss", *[text] * 7), debug
        yield (("get_log_pages", "sssssss", *[text] * 7) if each is stafd else ("list_controllers", "s", text)), None
    yield ("controller_info", "s", "one"), debug
    yield ("list_controllers", "i", "-1"), None
    yield ("list_controllers",), None
    yield ("no_such_method", "s", "x"), None
    yield ("list_controllers", "b", "true"), "no.such.Interface"
    yield ("Set", "ssv", debug, "tron", "b", "true"), "org.freedesktop.DBus.Properties"
    yield ("Get", "ss", "no.such", "thing"), "org.freedesktop.DBus.Properties"
