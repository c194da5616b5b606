"""Plays scenarios, one after the other, in a machine that is replaced when one of them wedges it."""

import ast
import dataclasses
import json
import os
import pathlib
import sys
import time

from . import acpi, pair
from .agent import Gone
from .machine import EXCHANGE, TOP, VM, Machine

# Seconds beyond a scenario's own LIMIT: tidying before and after, and the evidence of a failure.
MARGIN = 120
# What the caller's environment may say to a scenario.
PASSED_ON = ("EVENTS", "KILLING", "SEED", "SILENT")


@dataclasses.dataclass
class Scenario:
    """One file of scenarios/, read without running it: it only runs in the guest."""

    name: str
    promise: str
    limit: int
    # Files of tables/ that the machine's firmware shall have as ACPI tables.
    tables: tuple = ()
    # It has a second machine, which its storage is on.
    target_machine: bool = False


@dataclasses.dataclass
class Outcome:
    scenario: Scenario
    outcome: str  # PASSED, FAILED, SKIPPED, ERROR
    seconds: float
    why: str = ""
    measurements: list = dataclasses.field(default_factory=list)
    notes: list = dataclasses.field(default_factory=list)
    # What must never happen has happened: a second try proves nothing.
    final: bool = False


def find(names):
    """The scenarios of these names, or all."""
    there = {path.stem: path for path in sorted((VM / "scenarios").glob("*.py"))}
    unknown = [name for name in names if name not in there]
    if unknown:
        raise SystemExit(f"no such scenario: {', '.join(unknown)}; there are: {', '.join(there)}")
    return [read(there[name]) for name in (names or there)]


def read(path):
    tree = ast.parse(path.read_text(), str(path))
    promise = (ast.get_docstring(tree) or "").partition("\n\n")[0].replace("\n", " ")
    said = {"LIMIT": 60, "ACPI_TABLES": (), "TARGET_MACHINE": False}
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") in said:
            said[node.targets[0].id] = ast.literal_eval(node.value)
    if not promise:
        raise SystemExit(f"{path}: the docstring that says what it promises is missing")
    return Scenario(path.stem, promise, said["LIMIT"], tuple(said["ACPI_TABLES"]), said["TARGET_MACHINE"])


