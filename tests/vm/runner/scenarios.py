"""The scenarios, read without running them, and what came of one."""

import ast
import dataclasses

from .machine import VM


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
    # Its numbers are those of a machine that has just booted.
    fresh_machine: bool = False
    # It measures against a bound that what is beside it could break.
    timed: bool = False
    # It runs lines that no other scenario runs.
    coverage: bool = True

    @property
    def alone(self):
        """It is played while no other is: what is beside it would be in its numbers."""
        return self.timed or self.target_machine


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


def find(names, coverage=False):
    """The scenarios of these names, or all; or all that say something about coverage."""
    there = {path.stem: path for path in sorted((VM / "scenarios").glob("*.py"))}
    unknown = [name for name in names if name not in there]
    if unknown:
        raise SystemExit(f"no such scenario: {', '.join(unknown)}; there are: {', '.join(there)}")
    found = [read(there[name]) for name in (names or there)]
    return [each for each in found if each.coverage or names or not coverage]


def read(path):
    tree = ast.parse(path.read_text(), str(path))
    promise = (ast.get_docstring(tree) or "").partition("\n\n")[0].replace("\n", " ")
    said = {"LIMIT": 60, "ACPI_TABLES": (), "TARGET_MACHINE": False, "FRESH_MACHINE": False, "WIDE_BOUNDS": False, "COVERAGE": True}
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") in said:
            said[node.targets[0].id] = ast.literal_eval(node.value)
    if not promise:
        raise SystemExit(f"{path}: the docstring that says what it promises is missing")
    timed = not said["WIDE_BOUNDS"] and any(isinstance(node, ast.keyword) and node.arg == "at_most" for node in ast.walk(tree))
    return Scenario(path.stem, promise, said["LIMIT"], tuple(said["ACPI_TABLES"]), said["TARGET_MACHINE"], said["FRESH_MACHINE"], timed, said["COVERAGE"])
