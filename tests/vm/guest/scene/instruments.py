"""What instrumented programs leave behind: the counters of `make coverage`, the reports of `make sanitize`."""

import os
import pathlib
import shutil

# tests/instrumented puts it into the install tree; without it all of this does nothing.
FOLDER = pathlib.Path("/var/lib/instruments")
# Lines NAME=VALUE for all programs; {user} is whose the files are.
VARIABLES = FOLDER / "variables"
LEFT = FOLDER / "left"
RESULTS = pathlib.Path("/results/instruments")


def there():
    """Instrumented programs are slow."""
    return FOLDER.is_dir()


def begin():
    """It holds for what this process starts from now on."""
    os.environ.update(of("root"))


def of(user):
    """The variables for a program of this user."""
    if not there():
        return {}
    return dict(line.replace("{user}", user).split("=", 1) for line in VARIABLES.read_text().splitlines())


def hand_over():
    """All that this machine has left so far, to the host; returns the text of reports that are new."""
    if not there():
        return ""
    boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    RESULTS.mkdir(exist_ok=True)
    reports = []
    for file in sorted(LEFT.iterdir()):
        shutil.copyfile(file, RESULTS / f"{boot}-{file.name}")
        if ".report." in file.name:
            reports.append(f"{file.name}:\n{file.read_text(errors='replace').strip()}\n")
            file.unlink()
    return "\n".join(reports)