class Session:
    """A run: its results folder, its machine, its outcomes."""

    def __init__(self, scenarios, peer=False, keep=False, here=False, once=False):
        self.scenarios = scenarios
        self.peer = peer
        self.keep = keep
        self.once = once
        self.outcomes = []
        self.machine = None
        self.borrowed = Machine.running() if here else None
        if here and not self.borrowed:
            raise SystemExit("no machine is up: tests/vm/run --up")
        self.folder = TOP / "results" / (time.strftime("%Y%m%d-%H%M%S") + ("-peer" if peer else ""))
        self.folder.mkdir(parents=True)
        latest = self.folder.parent / "latest"
        latest.unlink(missing_ok=True)
        latest.symlink_to(self.folder.name)

    def play(self):
        start = time.monotonic()
        try:
            for scenario in self.scenarios:
                self.announce(scenario)
                outcome = self.one(scenario)
                if outcome.outcome in ("FAILED", "ERROR") and not (outcome.final or self.once or self.peer or self.borrowed):
                    outcome = self.second_try(outcome)
                self.outcomes.append(outcome)
                self.tell(outcome)
        except KeyboardInterrupt:
            print("\ninterrupted", file=sys.stderr)
        finally:
            if self.machine and self.machine is self.borrowed:
                self.machine.agent.close()
            elif self.machine and self.keep and self.machine.alive() and not self.machine.target:
                self.machine.agent.close()
                self.machine.remember()
                print("the machine stays up: tests/vm/run --exec CMD, tests/vm/run --down")
            elif self.machine:
                self.machine.stop()
        return self.report(time.monotonic() - start)

    def second_try(self, first):
        """A fresh machine, once: what only was late on a busy host, or in a machine that died, is on time then.

        The first try stays in the report.
        """
        name = first.scenario.name
        (self.folder / f"{name}.log").rename(self.folder / f"{name}.first-try.log")
        self.tell(first)
        self.drop_machine()
        self.announce(first.scenario)
        second = self.one(first.scenario)
        second.notes.insert(0, f"second try; the first was {first.outcome}: {first.why.splitlines()[0]}")
        return second

    def one(self, scenario):
        """Plays one; whatever goes wrong is its outcome."""
        start = time.monotonic()
        path = EXCHANGE / f"{scenario.name}.json"
        path.unlink(missing_ok=True)
        with open(self.folder / f"{scenario.name}.log", "w") as log:
            def write(text):
                log.write(text)
                log.flush()

            write(f"{scenario.name}: {scenario.promise}\n\n")
            try:
                self.ensure_machine(scenario)
                start = time.monotonic()
                command = ["python3", "/harness/guest/play.py", scenario.name] + (["--peer"] if self.peer else [])
                environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
                status, why = self.machine.agent.run(command, write, limit=scenario.limit + MARGIN, env=environment)
            except Gone as gone:
                console = self.machine.console() if self.machine else ""
                write(f"\nERROR: {gone}\n\n----- console\n{console}\n")
                if self.machine and self.machine.target:
                    write(target_console(self.machine.target))
                why = "\n".join([str(gone), self.machine.fate() if self.machine else "", *console.splitlines()[-30:]])
                self.drop_machine()
                return Outcome(scenario, "ERROR", time.monotonic() - start, why)
            if self.machine.target and (status or not self.machine.fit()):
                write(target_console(self.machine.target))
            if status:
                self.drop_machine()
            try:
                found = json.loads(path.read_text())
            except (OSError, ValueError):
                reason = "it had to be stopped" if why == "limit" else f"it ended with status {status} and no outcome"
                write(f"\nERROR: {reason}\n")
                return Outcome(scenario, "ERROR", time.monotonic() - start, reason)
            finally:
                path.unlink(missing_ok=True)
            return Outcome(scenario, found["outcome"], found["seconds"], found["why"], found["measurements"], found["notes"],
                           found["final"])

    def ensure_machine(self, scenario):
        """A machine that is up and is what the scenario needs, no less and no more: another one is replaced."""
        tables, two = scenario.tables, scenario.target_machine
        if self.borrowed and (tables or two):
            wish = ", ".join([*tables, *["a target machine beside it"] * two])
            raise Gone(f"it needs a machine with {wish}: play it without --here")
        if self.machine:
            if self.machine.fit() and self.machine.tables == tables and bool(self.machine.target) == two:
                return
            self.drop_machine()
        if self.borrowed:
            self.machine = self.borrowed.connect()
            return
        tables = [(name, acpi.read(name)) for name in tables]
        if two:
            self.machine = pair.boot(tables=tables)
            return
        self.machine = Machine.boot(keep_locks=self.keep, idle=300 if self.keep else None, tables=tables)
        self.machine.ready()
        if complaint := self.machine.install():
            raise Gone(f"the install tree does not install: {complaint}")

    def drop_machine(self):
        if self.machine:
            self.machine.stop()
        self.machine = self.borrowed = None

    # What a person sees

    def announce(self, scenario):
        if sys.stdout.isatty():
            print(f"        {scenario.name}: {scenario.promise}"[:os.get_terminal_size().columns - 1], end="", flush=True)

    def tell(self, outcome):
        if sys.stdout.isatty():
            print("\r\x1b[K", end="")
        print(f"{outcome.outcome:7} {outcome.seconds:6.1f} s  {outcome.scenario.name}: {outcome.scenario.promise}")
        for number in outcome.measurements:
            print(f"                   {describe(number)}")
        if outcome.why:
            print("                   " + outcome.why.replace("\n", "\n                   "))
        sys.stdout.flush()

    def report(self, seconds):
        """Writes summary and measurements; returns the exit status."""
        numbers = {each.scenario.name: each.measurements for each in self.outcomes if each.measurements}
        (self.folder / "measurements.json").write_text(json.dumps(numbers, indent=1) + "\n")
        lists = {kind: [each for each in self.outcomes if each.outcome == kind] for kind in ("PASSED", "FAILED", "SKIPPED", "ERROR")}
        lines = [f"{'the peer, ' if self.peer else ''}{seconds:.0f} s in all", ""]
        for kind, outcomes in lists.items():
            lines.append(f"{kind}: {len(outcomes)}")
            for each in outcomes:
                lines.append(f"  {each.scenario.name} ({each.seconds:.1f} s): {each.scenario.promise}")
                if each.why:
                    lines += ["    " + line for line in each.why.splitlines()]
                lines += ["    " + note for note in each.notes]
        lines += ["", "Measured (promise) [nvme-stas 2.4.1]:"]
        lines += [f"  {name}: {describe(number)}" for name, taken in numbers.items() for number in taken]
        failed = len(lists["FAILED"]) + len(lists["ERROR"])
        again = [each.scenario.name for each in self.outcomes if each.notes and each.notes[0].startswith("second try")]
        if again:
            lines += ["", f"SECOND TRY: {', '.join(again)}"]
            print(lines[-1])
        last = f"{len(lists['PASSED'])} passed, {failed} failed"
        if lists["SKIPPED"]:
            last += f", {len(lists['SKIPPED'])} skipped"
        (self.folder / "summary").write_text("\n".join(lines + ["", last]) + "\n")
        print(f"logs: {pathlib.Path(os.path.relpath(self.folder))}")
        print(last)
        whole = len(self.outcomes) == len(self.scenarios)
        return 0 if whole and not failed and lists["PASSED"] else 1


def target_console(target):
    return f"\n----- the target machine: {target.fate()}\n{target.console()}\n"


def describe(number):
    sys.path.insert(0, str(VM / "guest"))
    from scene.numbers import describe as words  # the same sentence as in the scenario's log
    sys.path.pop(0)
    return words(number)
