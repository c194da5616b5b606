//! The units and bus policies: accepted by systemd and D-Bus, hardened, and not so far that it hurts.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;
use tree::{files, read, top};

const DAEMONS: [&str; 2] = ["stafd", "stacd"];

/// Highest exposure, in the tenths of `systemd-analyze`.
const EXPOSURE: [(&str, &str); 4] = [
    ("stafd", "--threshold=20"),
    ("stacd", "--threshold=20"),
    ("stas-net@", "--threshold=13"),
    ("stas-admin@", "--threshold=20"),
];

fn unit(daemon: &str) -> String {
    read(format!("systemd/{daemon}.service"))
}

/// The values of a key, in order.
fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    unit.lines()
        .filter_map(|line| line.split_once('='))
        .filter(|(name, _)| *name == key)
        .map(|(_, value)| value)
        .collect()
}

fn systemd_analyze(arguments: &[&str]) -> (bool, String) {
    let run = Command::new("systemd-analyze").args(arguments).env("SYSTEMD_COLORS", "0").output();
    let output = run.unwrap_or_else(|error| panic!("systemd-analyze (package systemd): {error}"));
    (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

/// The units in a folder, with programs that exist.
fn units_with_programs() -> TempDir {
    let folder = TempDir::new().unwrap();
    let program = folder.path().join("program");
    fs::write(&program, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    for path in files("systemd") {
        let text = read(&path);
        let text = text.lines().map(|line| match line.strip_prefix("ExecStart=") {
            Some(command) => {
                let options = command.split_once(' ').map_or("", |(_, options)| options);
                format!("ExecStart={} {options}\n", program.display())
            }
            None => format!("{line}\n").replace("/usr/lib/nvme-stas/stas-udev-rule", &program.display().to_string()),
        });
        fs::write(folder.path().join(path.file_name().unwrap()), text.collect::<String>()).unwrap();
    }
    folder
}

#[test]
fn systemd_accepts_every_unit() {
    let folder = units_with_programs();
    let instances = [
        ("stas-config@.service", "stas-config@hostnqn.service"),
        ("stas-admin@.service", "stas-admin@0.service"),
        ("stas-in-use@.service", "stas-in-use@0.service"),
        ("stas-alert-down@.service", "stas-alert-down@klingons.service"),
        ("stas-alert-up@.service", "stas-alert-up@klingons.service"),
        ("stas-net@.service", "stas-net@0.service"),
    ];
    for (template, instance) in instances {
        fs::copy(folder.path().join(template), folder.path().join(instance)).unwrap();
    }
    let units = [
        "stafd.service",
        "stacd.service",
        "stas-config.target",
        "stas-admin.socket",
        "stas-in-use.socket",
        "stas-net.socket",
        "stas-metrics.timer",
        "stas-metrics.service",
        "stas-alert.service",
    ];
    for name in units.into_iter().chain(instances.map(|(_, instance)| instance)) {
        let (accepted, said) = systemd_analyze(&["verify", "--man=no", &folder.path().join(name).to_string_lossy()]);
        let ours =
            ["stafd", "stacd", "stas-config", "stas-admin", "stas-in-use", "stas-net", "stas-metrics", "stas-alert"];
        let complaints = said.lines().filter(|line| ours.iter().any(|unit| line.contains(unit))).count();
        assert!(accepted && complaints == 0, "{name}: {said}");
    }
}

#[test]
fn each_service_is_exposed_no_more_than_its_limit() {
    for (service, limit) in EXPOSURE {
        let path = top().join(format!("systemd/{service}.service"));
        let (accepted, said) =
            systemd_analyze(&["security", "--offline=true", limit, "--no-pager", &path.to_string_lossy()]);
        assert!(accepted, "{said}");
        let overall = said.lines().find(|line| line.contains("Overall exposure level"));
        println!("{}", overall.unwrap_or_else(|| panic!("{said}")));
    }
}

#[test]
fn the_units_of_alerts_pass_a_name_from_the_network_as_one_argument() {
    let alert = read("systemd/stas-alert.service");
    assert!(values(&alert, "ExecStart").concat().contains("alert --after ${AFTER} --start-units"));
    for name in ["down", "up"] {
        let template = read(format!("systemd/stas-alert-{name}@.service"));
        // The colon keeps systemd from replacing variables in the name, the dashes stacctl from taking it for options.
        assert_eq!(values(&template, "ExecStart"), [":/usr/bin/stacctl ls --no-legend --output table -- %I"]);
    }
}

#[test]
fn hardening_does_not_cut_off_the_storage() {
    // The sockets of NVMe connections inherit the network namespace and the cgroup of the process that writes to
    // /dev/nvme-fabrics.
    const HURTS: [&str; 11] = [
        "PrivateNetwork",
        "NetworkNamespacePath",
        "JoinsNamespaceOf",
        "IPAddressDeny",
        "RestrictNetworkInterfaces",
        "SocketBindDeny",
        "MemoryMax",
        "MemoryHigh",
        // /sys read-only, /dev/nvme* hidden, no rights on either, mounts below /home hidden, no /proc/swaps.
        "ProtectKernelTunables",
        "PrivateDevices",
        "PrivateUsers",
    ];
    for daemon in DAEMONS {
        let unit = unit(daemon);
        for key in HURTS {
            assert_eq!(values(&unit, key), Vec::<&str>::new(), "{daemon}.service: {key}");
        }
        assert_ne!(values(&unit, "ProcSubset"), ["pid"], "{daemon}.service hides /proc/swaps");
    }
}

#[test]
fn the_daemons_see_home_directories_and_have_no_capabilities() {
    let [stafd, stacd] = ["stafd", "stacd"].map(unit);
    for unit in [&stafd, &stacd] {
        assert_eq!(values(unit, "ProtectHome"), ["read-only"], "otherwise mounts and key files are hidden");
    }
    for unit in [&stafd, &stacd] {
        assert_eq!(values(unit, "CapabilityBoundingSet"), [""]);
    }
}

#[test]
fn only_the_program_that_opens_block_devices_may_open_them() {
    for daemon in DAEMONS {
        assert!(!unit(daemon).contains("block-"), "{daemon}.service opens block devices");
    }
    let opener = read("systemd/stas-in-use@.service");
    assert_eq!(values(&opener, "DeviceAllow"), ["block-* r"]);
    assert_eq!(values(&opener, "CapabilityBoundingSet"), ["CAP_DAC_READ_SEARCH"]);
    let socket = read("systemd/stas-in-use.socket");
    assert_eq!(values(&socket, "ListenStream"), [libstas::linux::usage::exclusive::SOCKET]);
    assert_eq!(values(&socket, "SocketMode"), ["0600"]);
}

#[test]
fn only_the_program_that_sends_admin_commands_may_do_so() {
    for path in files("systemd") {
        let unit = read(&path);
        let name = path.file_name().unwrap();
        assert_eq!(unit.contains("=CAP_SYS_ADMIN"), name == "stas-admin@.service", "{}", path.display());
        assert_eq!(unit.contains("=char-nvme"), name == "stas-admin@.service", "{}", path.display());
    }
    let program = read("systemd/stas-admin@.service");
    assert_eq!(values(&program, "CapabilityBoundingSet"), ["CAP_SYS_ADMIN"]);
    assert_eq!(values(&program, "DeviceAllow"), ["char-nvme r"]);
    assert_eq!(values(&program, "RestrictAddressFamilies"), ["none"]);
    let socket = read("systemd/stas-admin.socket");
    assert_eq!(values(&socket, "ListenStream"), [libstas::linux::admin::SOCKET]);
    assert_eq!(values(&socket, "SocketMode"), ["0600"]);
    assert_eq!(values(&socket, "TriggerLimitIntervalSec"), ["0"], "the socket never gives up");
    for key in ["Wants", "After"] {
        assert!(values(&unit("stafd"), key).contains(&"stas-admin.socket"), "{key}");
    }
}

#[test]
fn only_the_program_without_privileges_has_ip_sockets() {
    for daemon in DAEMONS {
        let unit = unit(daemon);
        assert_eq!(values(&unit, "RestrictAddressFamilies"), ["AF_UNIX AF_NETLINK"], "{daemon}.service");
        assert!(values(&unit, "Wants").join(" ").contains("stas-net.socket"), "{daemon}.service");
        assert!(values(&unit, "After").join(" ").contains("stas-net.socket"), "{daemon}.service");
    }
    let helper = read("systemd/stas-net@.service");
    for (key, value) in [
        ("DynamicUser", "yes"),
        ("CapabilityBoundingSet", ""),
        ("PrivateDevices", "yes"),
        ("ProtectSystem", "strict"),
        ("MemoryMax", "64M"),
    ] {
        assert_eq!(values(&helper, key), [value], "{key}");
    }
    assert!(values(&helper, "InaccessiblePaths").concat().split(' ').any(|path| path == "/sys"));
    assert!(helper.lines().all(|line| !line.starts_with("ReadWritePaths=") && !line.starts_with("DeviceAllow=")));
    let socket = read("systemd/stas-net.socket");
    assert_eq!(values(&socket, "ListenStream"), [libstas::net::SOCKET]);
    assert_eq!(values(&socket, "SocketMode"), ["0600"]);
    assert_eq!(values(&socket, "TriggerLimitIntervalSec"), ["0"], "the socket never gives up");
}

#[test]
fn a_daemon_comes_back_however_often_it_dies() {
    for daemon in DAEMONS {
        let unit = unit(daemon);
        assert_eq!(values(&unit, "Restart"), ["always"]);
        assert_eq!(values(&unit, "StartLimitIntervalSec"), ["0"]);
        assert_eq!(values(&unit, "RuntimeDirectoryPreserve"), ["yes"], "what it knew survives");
    }
}

/// A oneshot service has no time limit by default. The daemons wait for the identity of the host.
#[test]
fn every_oneshot_service_has_a_time_limit_for_its_start() {
    for path in files("systemd") {
        let unit = read(&path);
        if values(&unit, "Type") == ["oneshot"] {
            assert_eq!(values(&unit, "TimeoutStartSec").len(), 1, "{}", path.display());
        }
    }
}

/// A socket unit does not order the end of its service: a daemon whose bus ends before it fails at each shutdown.
#[test]
fn whatever_uses_the_bus_stops_before_it() {
    let users = files("systemd").into_iter().map(|path| (read(&path), path));
    let users = users.filter(|(unit, _)| values(unit, "Wants").join(" ").contains("dbus.socket"));
    let users: Vec<_> = users.collect();
    assert!(users.len() >= 3, "{users:?}");
    for (unit, path) in users {
        let after = values(&unit, "After").join(" ");
        assert!(after.split(' ').any(|name| name == "dbus.service"), "{}", path.display());
    }
}

#[test]
fn file_systems_go_before_the_daemons_at_shutdown() {
    for daemon in DAEMONS {
        let unit = unit(daemon);
        assert_eq!(values(&unit, "Before"), ["remote-fs-pre.target"]);
        assert!(values(&unit, "Wants").join(" ").contains("remote-fs-pre.target"), "nobody else may want it");
    }
}

/// `unit`, and the units of systemd/ that it is ordered after.
fn with_predecessors(unit: &str) -> BTreeSet<String> {
    let ours = |name: &&str| top().join("systemd").join(template(name)).is_file();
    let mut found = BTreeSet::new();
    let mut open = vec![unit.to_owned()];
    while let Some(name) = open.pop() {
        let text = read(format!("systemd/{}", template(&name)));
        let after = values(&text, "After").join(" ");
        open.extend(after.split(' ').filter(ours).map(str::to_owned).filter(|name| !found.contains(name)));
        found.insert(name);
    }
    found
}

/// The file of an instance: stas-config@hostnqn.service is made from stas-config@.service.
fn template(name: &str) -> String {
    match (name.split_once('@'), name.rsplit_once('.')) {
        (Some((stem, _)), Some((_, suffix))) => format!("{stem}@.{suffix}"),
        _ => name.to_owned(),
    }
}

#[test]
fn no_mount_of_temporary_files_or_caches_stops_or_delays_the_daemons() {
    // systemd adds Requires= and After= on the mounts of the folders that these settings use (systemd.exec(5)).
    const MOUNTS: [&str; 6] =
        ["PrivateTmp", "DynamicUser", "CacheDirectory", "StateDirectory", "LogsDirectory", "RequiresMountsFor"];
    let mut units = BTreeSet::from(["stas-admin@.service", "stas-in-use@.service"].map(str::to_owned));
    for daemon in DAEMONS {
        units.extend(with_predecessors(&format!("{daemon}.service")));
    }
    assert!(units.contains("stas-config@hostnqn.service"), "{units:?}");
    for name in units {
        let unit = read(format!("systemd/{}", template(&name)));
        for key in MOUNTS {
            assert_eq!(values(&unit, key), Vec::<&str>::new(), "{name}: {key}");
        }
    }
}

#[test]
fn the_daemons_differ_in_what_they_do_and_not_in_how_they_are_run() {
    let comparable = |daemon: &str| -> Vec<String> {
        let [name, bus] = [daemon, daemon.trim_end_matches('d')];
        unit(daemon)
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty() && !line.starts_with("Description="))
            // stafd overrides a udev rule and reads the host name. Each has a program for what it may not do itself.
            .filter(|line| *line != "ProtectHostname=yes")
            .filter(|line| !line.ends_with("=stas-admin.socket") && !line.ends_with("=stas-in-use.socket"))
            .filter(|line| !line.contains("/stas-udev-rule "))
            .map(|line| line.replace(" avahi-daemon.service", "").replace(name, "DAEMON").replace(bus, "BUS"))
            .collect()
    };
    assert_eq!(comparable("stafd"), comparable("stacd"));
}

#[test]
fn the_policies_are_installed_for_the_names_that_the_units_own() {
    for daemon in DAEMONS {
        let unit = unit(daemon);
        let name = values(&unit, "BusName").concat();
        let policy = read(format!("etc/dbus-1/{name}.conf"));
        assert_eq!(policy.matches(&format!("own=\"{name}\"")).count(), 1);
        let ours = ["", ".debug", ".root"].map(|end| policy.matches(&format!("\"{name}{end}\"")).count());
        assert_eq!(policy.matches("org.nvmexpress.").count(), ours.iter().sum::<usize>());
    }
}

#[test]
fn the_bus_accepts_the_policies() {
    let folder = TempDir::new().unwrap();
    let configuration = folder.path().join("bus.conf");
    let includes: String =
        files("etc/dbus-1").iter().map(|path| format!("<include>{}</include>", top().join(path).display())).collect();
    let text = format!(
        "<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN\"\n \
         \"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\">\n<busconfig>\
         <listen>unix:dir={}</listen>{includes}</busconfig>",
        folder.path().display()
    );
    fs::write(&configuration, text).unwrap();
    let mut bus = bus(&configuration);
    let mut first = String::new();
    BufReader::new(bus.stdout.take().unwrap()).read_line(&mut first).unwrap();
    let _ = bus.kill();
    bus.wait().unwrap();
    assert!(first.starts_with("unix:"), "dbus-daemon does not start with the policies");
}

fn bus(configuration: &Path) -> std::process::Child {
    let bus = Command::new("dbus-daemon")
        .args(["--nofork", "--nopidfile", "--nosyslog", "--print-address"])
        .arg(format!("--config-file={}", configuration.display()))
        .stdout(Stdio::piped())
        .spawn();
    bus.unwrap_or_else(|error| panic!("dbus-daemon (package dbus): {error}"))
}

#[test]
fn both_daemons_can_write_the_registry_of_owners_whatever_the_umask() {
    let tmpfiles = read("etc/tmpfiles.d/nvme-stas.conf");
    for folder in ["/run/nvme", "/run/nvme/registry"] {
        let line = tmpfiles.lines().find(|line| line.split_whitespace().nth(1) == Some(folder)).unwrap();
        assert_eq!(line.split_whitespace().collect::<Vec<_>>(), ["d", folder, "0755", "root", "root", "-"]);
    }
    for daemon in DAEMONS {
        let unit = unit(daemon);
        let paths = values(&unit, "ReadWritePaths").concat();
        assert!(paths.split(' ').any(|path| path == "-/run/nvme"), "{daemon}.service: {paths}");
        let before = values(&unit, "ExecStartPre");
        let folders = "-+/usr/bin/install -d -m 0755 /run/nvme /run/nvme/registry";
        assert_eq!(before.first(), Some(&folders), "{daemon}.service");
    }
}

#[test]
fn a_daemon_writes_below_run_only_into_its_own_folders_and_the_registry() {
    for daemon in DAEMONS {
        let unit = unit(daemon);
        assert_eq!(values(&unit, "ReadOnlyPaths"), ["/run"], "{daemon}.service");
        assert_eq!(values(&unit, "ReadWritePaths"), ["-/run/nvme"], "{daemon}.service");
        assert_eq!(values(&unit, "RuntimeDirectory"), [format!("{daemon} nvme-stas")]);
    }
}

#[test]
fn the_udev_rule_of_nvme_cli_is_hidden_while_stafd_runs_and_restored_however_it_ends() {
    let unit = unit("stafd");
    let program = "-+/usr/lib/nvme-stas/stas-udev-rule";
    assert!(values(&unit, "ExecStartPre").contains(&format!("{program} hide").as_str()));
    // Unlike ExecStop=, it also runs after the daemon was killed.
    assert_eq!(values(&unit, "ExecStopPost"), [format!("{program} restore")]);
}

#[test]
fn memory_of_a_daemon_is_limited_and_its_secrets_reach_no_core_dump() {
    for daemon in DAEMONS {
        let unit = unit(daemon);
        assert_eq!(values(&unit, "LimitDATA"), ["1G"], "{daemon}.service");
        assert_eq!(values(&unit, "LimitCORE"), ["0"], "{daemon}.service");
    }
}
