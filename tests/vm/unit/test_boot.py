"""Tests how the runner boots and ends machines, with a fake qemu (bin/qemu-system-x86_64)."""

import contextlib
import importlib.machinery
import importlib.util
import io
import os
import pathlib
import signal
import sys
import tempfile
import time
import unittest
import warnings
from unittest import mock

VM = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(VM))
from runner import boot, machine as machines, pair, scenarios  # noqa: E402
from runner.agent import Gone  # noqa: E402
from runner.place import Place  # noqa: E402

BIN = VM / "unit" / "bin"
SCENARIO = scenarios.Scenario("kill9", "of no matter here", 60)


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enter(tempfile.TemporaryDirectory()))
        self.said = self.enter(contextlib.redirect_stderr(io.StringIO()))
        self.printed = self.enter(contextlib.redirect_stdout(io.StringIO()))
        self.enter(mock.patch.dict(os.environ, {
            "PATH": f"{BIN}:{os.environ['PATH']}", "VM_ACCEL": "tcg", "VM_INSTALL_TREE": str(self.folder / "tree"),
            "FAKE_QEMU": str(self.folder / "plan"), "TMPDIR": str(self.folder)}))
        for name, value in (("image", lambda: str(self.folder)), ("UP", self.folder / "up.json"), ("STATE", self.folder),
                            ("EXCHANGE", self.folder / "exchange"), ("OFF_LIMIT", 0.5)):
            self.enter(mock.patch.object(machines, name, value))
        self.enter(mock.patch.object(tempfile, "tempdir", None))

    def enter(self, context):
        self.addCleanup(context.__exit__, None, None, None)
        return context.__enter__()

    def plan(self, *behaviours):
        (self.folder / "plan").write_text("\n".join(behaviours))
        self.said.seek(0)
        self.said.truncate()

    def left(self):
        """Returns the part of the plan that was not used."""
        return (self.folder / "plan").read_text().split()

    def lines(self):
        return self.said.getvalue().splitlines()

    def command(self, name, *arguments):
        """Runs the command tests/vm/NAME. Returns its exit status."""
        loader = importlib.machinery.SourceFileLoader(name, str(VM / name))
        module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
        loader.exec_module(module)
        with mock.patch.object(sys, "argv", [name, *arguments]):
            return module.main()

    def assert_one_line_for_each(self, deaths):
        self.assertEqual(len(self.lines()), deaths, self.lines())
        for attempt, line in enumerate(self.lines(), 2):
            self.assertRegex(line, f"boot failed: .*; booting again .attempt {attempt} of 3.")


class BootsThatDie(Case):
    def test_a_machine_that_panics_in_its_boot_is_booted_again_and_one_line_says_so(self):
        self.plan("panics", "boots")
        boot.machine().stop()
        self.assert_one_line_for_each(1)
        self.assertIn("Kernel panic - not syncing: Fatal exception in interrupt; qemu ended with status 0", self.lines()[0])

    def test_whatever_a_machine_dies_of_it_is_booted_again(self):
        for death in ("panics", "hangs", "exits"):
            with self.subTest(death):
                self.plan(death, death, "boots")
                boot.machine().stop()
                self.assert_one_line_for_each(2)

    def test_a_machine_that_never_answers_is_booted_again(self):
        self.plan("stays", "boots")
        with mock.patch.object(machines, "BOOT_LIMIT", 0.0):
            with self.assertRaises(machines.Died):
                boot.once()
        self.assertEqual(self.left(), ["boots"])

    def test_the_third_death_is_the_last_and_the_console_is_shown(self):
        self.plan("panics", "panics", "panics", "boots")
        with self.assertRaises(Gone) as raised:
            boot.machine()
        self.assert_one_line_for_each(2)
        self.assertEqual(self.left(), ["boots"])
        machines.complain(raised.exception)
        self.assertIn("its last lines:\n[    1.234567] Kernel panic", self.said.getvalue())

    def test_a_user_who_ends_the_machine_gets_no_other(self):
        self.plan("is-ended", "boots")
        with self.assertRaises(Gone):
            boot.machine()
        self.assertEqual((self.left(), self.lines()), (["boots"], []))

    def test_a_tree_that_does_not_install_is_no_death(self):
        self.plan("boots", "boots")
        with mock.patch.object(machines.Machine, "install", lambda _: "no space left"), self.assertRaises(Gone) as raised:
            boot.machine()
        self.assertEqual((self.left(), self.lines()), (["boots"], []))
        self.assertIn("no space left", str(raised.exception))

    def test_no_machine_is_left_behind(self):
        self.plan("hangs", "hangs", "hangs")
        with self.assertRaises(Gone):
            boot.machine()
        self.assertEqual(list(self.folder.glob("stas-vm-*")), [])


class EveryWayToBoot(Case):
    def test_the_demonstration(self):
        self.plan("panics", "boots")
        self.assertEqual(self.command("demo"), 0)
        self.assert_one_line_for_each(1)
        self.assertIn("what the demonstration says", self.printed.getvalue())

    def test_a_command_in_a_fresh_machine(self):
        self.plan("panics", "boots")
        self.assertEqual(self.command("run", "--exec", "true"), 0)
        self.assert_one_line_for_each(1)

    def test_a_machine_that_stays_up(self):
        self.plan("panics", "boots")
        warnings.simplefilter("ignore", ResourceWarning)  # the machine keeps running after this process
        self.assertEqual(self.command("run", "--up"), 0)
        self.assert_one_line_for_each(1)
        pid = machines.Machine.running().pid
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)

    def test_a_shell(self):
        self.plan("panics", "boots")
        self.assertEqual(self.command("run", "--shell"), 0)
        self.assert_one_line_for_each(1)

    def test_a_scenario(self):
        self.plan("panics", "boots")
        place = Place(self.folder)
        place.ensure(SCENARIO)
        place.end()
        self.assert_one_line_for_each(1)

    def test_two_machines_whichever_dies(self):
        for plan in (("panics", "boots", "boots"), ("boots", "panics", "boots", "boots"), ("hangs", "boots", "boots", "boots")):
            with self.subTest(plan):
                self.plan(*plan)
                pair.boot().stop()
                self.assert_one_line_for_each(1)
                self.assertRegex(self.lines()[0], "the (host|target) machine: ")
                self.assertEqual(self.left(), [])


class SlowHosts(Case):
    def test_a_scenario_has_as_much_more_time_as_the_boot_took(self):
        self.plan("boots")
        with mock.patch.object(machines, "USUAL_BOOT", 0.001):
            place = Place(self.folder)
            place.ensure(SCENARIO)
        self.assertGreater(place.machine.patience, 1)
        asked = {}
        place.machine.agent.run = lambda *_, limit, env: asked.update(limit=limit, **env) or (0, None)
        place.play(SCENARIO)
        self.assertGreater(asked["limit"], SCENARIO.limit * 2)
        self.assertGreater(float(asked["PATIENCE"]), 1)
        place.end()


class PowerOff(Case):
    def test_a_guest_that_does_not_get_off_is_ended(self):
        self.plan("stays")
        before = time.monotonic()
        self.command("run", "--shell")
        self.assertLess(time.monotonic() - before, 60)
        self.assertIn("has not powered off", self.said.getvalue())


if __name__ == "__main__":
    unittest.main()
