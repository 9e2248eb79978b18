#!/usr/bin/env python3
"""A path that loses SYNs, between two machines of scripts/vm: what comes in at one unix socket goes out to another.

    scripts/vm/lossy.py IN OUT PERCENT PORT

IN is the socket that it binds, OUT the other machine's; each datagram is an Ethernet frame. Of the frames that are SYNs
(RFC 9293, section 3.5) to PORT over IPv4, PERCENT are lost, chosen by chance with a fixed seed; all others pass. It goes on
until it is ended.
"""
import random
import socket
import struct
import sys

LONGEST_FRAME = 65_550
SYN, ACK = 0x02, 0x10


def is_syn_to(frame, port):
    """Whether that frame opens a connection to the port."""
    if len(frame) < 54 or frame[12:14] != b"\x08\x00" or frame[23] != socket.IPPROTO_TCP:
        return False
    tcp = 14 + (frame[14] & 0x0F) * 4
    if len(frame) < tcp + 20:
        return False
    (to,) = struct.unpack_from(">H", frame, tcp + 2)
    return to == port and frame[tcp + 13] & (SYN | ACK) == SYN


def main(come_in, go_out, percent, port):
    chance = random.Random(1)
    link = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    link.bind(come_in)
    while True:
        frame = link.recv(LONGEST_FRAME)
        if is_syn_to(frame, port) and chance.random() * 100 < percent:
            continue
        try:
            link.sendto(frame, go_out)
        except OSError:
            # The other machine is not there yet, or no more: its frames are lost, as on any wire.
            pass


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4]))
