"""Checks that the log messages for which scenarios wait are messages of the daemons. A scenario runs rarely, so it would
find a reworded message late."""

import ast
import pathlib
import re
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[3]
PRODUCT = ("stafd/src", "stacd/src", "libstas", "stasadm/src", "doc")
# Shorter pieces of a pattern are found anywhere.
SHORTEST = 8
# Texts of the operating system.
FOREIGN = ("no space left", "read-only", "i/o error", "buffer i/o", "ext4-fs error", "starting error recovery")
STRING = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)


def written():
    """Returns the texts of the string literals of the product, one after the other."""
    texts = []
    for folder in PRODUCT:
        for file in sorted((ROOT / folder).rglob("*.rs")):
            if file.name == "tests.rs" or "tests" in file.parts:
                continue
            source = file.read_text().partition("#[cfg(test)]\nmod tests {")[0]
            texts += (re.sub(r"\\\n\s*", "", text).replace('\\"', '"') for text in STRING.findall(source))
    texts.append((ROOT / "tests/vm/guest/native").read_text())
    return "\0".join(texts)


def waited_for(source):
    """Returns (line, pattern) for each message that a scenario expects. `.*` stands for what the scenario computes."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("journal.wait_for", "journal.wait_for_all"):
            pattern, escape = node.args[0], str
        elif isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.In):
            pattern, escape = node.left, re.escape
        else:
            continue
        if isinstance(pattern, (ast.Constant, ast.JoinedStr)):
            # A single word may be a key or a name.
            parts = pattern.values if isinstance(pattern, ast.JoinedStr) else [pattern]
            text = "".join(escape(each.value) if isinstance(each, ast.Constant) else ".*" for each in parts)
            if " " in text:
                yield node.lineno, text


def pieces(pattern):
    """Returns the literal pieces of a regular expression. Words with digits are values."""
    pattern = re.sub(r"\[[^]]*\][+*?]?|\(\?\w+\)|\\[Sdw][+*?]?|\.[+*?]", "\0", pattern)
    pattern = re.sub(r"\\(.)", r"\1", re.sub(r"(?<!\\)[()|?^$]", "\0", pattern))
    pattern = re.sub(r"[^\s\0]*[0-9][^\s\0]*", "\0", pattern)
    return [each for each in pattern.split("\0") if len(each.strip()) >= SHORTEST and each.lower() not in FOREIGN]


class Messages(unittest.TestCase):
    def test_each_message_is_one_of_the_product(self):
        product = written().lower()
        checked = 0
        for file in sorted((ROOT / "tests/vm/scenarios").glob("*.py")):
            for line, pattern in waited_for(file.read_text()):
                for piece in pieces(pattern):
                    checked += 1
                    with self.subTest(f"{file.name}:{line}", piece=piece):
                        self.assertTrue(piece.lower() in product, "no message of the product contains this piece")
        self.assertGreater(checked, 20)

    def test_pieces(self):
        self.assertEqual(pieces("(?i)the first half|the [0-9]+ other halves of .*it"), ["the first half", " other halves of "])
        self.assertEqual(pieces("the address 192.0.2.1 is announced"), ["the address ", " is announced"])
        self.assertEqual(pieces(r"given up \(aged out\)"), ["given up (aged out)"])


if __name__ == "__main__":
    unittest.main()
