"""The tools switch the trace on and off; a reload sets it to the value in the file. A reload reports READY to systemd and keeps the process."""

from scene import check, daemons, equal, host, target, wait_until

LIMIT = 120


def play():
    target.three()
    daemons.connected_to(target.THREE)
    with host.nothing_lost():
        for each in daemons.BOTH:
            pid = each.pid
            equal(each.property("tron"), False, f"tron of {each} at the start")
            equal(each.tool("tron").strip(), "tron = True", f"what the tool of {each} says of `tron`")
            equal(each.property("tron"), True, f"tron of {each} after `tron`")
            equal(each.property("log_level").upper(), "DEBUG", f"log_level of {each} while tracing")
            equal(each.tool("troff").strip(), "tron = False", f"what the tool of {each} says of `troff`")
            each.tool("tron")
            each.reload()
            wait_until(lambda: each.property("tron") is False, 5, f"tron of {each} is the file's again after a reload")
            configuration = host.read(each.conf)
            each.configure(configuration.replace("[Global]", "[Global]\ntron=true", 1))
            each.reload()
            wait_until(lambda: each.property("tron") is True, 5, f"tron of {each} follows the file")
            equal(each.pid, pid, f"the process of {each}")
        wait_until(lambda: daemons.stafd.listed_subsystems() == sorted(target.THREE), 10, "stafd lists all three", poll=0.2)
    done = host.run("systemctl", "stop", "stafd")
    done = daemons.stafd.tool("ls", check=False)
    check(done.returncode == 1 and f"Unable to communicate with {daemons.stafd}" in done.stderr,
          "without a daemon the tool says so and ends with 1", done)
