import { Errno } from '../../../errors/index.ts';
import { Command, DmaMapFlag, DmaUnmapFlag, HEADER_SIZE } from '../../../protocol/index.ts';
import { practice, specification, uapi } from '../../rule.ts';
import { demand } from '../../verdict.ts';
import { fields, joined, rawMessage, u64At } from '../../wire/bytes.ts';
import type { Received } from '../../wire/message-cutter.ts';
import type { Wire } from '../../wire/wire.ts';
import { failed, refused, worked } from '../ask.ts';
import { refuseEach, type ServerRule, serverRule } from '../server-rule.ts';

const MAP = specification('VFIO_USER_DMA_MAP');
const UNMAP = specification('VFIO_USER_DMA_UNMAP');
const { READ, WRITE, MMAP, FILE_IO } = DmaMapFlag;
const { ALL } = DmaUnmapFlag;
const PAGE = 0x1000n;
const BASE = 0x10_0000n;

interface Map_ {
  readonly flags?: number;
  readonly offset?: bigint;
  readonly address: bigint;
  readonly size?: bigint;
  readonly fds?: readonly number[];
}

/** DMA_MAP; the reply, whatever it says. */
export function map(
  wire: Wire,
  { flags = READ | WRITE, offset = 0n, address, size = PAGE, fds = [] }: Map_,
): Promise<Received> {
  return wire.request(Command.DMA_MAP, fields(32, flags, offset, address, size), { fds });
}

/** DMA_UNMAP; the reply, whatever it says. */
export function unmap(wire: Wire, address: bigint, size = PAGE, flags = 0): Promise<Received> {
  return wire.request(Command.DMA_UNMAP, fields(24, flags, address, size));
}

/** How many maps QEMU makes in a boot with a vIOMMU, at least. */
const MANY = 256;

