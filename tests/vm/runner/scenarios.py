"""The scenarios and their outcomes. Scenario files are parsed, not executed."""

import ast
import dataclasses

from .machine import VM


@dataclasses.dataclass
class Scenario:
    """A file of scenarios/, parsed but not executed: it is executed only in the guest."""

    name: str
    promise: str
    limit: int
    # Files of tables/: additional ACPI tables for the firmware of the machine.
    tables: tuple = ()
    # It needs a second machine as the target.
    target_machine: bool = False
    # It needs a machine that has just booted, and no other scenario is run in it.
    fresh_machine: bool = False
    # It has a time limit that other scenarios at the same time could break.
    timed: bool = False
    # It runs lines that no other scenario runs: `make coverage` runs it.
    coverage: bool = True

    @property
    def alone(self):
        """True if no other scenario may run at the same time, because it would change the measured numbers."""
        return self.timed or self.target_machine


@dataclasses.dataclass
class Outcome:
    scenario: Scenario
    outcome: str  # PASSED, FAILED, SKIPPED, ERROR
    seconds: float
    why: str = ""
    measurements: list = dataclasses.field(default_factory=list)
    notes: list = dataclasses.field(default_factory=list)
    # Something happened that must never happen: there is no second run.
    final: bool = False


def find(names, coverage=False):
    """Returns the scenarios with these names, or all. `coverage`: without names, only those with COVERAGE."""
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
