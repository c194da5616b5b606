#!/usr/bin/python3
"""Floods the services of the system bus with calls whose answers it never reads.

`flood.py SOCKET CONNECTIONS CALLS LENGTH HOLD DESTINATION PATH INTERFACE MEMBER …`: opens CONNECTIONS connections to
the bus, sends CALLS calls on each, keeps the connections open for HOLD seconds, and begins again, until its standard
input ends. The argument of each call is a string of LENGTH bytes, or false if LENGTH is 0. With several destinations,
the connections take turns. Prints the number of calls sent and the number of connections that the bus refused or closed.
"""

import contextlib
import os
import select
import socket
import struct
import sys

METHOD_CALL = 1
PATH, INTERFACE, MEMBER, DESTINATION, SIGNATURE = 1, 2, 3, 6, 8


def text(value):
    return struct.pack("<I", len(value)) + value.encode() + b"\0"


def padded(data, size=8):
    return data + bytes(-len(data) % size)


def call(serial, fields, signature="", body=b""):
    """Returns the message of a method call."""
    header = b""
    for code, kind, value in fields:
        header = padded(header) + struct.pack("<B", code) + b"\1" + kind + b"\0" + text(value)
    if signature:
        header = padded(header) + struct.pack("<B", SIGNATURE) + b"\1g\0" + bytes([len(signature)]) + signature.encode() + b"\0"
    start = struct.pack("<cBBBIII", b"l", METHOD_CALL, 0, 1, len(body), serial, len(header))
    return padded(start + header) + body


def question(serial, length, destination, path, interface, member):
    fields = ((PATH, b"o", path), (INTERFACE, b"s", interface), (MEMBER, b"s", member), (DESTINATION, b"s", destination))
    return call(serial, fields, "s", text("x" * length)) if length else call(serial, fields, "b", struct.pack("<I", 0))


def connection(address):
    """Returns a socket that the bus has accepted."""
    client = socket.socket(socket.AF_UNIX)
    client.connect(address)
    client.sendall(b"\0AUTH EXTERNAL " + str(os.getuid()).encode().hex().encode() + b"\r\n")
    answer = client.recv(4096)
    if not answer.startswith(b"OK"):
        raise ConnectionError(answer)
    bus = "org.freedesktop.DBus"
    hello = call(1, ((PATH, b"o", "/org/freedesktop/DBus"), (INTERFACE, b"s", bus), (MEMBER, b"s", "Hello"),
                     (DESTINATION, b"s", bus)))
    client.sendall(b"BEGIN\r\n" + hello)
    return client


def main():
    address, connections, calls, length, hold = sys.argv[1], *(int(number) for number in sys.argv[2:6])
    words = sys.argv[6:]
    services = [words[first:first + 4] for first in range(0, len(words), 4)]
    sent = refused = 0
    ended = False
    while not ended:
        with contextlib.ExitStack() as open_ones:
            for number in range(connections):
                try:
                    client = open_ones.enter_context(connection(address))
                    service = services[number % len(services)]
                    client.sendall(b"".join(question(serial, length, *service) for serial in range(2, calls + 2)))
                    sent += calls
                except OSError:
                    # The bus has limits of its own.
                    refused += 1
            ended = bool(select.select([sys.stdin], [], [], hold)[0])
    print(sent, refused)


main()
