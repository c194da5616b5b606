"""Reads ACPI tables for the machine's firmware from tables/: hexadecimal, with a comment for each field."""

import re

from .machine import VM

TABLES = VM / "tables"


def read(name):
    """Returns the bytes of a table. A line begins with its offset; text is in quotes; `#` starts a comment."""
    content = bytearray()
    path = TABLES / name
    for number, line in enumerate(path.read_text().splitlines(), 1):
        words = re.findall(r'"[^"]*"|[^\s"]+', line.partition("#")[0])
        if words and int(words[0]) != len(content):
            raise SystemExit(f"{path}:{number}: this is offset {len(content)}, not {words[0]}")
        for word in words[1:]:
            content += word.strip('"').encode() if word.startswith('"') else bytes.fromhex(word)
    return bytes(content)
