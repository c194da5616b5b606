"""A machine mounts NVMe-oF storage from /etc/fstab at each boot, and unmounts it before its connection goes. A boot without the storage is not blocked."""

import math

from scene import appliance, check, equal, note, target, wait_until
from scene.wait import PATIENCE

LIMIT = 1200
TARGET_MACHINE = True
COVERAGE = False
# Here the roles are reversed: this machine exports the storage, the other one uses it and reboots.
HERE, THERE = "192.0.2.1", "192.0.2.2"
DISK = "nqn.2014-08.org.nvmexpress:scene:disk"
FOLDER = "/srv/storage"
MOUNT = "srv-storage.mount"
# Seconds for which a boot waits for the storage.
WAIT = math.ceil(60 * PATIENCE)
FSTAB = f"LABEL=scene {FOLDER} ext4 _netdev,nofail,x-systemd.device-timeout={WAIT} 0 2"
UNITS = "/etc/systemd/system"
JOURNAL = "/etc/systemd/journald.conf.d/zz-scene.conf"
# The network of the other machine: it ends after the file systems that need it.
WIRE = f"""[Unit]
Wants=sys-subsystem-net-devices-{appliance.IFACE}.device
After=sys-subsystem-net-devices-{appliance.IFACE}.device
Before=network.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=ip address replace {THERE}/24 dev {appliance.IFACE}
ExecStart=ip link set {appliance.IFACE} up
ExecStop=ip link set {appliance.IFACE} down
[Install]
WantedBy=multi-user.target
"""
# A service that needs the file system, from its start to its end.
USER = f"""[Unit]
RequiresMountsFor={FOLDER}
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=sh -c 'echo started >>{FOLDER}/log'
ExecStop=sh -c 'echo stopped >>{FOLDER}/log'
[Install]
WantedBy=multi-user.target
"""
# A service that waits for the storage as stacctl(1) describes it.
WAITER = f"""[Unit]
Wants=stacd.service
After=stacd.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=stacctl wait --timeout {WAIT} {DISK}
[Install]
WantedBy=multi-user.target
"""
SERVICES = {"scene-wire": WIRE, "scene-user": USER, "scene-waiter": WAITER}


def play():
    try:
        set_up()
        with_storage()
        without_storage()
    except BaseException:
        print(there("systemctl --failed; journalctl --boot=0 --no-pager --lines=200 --output=short-monotonic", check=False))
        raise
    finally:
        restore()


def with_storage():
    note(f"rebooted in {appliance.reboot():.0f} s")
    (source, kind), = mounted()
    check(source.startswith("/dev/nvme") and kind == "ext4", "the storage is mounted after the boot", (source, kind))
    for name in (*SERVICES, "stafd", "stacd"):
        equal(state(name), "active", name)
    equal(log(), ["started", "stopped", "started"], "what the service has written")
    unmounted_first()


def unmounted_first():
    """The shutdown of the boot before."""
    lines = there("journalctl --boot=-1 --no-pager --output=cat _PID=1 + _TRANSPORT=kernel").splitlines()

    def place(*words):
        found = [number for number, line in enumerate(lines) if all(word in line for word in words)]
        check(found, f"the journal of the boot before has a line with {words}", "\n".join(lines[-60:]))
        return found[-1]

    order = [place("Stopped", "scene-user"), place("Unmounted", MOUNT), place("Stopped", "stacd"), place("Stopped", "scene-wire")]
    check(order == sorted(order), "the service, its file system, the daemon and the network end in this order",
          "\n".join(lines[min(order):max(order) + 1]))
    lost = [line for line in lines if "I/O error" in line or "EXT4-fs error" in line or "starting error recovery" in line]
    check(not lost, "no connection is lost before the file system is unmounted", lost)
    kernel = there("journalctl --boot=0 --no-pager --dmesg --output=cat")
    check("recovery complete" not in kernel, "the file system was unmounted in order", kernel[-2000:])


def without_storage():
    # Otherwise the shutdown would wait for the storage, which the kernel reconnects for ten minutes.
    there(f"systemctl stop scene-user {MOUNT}")
    target.remove_port()
    note(f"rebooted without the storage in {appliance.reboot():.0f} s")
    equal(mounted(), [], "nothing is mounted")
    equal((state("multi-user.target"), state("stafd"), state("stacd")), ("active",) * 3, "the machine and both daemons run")
    export()
    there(f"stacctl wait --timeout {2 * WAIT} {DISK}", timeout=180)
    there("systemctl start scene-user")
    equal(log(), ["started", "stopped", "started", "stopped", "started"], "nothing that was written is lost")


def export():
    target.port(traddr=HERE, trsvcid="4420")
    target.subsystem(DISK, keeps=True)


def set_up():
    appliance.connect(target=f"{THERE}/24", host=f"{HERE}/24")
    export()
    for name, text in SERVICES.items():
        appliance.write(f"{UNITS}/{name}.service", text)
    appliance.write(JOURNAL, "[Journal]\nStorage=persistent\n")
    appliance.write("/etc/stas/stafd.conf", "[Service Discovery]\nzeroconf=disabled\n[Controllers]\n"
                    f"controller=transport=tcp;traddr={HERE};trsvcid=4420\n")
    there("systemctl restart systemd-journald && journalctl --flush && systemctl daemon-reload && systemctl enable --now stafd stacd")
    there(f"stacctl wait --timeout {2 * WAIT} {DISK}", timeout=180)
    disk, _ = wait_until(lambda: there("ls /dev/nvme*n1", check=False).strip(), 30, "its disk is there")
    there(f"mkfs.ext4 -q -L scene {disk} && mkdir -p {FOLDER} && echo '{FSTAB}' >>/etc/fstab && systemctl daemon-reload")
    wait_until(lambda: there("ls /dev/disk/by-label/scene", check=False).startswith("/dev"), 30, "udev has found its label")
    there(f"systemctl enable --now {' '.join(SERVICES)}", timeout=180)
    equal(log(), ["started"], "what the service has written")


def restore():
    names = " ".join(SERVICES)
    there(f"systemctl disable --now scene-user scene-waiter stafd stacd; systemctl stop {MOUNT}; nvme disconnect -n {DISK}; "
          f"systemctl disable --now scene-wire; sed -i '/^LABEL=scene /d' /etc/fstab; cd {UNITS} && for each in {names}; do rm $each.service; done; "
          f"rm -rf {JOURNAL} /var/log/journal {FOLDER}; systemctl restart systemd-journald; systemctl daemon-reload; systemctl reset-failed",
          check=False, timeout=180)


def mounted():
    """The source and the type of the file system there."""
    return [tuple(line.split()) for line in there(f"findmnt --noheadings --output=SOURCE,FSTYPE {FOLDER}", check=False).splitlines()]


def log():
    return there(f"cat {FOLDER}/log").split()


def state(unit):
    return there(f"systemctl is-active {unit}", check=False).strip()


def there(line, **how):
    return appliance.run("sh", "-c", line, **how)
