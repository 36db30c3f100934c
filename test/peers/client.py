#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A vfio-user client over plain sockets, written from the text of the protocol alone (docs/interop/vfio-user.rst and
docs/specs/edu.rst of QEMU): it shares no line with the server that it drives. Standard library only, Python >= 3.10.

    client.py edu SOCKET       drives the device, then walks the migration states at SOCKET.control
    client.py memory SOCKET

Prints "ok - what" or "not ok - what: expected ..., got ..." for each step; ends with status 1 if one was not ok.
"""
import array
import errno
import json
import mmap
import os
import select
import socket
import struct
import sys
import time
import zlib

VERSION, DMA_MAP, DMA_UNMAP, GET_INFO, REGION_INFO, _, IRQ_INFO, SET_IRQS, REGION_READ, REGION_WRITE = range(1, 11)
DMA_READ, DMA_WRITE, RESET, FEATURE, MIG_READ, MIG_WRITE = 11, 12, 13, 16, 17, 18
REPLY, NO_REPLY, ERROR_BIT = 0x1, 0x10, 0x20
BAR0, BAR2, CONFIG = 0, 2, 7
MIGRATION, STATE, GET, SET, PROBE = 1, 2, 1 << 16, 1 << 17, 1 << 18
STOP, RUNNING, STOP_COPY, RESUMING, RUNNING_P2P, PRE_COPY, PRE_COPY_P2P = 1, 2, 3, 4, 5, 6, 7
HEADER = struct.Struct('=HHIII')
PATIENCE = 60.0
CAPABILITIES = {
    'capabilities': {
        'pgsizes': 4096,
        'max_msg_fds': 16,
        'max_dma_maps': 65535,
        'max_data_xfer_size': 1 << 20,
        'migration': {'max_bitmap_size': 1 << 28, 'pgsize': 4096},
        'write_multiple': True,
    }
}

steps = failures = 0


def expect(what, expected, got):
    global steps, failures
    steps += 1
    if expected == got:
        print(f'ok - {what}')
        return
    failures += 1
    print(f'not ok - {what}: expected {expected!r:.200}, got {got!r:.200}')


class Refused(Exception):
    def __init__(self, number):
        super().__init__(f'errno {number} ({os.strerror(number)})')
        self.errno = number


def error_of(action, *arguments):
    """The errno that an action is refused with, 0 when it is not."""
    try:
        action(*arguments)
        return 0
    except Refused as refused:
        return refused.errno or errno.EIO


class Peer:
    """One connection. `guest` maps an IOVA to memory that the server reaches by messages."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(PATIENCE)
        self.next_id = 0
        self.guest = {}
        self.served = 0
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                self.socket.connect(path)
                break
            except (FileNotFoundError, ConnectionRefusedError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
        version = struct.pack('=HH', 0, 0) + json.dumps(CAPABILITIES).encode() + b'\0'
        reply, _ = self.call(VERSION, version)
        expect('VERSION agrees on 0.0', (0, 0), struct.unpack_from('=HH', reply))
        if struct.unpack_from('=HH', reply) != (0, 0):
            # What follows would be read by rules that this client does not know.
            raise SystemExit('a version that was not proposed')
        expect('the VERSION reply is no longer than the request', True, len(reply) <= len(version))
        self.limits = json.loads(reply[4:].rstrip(b'\0') or b'{}').get('capabilities', {})

    def close(self):
        self.socket.close()

    def send(self, number, payload=b'', fds=(), flags=0, message_id=None, error=0):
        if message_id is None:
            self.next_id = (self.next_id + 1) & 0xFFFF
            message_id = self.next_id
        message = HEADER.pack(message_id, number, HEADER.size + len(payload), flags, error) + payload
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', fds))] if fds else []
        sent = self.socket.sendmsg([message], rights)
        self.socket.sendall(message[sent:])
        return message_id

    def receive(self):
        """One message: header fields, payload, fds."""
        fds = array.array('i')
        data = b''
        size = HEADER.size
        while len(data) < size:
            piece, ancillary, _, _ = self.socket.recvmsg(size - len(data), socket.CMSG_SPACE(16 * fds.itemsize))
            if not piece:
                raise ConnectionError('the server closed the connection')
            for level, kind, content in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
            data += piece
            if len(data) == HEADER.size:
                size = HEADER.unpack(data)[2]
        return HEADER.unpack_from(data), data[HEADER.size :], list(fds)

    def serve(self, header, payload):
        """Answers one DMA message of the server."""
        address, count = struct.unpack_from('=QQ', payload)
        self.served += 1
        for iova, memory in self.guest.items():
            at = address - iova
            if 0 <= at and at + count <= len(memory):
                if header[1] == DMA_WRITE:
                    memory[at : at + count] = payload[16:]
                    data = b''
                else:
                    data = bytes(memory[at : at + count])
                self.send(header[1], payload[:16] + data, flags=REPLY, message_id=header[0])
                return
        self.send(header[1], flags=REPLY | ERROR_BIT, message_id=header[0], error=errno.ENODEV)

    def call(self, number, payload=b'', fds=()):
        message_id = self.send(number, payload, fds)
        while True:
            header, reply, received = self.receive()
            if header[3] & 0xF != REPLY:
                self.serve(header, reply)
                continue
            if header[:2] != (message_id, number):
                raise ConnectionError(f'expected the reply to {message_id}, got {header}')
            if header[3] & ERROR_BIT:
                if reply:
                    raise ConnectionError(f'an error reply with {len(reply)} bytes')
                raise Refused(header[4])
            return reply, received

    def wait(self, fd, seconds):
        """Answers the server until fd is readable; False when it is not within the time."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            ready, _, _ = select.select([fd, self.socket], [], [], left)
            if fd in ready:
                return os.read(fd, 8) != b''
            if ready:
                header, payload, _ = self.receive()
                self.serve(header, payload)
        return False

    # Regions

    def read(self, region, offset, count):
        request = struct.pack('=QII', offset, region, count)
        reply, _ = self.call(REGION_READ, request)
        if reply[:16] != request or len(reply) != 16 + count:
            raise ConnectionError('the reply to a read names another place')
        return reply[16:]

    def write(self, region, offset, data):
        self.call(REGION_WRITE, struct.pack('=QII', offset, region, len(data)) + data)

    def post(self, region, offset, data):
        self.send(REGION_WRITE, struct.pack('=QII', offset, region, len(data)) + data, flags=NO_REPLY)

    def get(self, region, offset, size=4):
        return int.from_bytes(self.read(region, offset, size), sys.byteorder)

    def put(self, region, offset, value, size=4):
        self.write(region, offset, value.to_bytes(size, sys.byteorder))

    def region_info(self, index, argsz=32):
        """(size, flags, offset, mappable areas, fd or None)"""
        reply, fds = self.call(REGION_INFO, struct.pack('=IIIIQQ', argsz, 0, index, 0, 0, 0))
        needed, flags, _, at, size, offset = struct.unpack_from('=IIIIQQ', reply)
        if needed > argsz:
            for fd in fds:
                os.close(fd)
            return self.region_info(index, needed)
        areas = []
        while flags & 8 and at:
            kind, _, following, count = struct.unpack_from('=HHII', reply, at)
            if kind == 1:
                areas = [struct.unpack_from('=QQ', reply, at + 16 + 16 * i) for i in range(count)]
            at = following
        return size, flags, offset, areas, fds[0] if fds else None

    # Interrupts, guest memory, features

    def wire(self, index, vector=0):
        fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.call(SET_IRQS, struct.pack('=IIIII', 20, 0x24, index, vector, 1), [fd])
        return fd

    def unmask(self, index):
        self.call(SET_IRQS, struct.pack('=IIIII', 20, 0x11, index, 0, 1))

    def disable(self, index):
        self.call(SET_IRQS, struct.pack('=IIIII', 20, 0x21, index, 0, 0))

    def map_fd(self, iova, size):
        fd = os.memfd_create('guest', os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(fd, size)
        memory = mmap.mmap(fd, size)
        self.call(DMA_MAP, struct.pack('=IIQQQ', 32, 3, 0, iova, size), [fd])
        os.close(fd)
        return memory

    def map_messages(self, iova, size):
        self.guest[iova] = bytearray(size)
        self.call(DMA_MAP, struct.pack('=IIQQQ', 32, 3, 0, iova, size))
        return self.guest[iova]

    def unmap(self, iova, size):
        request = struct.pack('=IIQQ', 24, 0, iova, size)
        reply, _ = self.call(DMA_UNMAP, request)
        expect('DMA_UNMAP is echoed', request, reply)

    def feature(self, flags, data=b''):
        return self.call(FEATURE, struct.pack('=II', 16, flags) + data)[0][8:]

    def state(self):
        return struct.unpack_from('=I', self.feature(GET | STATE))[0]

    def set_state(self, state):
        self.feature(SET | STATE, struct.pack('=Ii', state, -1))

    def mig_read(self, size):
        reply, _ = self.call(MIG_READ, struct.pack('=II', 8 + size, size))
        _, got = struct.unpack_from('=II', reply)
        return reply[8 : 8 + got]

    def mig_write(self, data):
        self.call(MIG_WRITE, struct.pack('=II', 8 + len(data), len(data)) + data)


def describe(peer):
    _, flags, num_regions, num_irqs = struct.unpack('=IIII', peer.call(GET_INFO, struct.pack('=IIII', 16, 0, 0, 0))[0])
    expect('a PCI device with reset', 3, flags & 3)
    peer.call(RESET)
    expect('regions and interrupt types as QEMU wants them', True, num_regions >= 8 and num_irqs >= 3)
    regions = [peer.region_info(i) for i in range(num_regions)]
    irqs = [struct.unpack('=IIII', peer.call(IRQ_INFO, struct.pack('=IIII', 16, 0, i, 0))[0]) for i in range(num_irqs)]
    return regions, irqs


def check_config(peer, size):
    whole = peer.read(CONFIG, 0, size)
    for width in (1, 2, 4, 8):
        pieces = b''.join(peer.read(CONFIG, at, width) for at in range(0, 64, width))
        expect(f'configuration space in accesses of {width}', whole[:64], pieces)
    peer.put(CONFIG, 4, 6, 2)
    expect('COMMAND keeps memory space and bus master', 6, peer.get(CONFIG, 4, 2))
    return whole


def check_refusals(peer):
    expect('no such region', errno.EINVAL, error_of(peer.read, 99, 0, 4))
    expect('past the end', errno.EINVAL, error_of(peer.read, CONFIG, 254 + 4096, 4))
    expect('no such interrupt', errno.EINVAL, error_of(peer.call, IRQ_INFO, struct.pack('=IIII', 16, 0, 99, 0)))
    expect('a message that is too short', errno.EINVAL, error_of(peer.call, REGION_READ, b'1234'))
    expect('an unknown command', True, error_of(peer.call, 0x7777) != 0)
    expect('the connection is still usable', True, peer.get(CONFIG, 0, 2) != 0xFFFF)


def check_reset(peer):
    peer.call(RESET)
    expect('a reset clears COMMAND', 0, peer.get(CONFIG, 4, 2))


def read_session(control):
    data = b''
    while piece := control.mig_read(65536):
        data += piece
    return data


def walk_states(path):
    """Every state that the device has, on one server: its own state is saved, and resumed from."""
    control = Peer(path + '.control')
    (flags,) = struct.unpack('=Q', control.feature(GET | MIGRATION))
    expect('it can be stopped and copied', 1, flags & 1)
    expect('the first state', RUNNING, control.state())
    expect('PROBE of the state', 0, error_of(control.feature, PROBE | GET | SET | STATE))
    expect('an impossible state', errno.EINVAL, error_of(control.set_state, 99))
    expect('data outside a session', True, error_of(control.mig_read, 4096) != 0)
    saved = b''
    if flags & 4:
        control.set_state(PRE_COPY)
        saved += read_session(control)
    control.set_state(STOP_COPY)
    saved += read_session(control)
    expect('there was something to save', True, len(saved) > 0)
    if flags & 4:
        expect('no way back to PRE_COPY', errno.EINVAL, error_of(control.set_state, PRE_COPY))
    control.set_state(STOP)
    control.set_state(RESUMING)
    for at in range(0, len(saved), 30011):
        control.mig_write(saved[at : at + 30011])
    control.set_state(STOP)
    for state in [RUNNING_P2P] * bool(flags & 2) + [RUNNING]:
        control.set_state(state)
        expect('the state is reached', state, control.state())
    control.close()


# The educational device (docs/specs/edu.rst)


def edu_dma(peer, source, target, count, command):
    for register, value in ((0x80, source), (0x88, target), (0x90, count)):
        peer.put(BAR0, register, value, 8)
    peer.put(BAR0, 0x98, command)
    deadline = time.monotonic() + PATIENCE
    while peer.get(BAR0, 0x98) & 1:
        if time.monotonic() > deadline:
            raise ConnectionError('the transfer does not end')
        time.sleep(0.005)


def edu_round_trip(peer, what, memory, iova):
    pattern = bytes((7 * i + len(what)) & 0xFF for i in range(4096))
    memory[0:4096] = pattern
    edu_dma(peer, iova, 0x40000, 4096, 1)
    edu_dma(peer, 0x40000, iova + 4096, 4096, 3)
    expect(what, pattern, bytes(memory[4096:8192]))


def edu_interrupts(peer, config):
    intx = peer.wire(0)
    peer.put(BAR0, 0x60, 0x11)
    expect('INTx fires', True, peer.wait(intx, PATIENCE))
    expect('the interrupt status', 0x11, peer.get(BAR0, 0x24))
    peer.put(BAR0, 0x64, 0x11)
    peer.unmask(0)
    expect('INTx is silent once acknowledged', False, peer.wait(intx, 0.1))
    peer.disable(0)
    at = config[0x34] & 0xFC
    while at and config[at] != 5:
        at = config[at + 1] & 0xFC
    expect('there is an MSI capability', True, at != 0)
    msi = peer.wire(1)
    peer.put(CONFIG, at + 2, peer.get(CONFIG, at + 2, 2) | 1, 2)
    peer.put(BAR0, 0x60, 0x1)
    expect('MSI fires', True, peer.wait(msi, PATIENCE))
    peer.put(BAR0, 0x64, 0x1)
    peer.put(CONFIG, at + 2, peer.get(CONFIG, at + 2, 2) & ~1, 2)
    peer.disable(1)


def drive_edu(path):
    peer = Peer(path)
    regions, _ = describe(peer)
    config = check_config(peer, regions[CONFIG][0])
    expect('the vendor and the device', (0x1234, 0x11E8), struct.unpack_from('=HH', config))
    expect('the identification', 0x010000ED, peer.get(BAR0, 0))
    peer.put(BAR0, 4, 0x0F0F0F0F)
    expect('the liveness register inverts', 0xF0F0F0F0, peer.get(BAR0, 4))
    peer.post(BAR0, 4, b'\0\0\0\0')
    expect('a posted write comes before the read behind it', 0xFFFFFFFF, peer.get(BAR0, 4))
    peer.put(BAR0, 8, 7)
    while peer.get(BAR0, 0x20) & 1:
        time.sleep(0.005)
    expect('the factorial of 7', 5040, peer.get(BAR0, 8))
    edu_interrupts(peer, config)
    mapped, messages = peer.map_fd(0x100000, 0x10000), peer.map_messages(0x200000, 0x10000)
    edu_round_trip(peer, 'DMA through a mapping', mapped, 0x100000)
    expect('without a message', 0, peer.served)
    edu_round_trip(peer, 'DMA by messages', messages, 0x200000)
    expect('with messages', True, peer.served >= 2)
    check_refusals(peer)
    check_reset(peer)
    peer.unmap(0x100000, 0x10000)
    peer.unmap(0x200000, 0x10000)
    peer.put(BAR0, 4, 0x12340000)
    walk_states(path)
    expect('the device came back as it was saved', 0xEDCBFFFF, peer.get(BAR0, 4))
    peer.close()


# The memory device: registers in BAR0, memory in BAR2, four MSI-X vectors


def memory_accesses(peer, size):
    for width in (1, 2, 4, 8):
        pattern = os.urandom(64)
        for at in range(0, 64, width):
            peer.write(BAR2, at, pattern[at : at + width])
        pieces = [peer.read(BAR2, at, width) for at in range(0, 64, width)]
        expect(f'memory in accesses of {width}', pattern, b''.join(pieces))
        for at in range(0, 1024, width):
            peer.read(BAR0, at, width)
    largest = os.urandom(1 << 20)
    peer.write(BAR2, size - len(largest), largest)
    expect('the largest access there is', True, peer.read(BAR2, size - len(largest), len(largest)) == largest)
    expect('an access past the end', errno.EINVAL, error_of(peer.read, BAR2, size - 4, 8))
    peer.post(BAR0, 0x80, struct.pack('=I', 0xC0FFEE))
    expect('a posted write comes before the read behind it', 0xC0FFEE, peer.get(BAR0, 0x80))


def memory_mapping(peer, region):
    size, flags, offset, areas, fd = region
    expect('BAR2 can be mapped', (4, True), (flags & 4, fd is not None))
    start, length = areas[0] if areas else (0, size)
    with mmap.mmap(fd, length, offset=offset + start) as mapped:
        mapped[0:16] = b'through the fd..'
        expect('a store through the mapping is read', b'through the fd..', peer.read(BAR2, start, 16))
        peer.write(BAR2, start + 64, b'by message')
        expect('a write is seen through the mapping', b'by message', mapped[64:74])
    os.close(fd)


def memory_interrupts(peer, config):
    at = config[0x34] & 0xFC
    while at and config[at] != 0x11:
        at = config[at + 1] & 0xFC
    expect('there is an MSI-X capability', True, at != 0)
    fds = [peer.wire(2, vector) for vector in range(4)]
    peer.put(CONFIG, at + 2, peer.get(CONFIG, at + 2, 2) | 0x8000, 2)
    for vector, fd in enumerate(fds):
        peer.put(BAR0, 0x3C, vector)
        expect(f'the doorbell raises vector {vector}', True, peer.wait(fd, PATIENCE))
    expect('and no other', [False] * 4, [peer.wait(fd, 0.02) for fd in fds])
    return fds


def memory_checksum(peer, what, memory, iova, count, fds):
    memory[0:count] = os.urandom(count)
    peer.put(BAR0, 0x10, iova, 8)
    peer.put(BAR0, 0x18, count)
    peer.put(BAR0, 0x2C, 1)
    peer.put(BAR0, 0x20, 6)
    peer.put(BAR0, 0x1C, 1)
    expect(f'{what}: the interrupt', True, peer.wait(fds[1], PATIENCE))
    expect(f'{what}: the status', 2, peer.get(BAR0, 0x20))
    expect(f'{what}: the checksum', zlib.crc32(bytes(memory[0:count])), peer.get(BAR0, 0x24))


def drive_memory(path):
    peer = Peer(path)
    regions, _ = describe(peer)
    config = check_config(peer, regions[CONFIG][0])
    size = regions[BAR2][0]
    expect('the identification', 0x4D454D46, peer.get(BAR0, 0))
    expect('the size of the memory', size, peer.get(BAR0, 8, 8))
    memory_accesses(peer, size)
    memory_mapping(peer, regions[BAR2])
    fds = memory_interrupts(peer, config)
    mapped, messages = peer.map_fd(0x100000, 0x100000), peer.map_messages(0x400000, 0x180000)
    memory_checksum(peer, 'DMA through a mapping', mapped, 0x100000, 0x100000, fds)
    expect('without a message', 0, peer.served)
    memory_checksum(peer, 'DMA by messages', messages, 0x400000, 0x180000, fds)
    expect('with messages', True, peer.served >= 2)
    check_refusals(peer)
    check_reset(peer)
    peer.unmap(0x100000, 0x100000)
    peer.unmap(0x400000, 0x180000)
    content = os.urandom(1 << 20)
    peer.write(BAR2, 0x1000, content)
    ticks = peer.get(BAR0, 0x30)
    walk_states(path)
    expect('the memory came back as it was saved', True, peer.read(BAR2, 0x1000, len(content)) == content)
    deadline = time.monotonic() + PATIENCE
    while peer.get(BAR0, 0x30) <= ticks and time.monotonic() < deadline:
        time.sleep(0.005)
    expect('the counter ticks', True, peer.get(BAR0, 0x30) > ticks)
    for fd in fds:
        os.close(fd)
    peer.close()


DEVICES = {'edu': drive_edu, 'memory': drive_memory}


def main():
    if len(sys.argv) != 3 or sys.argv[1] not in DEVICES:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        DEVICES[sys.argv[1]](sys.argv[2])
    except (Refused, OSError) as problem:
        expect('no step fails', None, problem)
    print(f'1..{steps}')
    return 1 if failures else 0


if __name__ == '__main__':
    sys.exit(main())
