"""Tables that the machine's firmware shall have: files of tables/, in hexadecimal with a comment for each field."""

import re

from .machine import VM

TABLES = VM / "tables"


def read(name):
    """The bytes of a table. Each line says at which offset it is; what is in quotes is text, what follows `#` a comment."""
    content = bytearray()
    path = TABLES / name
    for number, line in enumerate(path.read_text().splitlines(), 1):
        words = re.findall(r'"[^"]*"|[^\s"]+', line.partition("#")[0])
        if words and int(words[0]) != len(content):
            raise SystemExit(f"{path}:{number}: this is offset {len(content)}, not {words[0]}")
        for word in words[1:]:
            content += word.strip('"').encode() if word.startswith('"') else bytes.fromhex(word)
    return bytes(content)
