#!/usr/bin/env python3
"""The command line of nvme-stas 2.x's nvmet.py, for the program nvmet.

    ./nvmet.py create [-f FILE] | ls | link -p PORT -s NQN | unlink -p PORT -s NQN | clean

With -d, commands that change the target print their steps only. Other options are passed to nvmet. FILE (default
./nvmet.conf) may also have the format of 2.x, a Python dictionary.
"""

import argparse
import ast
import json
import os
import pathlib
import shutil
import subprocess
import sys

BUILT = pathlib.Path(__file__).resolve().parents[2] / "target/release/nvmet"


def main():
    options, others = parse()
    program = shutil.which("nvmet") or (str(BUILT) if BUILT.exists() else sys.exit("nvmet.py: nvmet is neither installed nor built: run `make install`"))
    command = [program, options.command, *others]
    if getattr(options, "dry_run", False):
        command.append("--dry-run")
    if options.command in ("link", "unlink"):
        command += ["--port", options.port, "--subsystem", options.subnqn]
    if options.command != "create":
        os.execv(program, command)
    converted = converted_text(options.conf_file)
    if converted is None:
        os.execv(program, [*command, "--file", options.conf_file])
    sys.exit(subprocess.run([*command, "--file", "/dev/stdin"], input=converted, text=True).returncode)


def parse():
    parser = argparse.ArgumentParser(description="Configure the Linux kernel's NVMe-oF target", epilog="`nvmet --help` lists all options.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    create = commands.add_parser("create", help="create the target that FILE describes")
    create.add_argument("-f", "--conf-file", metavar="FILE", default="./nvmet.conf", help="default: %(default)s")
    commands.add_parser("ls", help="show ports and subsystems")
    link = commands.add_parser("link", help="export a subsystem on a port")
    unlink = commands.add_parser("unlink", help="stop exporting a subsystem on a port")
    for command in (link, unlink):
        command.add_argument("-p", "--port", required=True)
        command.add_argument("-s", "--subnqn", required=True, metavar="NQN")
    clean = commands.add_parser("clean", help="remove everything that create has made")
    for command in (create, link, unlink, clean):
        command.add_argument("-d", "--dry-run", action="store_true", help="print the steps only")
    return parser.parse_known_args()


def converted_text(path):
    """Returns a file of 2.x as TOML, or None if the file has another format."""
    try:
        text = pathlib.Path(path).read_text()
    except OSError as error:
        sys.exit(f"nvmet.py: {path}: {error.strerror}")
    try:
        old = ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return None
    if not isinstance(old, dict):
        return None
    try:
        return toml(old)
    except (AttributeError, KeyError, TypeError) as error:
        sys.exit(f"nvmet.py: {path} is not a configuration of nvme-stas 2.x: {type(error).__name__}: {error}")


def toml(old):
    # In 2.x all namespaces are /dev/nullb0, which stores no data.
    lines = ["[null_blk]", "shared = true"]
    for port in old["ports"]:
        lines += ["[[port]]", f"id = {port['id']}", *address(port)]
        for index, referral in enumerate(port.get("referrals", [])):
            lines += ["[[port.referral]]", f"name = {quoted(referral.get('name', index))}", *address(referral),
                      f"port_id = {referral.get('portid', 0)}"]
    hosts = {}
    for subsystem in old["subsystems"]:
        lines += ["[[subsystem]]", f"nqn = {quoted(subsystem['subsysnqn'])}", f"ports = [{subsystem['port']}]"]
        if subsystem.get("allowed_hosts"):
            hosts.update((host["nqn"], host) for host in subsystem["allowed_hosts"])
            lines.append(f"allowed_hosts = [{', '.join(quoted(host['nqn']) for host in subsystem['allowed_hosts'])}]")
        for namespace in subsystem["namespaces"]:
            lines += ["[[subsystem.namespace]]", f"id = {namespace}"]
    for nqn, host in hosts.items():
        lines += ["[[host]]", f"nqn = {quoted(nqn)}"]
        lines += [f"dhchap_key = {quoted(host['key'])}"] if host.get("key") else []
    return "\n".join(lines) + "\n"


def address(port):
    lines = [f"transport = {quoted(port['trtype'])}"]
    if port.get("traddr"):
        lines.append(f"traddr = {quoted(port['traddr'])}")
    if port.get("trsvcid") and port["trtype"] in ("tcp", "rdma"):
        lines.append(f"trsvcid = {int(port['trsvcid'])}")
    return lines


def quoted(value):
    """A JSON string is also a TOML string."""
    return json.dumps(str(value))


if __name__ == "__main__":
    main()
