import {
  Command,
  DeviceInfo,
  DeviceInfoFlag,
  deviceGetInfo,
  deviceGetRegionInfo,
  deviceGetRegionIoFds,
  NO_FD_INDEX,
  PCI_NUM_REGIONS,
  RegionIndex,
  RegionInfo,
  RegionInfoFlag,
} from '../../../protocol/index.ts';
import { practice, specification, uapi } from '../../rule.ts';
import { demand, notApplicable } from '../../verdict.ts';
import { equal, fields } from '../../wire/bytes.ts';
import type { Received } from '../../wire/message-cutter.ts';
import type { Wire } from '../../wire/wire.ts';
import { ask, decoded, read, worked } from '../ask.ts';
import type { RegionFacts } from '../facts.ts';
import { refuseEach, type ServerRule, serverRule } from '../server-rule.ts';
import type { ServerWorld } from '../world.ts';

const GET_INFO = specification('VFIO_USER_DEVICE_GET_INFO');
const REGION = specification('VFIO_USER_DEVICE_GET_REGION_INFO');
const IO_FDS = specification('VFIO_USER_DEVICE_GET_REGION_IO_FDS');
const SIZES = specification('Message sizes: argsz');

const { MMAP, CAPS } = RegionInfoFlag;

function regionInfo(wire: Wire, index: number, argsz: number): Promise<Received> {
  return wire.request(Command.DEVICE_GET_REGION_INFO, fields(argsz, 0, index, 0, 0n, 0n));
}

/** The regions that can be mapped, or not applicable. */
function mappable(world: ServerWorld): readonly RegionFacts[] {
  const found = world.facts.regions.filter(({ flags }) => (flags & MMAP) !== 0);
  return found.length === 0 ? notApplicable('the device has no region that can be mapped') : found;
}

/** Reads the beginning of a mapping of a region's first area through the descriptor that came along. */
function mapped(world: ServerWorld, fd: number, { areas, offset }: RegionFacts, length: number): Uint8Array {
  const at = Number(offset + (areas[0]?.offset ?? 0n));
  const buffer = world.native.map(fd, at, length, 1);
  demand(typeof buffer !== 'number', 'the descriptor of the region can not be mapped', 'memory');
  const copy = Uint8Array.from(new Uint8Array(buffer));
  world.native.unmap(buffer);
  return copy;
}