/** Guest memory that a client offers and takes back. */
export const dmaRules: readonly ServerRule[] = [
  serverRule({
    ...{ id: 'dma.map-with-fd', severity: 'must', clause: MAP },
    title: 'Memory is mapped with its descriptor, and unmapped',
    why: 'a device that does DMA reads and writes guest memory this way',
    async check(world) {
      const wire = await world.open();
      const reply = await map(wire, { address: BASE, size: 4n * PAGE, fds: [world.memfd(0x4000)] });
      const { length } = worked(reply);
      demand(length === 0, `the reply to DMA_MAP has ${length} bytes of payload`, 'none');
      worked(await unmap(wire, BASE, 4n * PAGE));
    },
  }),
  serverRule({
    ...{ id: 'dma.map-without-fd', severity: 'must', clause: MAP },
    title: 'Memory that can not be shared is mapped without a descriptor',
    why: 'plain guest memory, and ROMs, have none; QEMU maps them all the same',
    async check(world) {
      const wire = await world.open();
      worked(await map(wire, { address: BASE }));
      worked(await map(wire, { address: BASE + PAGE, flags: READ }), 'DMA_MAP for reading');
      worked(await unmap(wire, BASE));
    },
  }),
  serverRule({
    ...{ id: 'dma.unmap-echo', severity: 'should' },
    clause: specification(
      'VFIO_USER_DMA_UNMAP: the server responds with the original DMA entry in the request',
    ),
    title: 'The reply to DMA_UNMAP repeats what was unmapped',
    why: 'a client that unmaps several ranges sees which one is done',
    async check(world) {
      const wire = await world.open();
      worked(await map(wire, { address: BASE, size: 2n * PAGE }));
      const reply = worked(await unmap(wire, BASE, 2n * PAGE));
      demand(reply.length >= 24, `the reply has ${reply.length} bytes of payload`, 'at least 24');
      const same = u64At(reply, 8) === BASE && u64At(reply, 16) === 2n * PAGE;
      demand(same, 'the reply names another range', 'address and size of the request');
    },
  }),
  serverRule({
    ...{ id: 'dma.map-existing', severity: 'must' },
    clause: specification(
      'VFIO_USER_DMA_MAP: a command to map over an existing region must be failed with EEXIST',
    ),
    title: 'A map over an existing one is refused with EEXIST',
    why: 'two descriptors for one address: nobody can tell which memory the device uses',
    async check(world) {
      const wire = await world.open();
      worked(await map(wire, { address: BASE, size: 4n * PAGE }));
      const again = await map(wire, { address: BASE, size: 4n * PAGE });
      refused(again, 'the same DMA_MAP once more', [Errno.EEXIST]);
    },
  }),
  serverRule({
    ...{ id: 'dma.map-overlapping', severity: 'must' },
    clause: specification('VFIO_USER_DMA_MAP: map over an existing region'),
    title: 'A map that overlaps an existing one is refused',
    why: 'two descriptors for one address: nobody can tell which memory the device uses',
    async check(world) {
      const wire = await world.open();
      worked(await map(wire, { address: BASE, size: 4n * PAGE }));
      refused(await map(wire, { address: BASE + PAGE }), 'DMA_MAP inside another');
      refused(await map(wire, { address: BASE - PAGE, size: 8n * PAGE }), 'DMA_MAP around another');
      refused(
        await map(wire, { address: BASE - PAGE, size: 2n * PAGE }),
        'DMA_MAP over the start of another',
      );
    },
  }),
  serverRule({
    ...{ id: 'dma.map-again', severity: 'must', clause: UNMAP },
    title: 'A range that was unmapped can be mapped again',
    why: 'firmware remaps the memory below 1 MiB dozens of times while it boots',
    async check(world) {
      const wire = await world.open();
      for (let round = 0; round < 3; round += 1) {
        worked(await map(wire, { address: BASE, fds: [world.memfd(0x1000)] }), `DMA_MAP number ${round + 1}`);
        worked(await unmap(wire, BASE), `DMA_UNMAP number ${round + 1}`);
      }
    },
  }),
  serverRule({
    ...{ id: 'dma.unmap-unknown', severity: 'must' },
    clause: specification('VFIO_USER_DMA_UNMAP: address and size must match exactly a previous mapping'),
    title: 'DMA_UNMAP of what is not mapped, or of a part, is refused',
    why: 'client and server would disagree on what the device may reach',
    async check(world) {
      const wire = await world.open();
      worked(await map(wire, { address: BASE, size: 4n * PAGE }));
      refused(await unmap(wire, 16n * BASE), 'DMA_UNMAP of what is not mapped');
      refused(await unmap(wire, BASE), 'DMA_UNMAP of the first page of four');
      refused(await unmap(wire, BASE + PAGE, 3n * PAGE), 'DMA_UNMAP of the last three pages of four');
      refused(await unmap(wire, BASE, 8n * PAGE), 'DMA_UNMAP of more than is mapped');
      worked(await unmap(wire, BASE, 4n * PAGE), 'DMA_UNMAP of the whole');
    },
  }),
  serverRule({
    ...{ id: 'dma.unmap-all', severity: 'interoperability' },
    clause: uapi('linux/vfio.h, VFIO_DMA_UNMAP_FLAG_ALL; QEMU sends it'),
    title: 'DMA_UNMAP with flag 2 unmaps everything',
    why: 'QEMU does so when a guest is reset, and maps the same ranges again',
    async check(world) {
      const wire = await world.open();
      for (const page of [0n, 1n, 2n]) worked(await map(wire, { address: BASE + 2n * page * PAGE }));
      worked(await unmap(wire, 0n, 0n, ALL), 'DMA_UNMAP of all');
      worked(await map(wire, { address: BASE }), 'DMA_MAP after all was unmapped');
    },
  }),
  serverRule({
    ...{ id: 'dma.pipelined', severity: 'interoperability' },
    clause: practice('QEMU 11.1: maps are sent without waiting inside a memory transaction'),
    title: `${MANY} maps in one go are all answered`,
    why: 'QEMU sends all memory sections at once, and looks at the replies later',
    async check(world) {
      const wire = await world.open();
      const ids = Array.from({ length: MANY }, (_, index) => 100 + index);
      const one = (id: number): Uint8Array =>
        rawMessage(Command.DMA_MAP, fields(32, READ | WRITE, 0n, BASE + 2n * BigInt(id) * PAGE, PAGE), {
          id,
        });
      await wire.send(joined(...ids.map(one)));
      for (const id of ids) worked(await wire.reply(id, `map ${id - 99} of ${MANY}`));
    },
  }),
  serverRule({
    ...{ id: 'dma.map-flags', severity: 'must' },
    clause: specification('VFIO_USER_DMA_MAP, flags; access mode bits of QEMU 11.1'),
    title: 'DMA_MAP with unknown flags, or a way of access without a descriptor, is refused',
    why: 'a client that asks for what the server does not know must learn that',
    async check(world) {
      const wire = await world.open();
      refused(await map(wire, { address: BASE, flags: READ | WRITE | 0x100 }), 'DMA_MAP with flag 0x100');
      refused(
        await map(wire, { address: BASE, flags: READ | WRITE | MMAP }),
        'DMA_MAP by mmap without a descriptor',
      );
      refused(
        await map(wire, { address: BASE, flags: READ | FILE_IO }),
        'DMA_MAP by file I/O without a descriptor',
      );
    },
  }),
  serverRule({
    ...{
      id: 'dma.map-nothing',
      severity: 'should',
      clause: uapi('vfio_iommu_type1.c, vfio_dma_do_map: EINVAL'),
    },
    title: 'DMA_MAP of no bytes, or without READ and WRITE, is refused',
    why: 'it has no meaning; a server that keeps it can not tell it from others later',
    async check(world) {
      const wire = await world.open();
      refused(await map(wire, { address: BASE, size: 0n }), 'DMA_MAP of 0 bytes');
      refused(await map(wire, { address: BASE, flags: 0 }), 'DMA_MAP without READ and WRITE');
    },
  }),
  serverRule({
    ...{
      id: 'dma.map-wraps',
      severity: 'must',
      clause: uapi('vfio_iommu_type1.c, vfio_dma_do_map: EOVERFLOW'),
    },
    title: 'DMA_MAP of a range that wraps around 2^64 is refused',
    why: 'it contains every address, or none, depending on who computes',
    async check(world) {
      const wire = await world.open();
      const last = 2n ** 64n - PAGE;
      refused(await map(wire, { address: last, size: 2n * PAGE }), 'DMA_MAP that wraps around 2^64');
    },
  }),
  serverRule({
    ...{ id: 'dma.malformed', severity: 'must', clause: MAP },
    title: 'DMA_MAP and DMA_UNMAP that are cut off, or whose argsz is too small, are refused',
    why: 'what is read behind the end of the message is not what the client said',
    check: async (world) =>
      refuseEach(await world.open(), [
        ['DMA_MAP without payload', Command.DMA_MAP, fields()],
        ['DMA_MAP of 31 bytes', Command.DMA_MAP, fields(32, 3, 0n, BASE, PAGE).subarray(0, 31)],
        ['DMA_MAP with argsz 31', Command.DMA_MAP, fields(31, 3, 0n, BASE, PAGE)],
        ['DMA_UNMAP cut off', Command.DMA_UNMAP, fields(24, 0, BASE)],
        ['DMA_UNMAP with argsz 8', Command.DMA_UNMAP, fields(8, 0, BASE, PAGE)],
        ['DMA_UNMAP of all with an address', Command.DMA_UNMAP, fields(24, ALL, BASE, PAGE)],
        ['DMA_UNMAP with flag 0x100', Command.DMA_UNMAP, fields(24, 0x100, BASE, PAGE)],
      ]),
  }),
  serverRule({
    ...{
      id: 'dma.no-memory',
      severity: 'hardening',
      clause: specification('Security Considerations'),
      needs: ['spawn'],
    },
    title: 'A descriptor that is no memory, or less than it says, is survived',
    why: 'a server that touches what is not there is ended by SIGBUS',
    async check(world) {
      const wire = await world.open();
      await map(wire, { address: BASE, fds: [world.eventfd()] });
      await map(wire, { address: 2n * BASE, size: 64n * PAGE, fds: [world.memfd(0x1000)] });
      await unmap(wire, 2n * BASE, 64n * PAGE);
      await world.stillServes('DMA_MAP of an eventfd, and of a file that is too short');
    },
  }),
  serverRule({
    ...{
      id: 'dma.dirty-bitmap-off',
      severity: 'should',
      clause: uapi('linux/vfio.h, VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP'),
    },
    title: 'DMA_UNMAP that wants a dirty bitmap while nothing is logged is refused',
    why: 'an empty bitmap would say that nothing was written',
    async check(world) {
      const wire = await world.open();
      worked(await map(wire, { address: BASE }));
      const payload = fields(24 + 16 + 8, DmaUnmapFlag.GET_DIRTY_BITMAP, BASE, PAGE, PAGE, 8n);
      const reply = await wire.request(Command.DMA_UNMAP, payload);
      const told = HEADER_SIZE + 24 + 16;
      demand(
        failed(reply) || reply.bytes.length <= told,
        'a bitmap came although nothing is logged',
        'an error',
      );
    },
  }),
];
