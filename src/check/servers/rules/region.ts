import { setTimeout as delay } from 'node:timers/promises';
import { Command, HeaderFlag, RegionAccess, RegionIndex, regionRead } from '../../../protocol/index.ts';
import { practice, specification, uapi } from '../../rule.ts';
import { demand, notApplicable } from '../../verdict.ts';
import { equal, fields, joined, u32At, u64At } from '../../wire/bytes.ts';
import { decoded, read, refused, tryRead, tryWrite, worked, write } from '../ask.ts';
import { refuseEach, type ServerRule, serverRule } from '../server-rule.ts';

const ACCESS = specification('VFIO_USER_REGION_READ, VFIO_USER_REGION_WRITE');
const { CONFIG } = RegionIndex;
/** PCI configuration space: INTERRUPT_LINE is a byte for software, and nothing to the device (PCI 3.0, 6.2.4). */
const INTERRUPT_LINE = 0x3cn;
const BARS = 0x10n;

/** Where nothing is, in any configuration space. */
const BEHIND = 0x10_0000n;

/** Accesses to regions by message. */
export const regionRules: readonly ServerRule[] = [
  serverRule({
    ...{ id: 'region.read-echo', severity: 'must', clause: ACCESS },
    title: 'The reply to REGION_READ repeats offset, region and count, and has count bytes',
    why: 'clients check them; QEMU gives up on a device whose configuration space reads short',
    async check(world) {
      const wire = await world.open();
      for (const [offset, count] of [
        [0n, 4],
        [2n, 2],
        [8n, 1],
        [0n, 64],
      ] as const) {
        const bytes = worked(await tryRead(wire, CONFIG, offset, count));
        const reply = decoded(regionRead.reply, bytes);
        demand(reply.offset === offset, `the reply names offset ${reply.offset}`, `${offset}`);
        demand(reply.region === CONFIG, `the reply names region ${reply.region}`, `${CONFIG}`);
        demand(reply.count === count, `the reply names ${reply.count} bytes`, `${count}`);
      }
    },
  }),
  serverRule({
    ...{
      id: 'region.read-widths',
      severity: 'must',
      clause: uapi('vfio_pci_config.c: any width and alignment'),
    },
    title: 'Reads of 1, 2 and 4 bytes of the configuration space show what a long read shows',
    why: 'a guest reads registers by their width, QEMU everything at once',
    async check(world) {
      const wire = await world.open();
      const whole = await read(wire, CONFIG, 0n, 64);
      for (const width of [1, 2, 4]) {
        for (let offset = 0; offset < 64; offset += width) {
          const part = await read(wire, CONFIG, BigInt(offset), width);
          const same = equal(part, whole.subarray(offset, offset + width));
          demand(same, `${width} bytes at ${offset} differ from the long read`, 'the same bytes');
        }
      }
    },
  }),
  serverRule({
    ...{ id: 'region.whole-config', severity: 'interoperability' },
    clause: practice('QEMU 11.1, hw/vfio/pci.c: reads the whole configuration space at once'),
    title: 'The whole configuration space can be read at once',
    why: 'QEMU can not attach otherwise',
    async check(world) {
      const size = world.facts.regions.find(({ index }) => index === CONFIG)?.size ?? 0n;
      if (size === 0n) notApplicable('there is no configuration space');
      await read(await world.open(), CONFIG, 0n, Math.min(Number(size), 4096));
    },
  }),
  serverRule({
    ...{ id: 'region.count-0', severity: 'should', clause: ACCESS },
    title: 'A read of no bytes is answered with the 16 bytes of its reply, or refused',
    why: 'the layout of the reply does not depend on the count',
    async check(world) {
      const reply = await (await world.open()).request(Command.REGION_READ, fields(0n, CONFIG, 0));
      if ((reply.header.flags & HeaderFlag.ERROR) !== 0) return;
      const { length } = reply.payload;
      demand(length === RegionAccess.size, `the reply has ${length} bytes of payload`, '16, or an error');
    },
  }),
  serverRule({
    ...{ id: 'region.no-such-region', severity: 'must', clause: ACCESS },
    title: 'An access to a region that is not there is refused',
    why: 'the index comes from outside; behind the table there is other memory',
    async check(world) {
      const wire = await world.open();
      const { regions, numRegions } = world.facts;
      const absent = regions.find(({ size }) => size === 0n)?.index ?? numRegions;
      for (const region of [absent, Math.max(numRegions, 9), 0xffff_ffff]) {
        refused(await tryRead(wire, region, 0n, 4), `REGION_READ of region ${region}`);
        refused(await tryWrite(wire, region, 0n, fields(0)), `REGION_WRITE of region ${region}`);
      }
    },
  }),
  serverRule({
    ...{ id: 'region.behind-the-end', severity: 'must', clause: ACCESS },
    title: 'An access that is not wholly inside its region is refused',
    why: 'it would reach other memory of the server',
    async check(world) {
      const wire = await world.open();
      const present = world.facts.regions.filter(({ size }) => size > 0n);
      for (const { index, size } of present) {
        for (const offset of [size - 2n, size, size + BEHIND]) {
          refused(
            await tryRead(wire, index, offset, 4),
            `4 bytes at ${offset} of region ${index}, of ${size} bytes,`,
          );
        }
      }
    },
  }),
  serverRule({
    ...{ id: 'region.offset-wraps', severity: 'must', clause: ACCESS },
    title: 'An access whose end wraps around 2^64 is refused',
    why: 'a sum that wraps passes a check against the size of the region',
    async check(world) {
      const wire = await world.open();
      for (const offset of [2n ** 64n - 1n, 2n ** 64n - 4n, 2n ** 63n, 2n ** 53n]) {
        refused(await tryRead(wire, CONFIG, offset, 8), `REGION_READ at ${offset}`);
        refused(await tryWrite(wire, CONFIG, offset, fields(0, 0)), `REGION_WRITE at ${offset}`);
      }
    },
  }),
  serverRule({
    ...{ id: 'region.too-much', severity: 'must' },
    clause: specification('Read and Write Operations: count must not exceed max_data_xfer_size of the peer'),
    title: 'A read of more than max_data_xfer_size is refused',
    why: 'a client could have the server make room for 4 GiB',
    async check(world) {
      const wire = await world.open();
      const large = world.facts.regions.reduce((a, b) => (b.size > a.size ? b : a));
      for (const count of [world.facts.maxDataXferSize + 1, 0xffff_fff0]) {
        refused(await tryRead(wire, large.index, 0n, count), `REGION_READ of ${count} bytes`);
      }
    },
  }),
  serverRule({
    ...{ id: 'region.malformed', severity: 'must', clause: ACCESS },
    title: 'A message whose length does not fit its count is refused',
    why: 'who believes the count reads behind the end of the message',
    check: async (world) =>
      refuseEach(await world.open(), [
        ['REGION_READ cut off', Command.REGION_READ, fields(0n, CONFIG)],
        ['REGION_WRITE cut off', Command.REGION_WRITE, fields(0n, CONFIG)],
        [
          'REGION_WRITE with less data than it says',
          Command.REGION_WRITE,
          fields(BEHIND, CONFIG, 4, Uint8Array.of(0)),
        ],
        [
          'REGION_WRITE with more data than it says',
          Command.REGION_WRITE,
          fields(INTERRUPT_LINE, CONFIG, 1, 0),
        ],
      ]),
  }),
  serverRule({
    ...{
      id: 'region.write-read',
      severity: 'must',
      clause: uapi('PCI Local Bus 3.0, 6.2.4: Interrupt Line'),
      needs: ['spawn'],
    },
    title: 'What is written to the configuration space is read back, and the reply repeats the request',
    why: 'firmware tells the operating system by this register where the interrupt arrives',
    async check(world) {
      const wire = await world.open();
      for (const value of [0x0a, 0x0b]) {
        const reply = worked(await tryWrite(wire, CONFIG, INTERRUPT_LINE, Uint8Array.of(value)));
        demand(reply.length === RegionAccess.size, `the reply has ${reply.length} bytes`, '16');
        demand(
          u64At(reply, 0) === INTERRUPT_LINE,
          `the reply names offset ${u64At(reply, 0)}`,
          `${INTERRUPT_LINE}`,
        );
        demand(u32At(reply, 12) === 1, `the reply names ${u32At(reply, 12)} bytes`, '1');
        const [back] = await read(wire, CONFIG, INTERRUPT_LINE, 1);
        demand(back === value, `INTERRUPT_LINE reads ${back} after ${value} was written`, `${value}`);
      }
    },
  }),
  serverRule({
    ...{ id: 'region.posted-write', severity: 'must', needs: ['spawn'] },
    clause: specification(
      'Command Concurrency: the older command will have been processed before the reply to the younger',
    ),
    title: 'A write with No_reply has been carried out when a later read is answered',
    why: 'QEMU posts all writes to memory BARs',
    async check(world) {
      const wire = await world.open();
      for (const value of [0x11, 0x22]) {
        const payload = fields(INTERRUPT_LINE, CONFIG, 1, Uint8Array.of(value));
        await wire.post(Command.REGION_WRITE, payload, { flags: HeaderFlag.NO_REPLY });
        const [back] = await read(wire, CONFIG, INTERRUPT_LINE, 1);
        demand(back === value, `it reads ${back} after ${value} was posted`, `${value}`);
      }
    },
  }),
  serverRule({
    ...{ id: 'region.bar-sizing', severity: 'must', needs: ['spawn'] },
    clause: uapi('PCI Local Bus 3.0, 6.2.5.1: Address Maps'),
    title: 'A BAR that is written with all ones tells the size of its region',
    why: 'it is how firmware and kernels find out how much room a BAR needs',
    async check(world) {
      const wire = await world.open();
      const bars = world.facts.regions.filter(({ index, size }) => index <= RegionIndex.BAR5 && size > 0n);
      if (bars.length === 0) notApplicable('the device has no BARs');
      for (const { index, size } of bars) {
        const at = BARS + BigInt(4 * index);
        const before = await read(wire, CONFIG, at, 4);
        await write(wire, CONFIG, at, fields(0xffff_ffff));
        const mask = u32At(await read(wire, CONFIG, at, 4), 0);
        await write(wire, CONFIG, at, before);
        const kind = (mask & 1) === 0 ? 0xf : 0x3;
        const told = BigInt((~(mask & ~kind) >>> 0) + 1);
        // A BAR of 64 bits has the rest of the size in the next register, and an I/O BAR may decode 16 bits.
        if (size >= 2n ** 32n || (mask & 1) === 1) continue;
        demand(
          told === size,
          `BAR ${index} tells ${told} bytes, and its region has ${size}`,
          'the same size',
        );
      }
    },
  }),
  serverRule({
    ...{
      id: 'region.write-multi',
      severity: 'must',
      clause: specification('VFIO_USER_REGION_WRITE_MULTI'),
      needs: ['spawn'],
    },
    title: 'REGION_WRITE_MULTI carries out its writes in order, and counts them',
    why: 'a server that says write_multiple gets it from QEMU when messages pile up',
    async check(world) {
      if (!world.facts.writeMultiple) notApplicable('the server does not name write_multiple');
      const wire = await world.open();
      const one = (value: number): Uint8Array => fields(INTERRUPT_LINE, CONFIG, 1, BigInt(value));
      const payload = joined(fields(2n), one(0x31), one(0x32));
      const reply = worked(await wire.request(Command.REGION_WRITE_MULTI, payload));
      demand(u64At(reply, 0) === 2n, `wr_cnt of the reply is ${u64At(reply, 0)}`, '2');
      const [back] = await read(wire, CONFIG, INTERRUPT_LINE, 1);
      demand(back === 0x32, `it reads ${back} after 49 and 50 were written`, '50');
    },
  }),
  serverRule({
    ...{
      id: 'region.write-multi-malformed',
      severity: 'must',
      clause: specification('VFIO_USER_REGION_WRITE_MULTI'),
    },
    title: 'REGION_WRITE_MULTI with too few writes, or a write of more than 8 bytes, is refused',
    why: 'who believes the count reads behind the end of the message',
    async check(world) {
      if (!world.facts.writeMultiple) notApplicable('the server does not name write_multiple');
      await refuseEach(await world.open(), [
        ['REGION_WRITE_MULTI cut off', Command.REGION_WRITE_MULTI, fields(2n, BEHIND, CONFIG, 1, 0n)],
        ['REGION_WRITE_MULTI of 2^60 writes', Command.REGION_WRITE_MULTI, fields(1n << 60n)],
        ['a write of 9 bytes', Command.REGION_WRITE_MULTI, fields(1n, INTERRUPT_LINE, CONFIG, 9, 0n)],
      ]);
    },
  }),
  serverRule({
    ...{ id: 'region.mapping-writes', severity: 'must', needs: ['spawn'] },
    clause: specification('Region Information: the server is responsible for polling for client updates'),
    title: 'What is written through REGION_WRITE is seen in the mapping of the region',
    why: 'a guest that maps a BAR and one that does not see the same device',
    async check(world) {
      const region = world.facts.regions.find(({ areas, migrates }) => areas.length > 0 && !migrates);
      const [area] = region?.areas ?? [];
      if (region === undefined || area === undefined) notApplicable('no region can be mapped');
      const wire = await world.open();
      const info = fields(region.argsz, 0, region.index, 0, 0n, 0n);
      const [fd] = (await wire.request(Command.DEVICE_GET_REGION_INFO, info)).fds;
      if (fd === undefined) notApplicable('no descriptor came along');
      const data = fields(0x1357_9bdf);
      await write(wire, region.index, area.offset, data);
      await delay(1);
      const buffer = world.native.map(fd, Number(region.offset + area.offset), 4, 1);
      demand(typeof buffer !== 'number', 'the region can not be mapped', 'memory');
      const seen = Uint8Array.from(new Uint8Array(buffer));
      world.native.unmap(buffer);
      demand(equal(seen, data), 'the mapping shows other bytes than were written', 'the same');
    },
  }),
];