/** What the server says of its device and regions. */
export const infoRules: readonly ServerRule[] = [
  serverRule({
    ...{ id: 'info.device', severity: 'must', clause: GET_INFO },
    title: 'DEVICE_GET_INFO tells of a PCI device with its configuration space',
    why: 'it is the first thing that every client asks for',
    async check(world) {
      const wire = await world.open();
      const bytes = await ask(wire, Command.DEVICE_GET_INFO, fields(DeviceInfo.size, 0, 0, 0));
      const { argsz, flags, numRegions } = decoded(deviceGetInfo.reply, bytes);
      demand(argsz >= DeviceInfo.size, `argsz is ${argsz}`, `at least ${DeviceInfo.size}`);
      demand(
        (flags & DeviceInfoFlag.PCI) !== 0,
        'the flags lack PCI',
        'PCI, the only kind of device there is',
      );
      demand(numRegions > RegionIndex.CONFIG, `there are ${numRegions} regions`, 'at least 8');
    },
  }),
  serverRule({
    ...{ id: 'info.qemu-counts', severity: 'interoperability' },
    clause: practice('QEMU 11.1, hw/vfio-user/device.c: VFIO_USER_MAX_REGIONS 100, VFIO_USER_MAX_IRQS 50'),
    title: 'There are 8 to 100 regions and 3 to 50 types of interrupt',
    why: 'QEMU refuses a device with fewer or more',
    async check(world) {
      const wire = await world.open();
      const bytes = await ask(wire, Command.DEVICE_GET_INFO, fields(DeviceInfo.size, 0, 0, 0));
      const { numRegions, numIrqs } = decoded(deviceGetInfo.reply, bytes);
      demand(numRegions >= 8 && numRegions <= 100, `there are ${numRegions} regions`, '8 to 100');
      demand(numIrqs >= 3 && numIrqs <= 50, `there are ${numIrqs} types of interrupt`, '3 to 50');
    },
  }),
  serverRule({
    ...{ id: 'info.larger-argsz', severity: 'must', clause: SIZES },
    title: 'An argsz that is larger than the reply is accepted',
    why: 'a newer client has room for more than this server says',
    async check(world) {
      const wire = await world.open();
      await ask(wire, Command.DEVICE_GET_INFO, fields(4096, 0, 0, 0));
      worked(await regionInfo(wire, RegionIndex.CONFIG, 4096));
    },
  }),
  serverRule({
    ...{ id: 'info.small-argsz', severity: 'must', clause: SIZES },
    title: 'An argsz without room for the fixed part is refused',
    why: 'the reply would not fit where the client wants it',
    check: async (world) =>
      refuseEach(await world.open(), [
        ['DEVICE_GET_INFO with argsz 15', Command.DEVICE_GET_INFO, fields(15, 0, 0, 0)],
        ['DEVICE_GET_REGION_INFO with argsz 31', Command.DEVICE_GET_REGION_INFO, fields(31, 0, 7, 0, 0n, 0n)],
      ]),
  }),
  serverRule({
    ...{ id: 'info.each-region', severity: 'must', clause: REGION },
    title: 'Every region that is counted can be asked about, and the answer is about it',
    why: 'clients ask for each region, and a guest sees what they are told',
    async check(world) {
      const wire = await world.open();
      for (let index = 0; index < Math.min(world.facts.numRegions, 64); index += 1) {
        const reply = await regionInfo(wire, index, RegionInfo.size);
        const bytes = worked(reply, `DEVICE_GET_REGION_INFO of region ${index}`);
        const info = decoded(deviceGetRegionInfo.reply, bytes.subarray(0, RegionInfo.size));
        demand(info.index === index, `asked about region ${index}, it tells of ${info.index}`, `${index}`);
        demand(info.argsz >= RegionInfo.size, `argsz is ${info.argsz}`, `at least ${RegionInfo.size}`);
        const mmapOfNothing = info.size === 0n && (info.flags & MMAP) !== 0;
        demand(!mmapOfNothing, `region ${index} has no bytes and can be mapped`, 'no MMAP');
      }
    },
  }),
  serverRule({
    ...{ id: 'info.no-such-region', severity: 'must' },
    clause: uapi('vfio_pci_core.c, VFIO_DEVICE_GET_REGION_INFO: EINVAL'),
    title: 'A region that is not counted is refused',
    why: 'the index comes from outside; behind the table there is other memory',
    async check(world) {
      const wire = await world.open();
      for (const index of [Math.max(world.facts.numRegions, PCI_NUM_REGIONS), 0x7fff_ffff, 0xffff_ffff]) {
        const payload = fields(32, 0, index, 0, 0n, 0n);
        await refuseEach(wire, [[`region ${index}`, Command.DEVICE_GET_REGION_INFO, payload]]);
      }
    },
  }),
  serverRule({
    ...{ id: 'info.config-region', severity: 'must' },
    clause: uapi('linux/vfio.h, VFIO_PCI_CONFIG_REGION_INDEX'),
    title: 'Region 7 is the configuration space: 256 or 4096 bytes, readable and writable',
    why: 'without it no guest finds the device',
    async check(world) {
      const wire = await world.open();
      const bytes = worked(await regionInfo(wire, RegionIndex.CONFIG, RegionInfo.size));
      const { size, flags } = decoded(deviceGetRegionInfo.reply, bytes.subarray(0, RegionInfo.size));
      demand(size === 256n || size === 4096n, `it has ${size} bytes`, '256 or 4096');
      const both = RegionInfoFlag.READ | RegionInfoFlag.WRITE;
      demand((flags & both) === both, 'its flags lack READ or WRITE', 'READ|WRITE');
    },
  }),
  serverRule({
    ...{ id: 'info.capabilities-grow', severity: 'must', clause: SIZES },
    title: 'A region whose capabilities do not fit tells the argsz that they need, and keeps to it',
    why: 'clients ask with 32 first, and then with what they are told',
    async check(world) {
      const wire = await world.open();
      const grown = world.facts.regions.filter(({ argsz }) => argsz > RegionInfo.size);
      if (grown.length === 0) notApplicable('no region has capabilities');
      for (const { index } of grown) {
        const small = worked(await regionInfo(wire, index, RegionInfo.size));
        const { length } = small;
        demand(
          length === RegionInfo.size,
          `with argsz 32 the reply has ${length} bytes`,
          '32, the fixed part',
        );
        const { argsz } = RegionInfo.read(new DataView(small.buffer, small.byteOffset), 0);
        const whole = worked(await regionInfo(wire, index, argsz));
        demand(whole.length === argsz, `with argsz ${argsz} the reply has ${whole.length} bytes`, `${argsz}`);
        const { flags, capOffset } = RegionInfo.read(new DataView(whole.buffer, whole.byteOffset), 0);
        demand((flags & CAPS) !== 0, 'the flags of the whole reply lack CAPS', 'CAPS');
        demand(capOffset >= RegionInfo.size, `cap_offset is ${capOffset}`, 'at least 32');
      }
    },
  }),
  serverRule({
    ...{ id: 'info.capability-chain', severity: 'must' },
    clause: specification('VFIO region capabilities; VFIO sparse mmap cap header'),
    title: 'The chain of capabilities stays in the reply, ends, and its areas lie in the region',
    why: 'a client that follows it blindly reads other memory, or never comes to the end',
    async check(world) {
      const wire = await world.open();
      const grown = world.facts.regions.filter(({ argsz }) => argsz > RegionInfo.size);
      if (grown.length === 0) notApplicable('no region has capabilities');
      for (const { index, argsz } of grown) {
        decoded(deviceGetRegionInfo.reply, worked(await regionInfo(wire, index, argsz)));
      }
    },
  }),
  serverRule({
    ...{ id: 'info.mmap-descriptor', severity: 'must' },
    clause: specification('VFIO_REGION_INFO_FLAG_MMAP: the reply will include a file descriptor'),
    title: 'A region has a descriptor when it can be mapped, and none otherwise',
    why: 'a client can not map without one, and loses one that it did not expect',
    async check(world) {
      const wire = await world.open();
      for (const { index, flags, argsz } of world.facts.regions) {
        const { fds } = await regionInfo(wire, index, argsz);
        const due = (flags & MMAP) === 0 ? 0 : 1;
        demand(fds.length === due, `${fds.length} descriptors came for region ${index}`, `${due}`);
      }
    },
  }),
  serverRule({
    ...{ id: 'info.mmap-same-memory', severity: 'must' },
    clause: specification(
      'Read and Write Operations: must be supported even if the region has been shared as mappable',
    ),
    title: 'The mapping of a region shows what REGION_READ reads',
    why: 'a guest uses both ways; they have to lead to the same device',
    async check(world) {
      const regions = mappable(world).filter(({ migrates }) => !migrates);
      const wire = await world.open();
      for (const region of regions) {
        const [area] = region.areas;
        const { fds } = await regionInfo(wire, region.index, region.argsz);
        const [fd] = fds;
        if (area === undefined || fd === undefined) continue;
        const direct = mapped(world, fd, region, 64);
        const asked = await read(wire, region.index, area.offset, 64);
        demand(
          equal(direct, asked),
          `region ${region.index} differs at the start of its first area`,
          'the same bytes',
        );
      }
    },
  }),
  serverRule({
    ...{ id: 'info.io-fds', severity: 'must', clause: IO_FDS },
    title: 'The sub-regions of GET_REGION_IO_FDS lie in their region and name descriptors that came along',
    why: 'the client has KVM signal them at these places',
    async check(world) {
      const wire = await world.open();
      let seen = 0;
      for (const { index, size } of world.facts.regions.filter((region) => region.size > 0n)) {
        const first = await wire.request(Command.DEVICE_GET_REGION_IO_FDS, fields(16, 0, index, 0));
        if ((first.header.flags & 0x20) !== 0) continue;
        const { argsz } = decoded(deviceGetRegionIoFds.reply, first.payload);
        const reply = await wire.request(Command.DEVICE_GET_REGION_IO_FDS, fields(argsz, 0, index, 0));
        const value = decoded(deviceGetRegionIoFds.reply, worked(reply));
        for (const sub of value.subRegions ?? []) {
          seen += 1;
          demand(
            sub.offset + sub.size <= size,
            `a sub-region ends at ${sub.offset + sub.size}`,
            `at most ${size}`,
          );
          const named = sub.fdIndex === NO_FD_INDEX || sub.fdIndex < reply.fds.length;
          demand(named, `fd_index is ${sub.fdIndex} of ${reply.fds.length}`, 'one of them');
        }
      }
      if (seen === 0) notApplicable('no region has sub-regions');
    },
  }),
  serverRule({
    ...{ id: 'info.io-fds-refused', severity: 'must', clause: IO_FDS },
    title: 'GET_REGION_IO_FDS with flags, a small argsz or no such region is refused',
    why: 'the fields must be zero until they mean something',
    check: async (world) =>
      refuseEach(await world.open(), [
        ['GET_REGION_IO_FDS with flags', Command.DEVICE_GET_REGION_IO_FDS, fields(16, 1, 0, 0)],
        ['GET_REGION_IO_FDS with argsz 15', Command.DEVICE_GET_REGION_IO_FDS, fields(15, 0, 0, 0)],
        ['GET_REGION_IO_FDS of region 4096', Command.DEVICE_GET_REGION_IO_FDS, fields(16, 0, 4096, 0)],
      ]),
  }),
];
