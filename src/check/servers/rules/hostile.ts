import {
  Command,
  Feature,
  FeatureFlag,
  littleEndian,
  messages,
  RegionIndex,
} from '../../../protocol/index.ts';
import { practice, specification } from '../../rule.ts';
import { demand } from '../../verdict.ts';
import { fields, joined, rawMessage, viewOf } from '../../wire/bytes.ts';
import type { Wire } from '../../wire/wire.ts';
import { failed, feature, tryWrite, worked } from '../ask.ts';
import { Random } from '../random.ts';
import { type ServerRule, serverRule } from '../server-rule.ts';
import type { ServerWorld } from '../world.ts';

const SECURITY = specification('Security Considerations');
const needs = ['spawn'] as const;
const INFO = fields(16, 0, 0, 0);
const SURVIVES = 'whoever can connect could end the device of a guest, or worse';
const REQUESTS = messages.filter(({ sender, command }) => sender === 'client' && command < 0xfe00);

/** Sends without caring what becomes of it. */
async function say(wire: Wire, bytes: Uint8Array, fds: readonly number[] = []): Promise<void> {
  if (wire.ended === null) await wire.send(bytes, fds).catch(() => {});
}

/** Messages that are right, to be spoilt. */
const SAMPLES: readonly [Uint8Array, ...Uint8Array[]] = [
  rawMessage(Command.DEVICE_GET_INFO, INFO),
  rawMessage(Command.DMA_MAP, fields(32, 3, 0n, 0x10_0000n, 0x1000n)),
  rawMessage(Command.DMA_UNMAP, fields(24, 0, 0x10_0000n, 0x1000n)),
  rawMessage(Command.DEVICE_GET_REGION_INFO, fields(256, 0, 0, 0, 0n, 0n)),
  rawMessage(Command.DEVICE_GET_REGION_IO_FDS, fields(256, 0, 0, 0)),
  rawMessage(Command.DEVICE_GET_IRQ_INFO, fields(16, 0, 2, 0)),
  rawMessage(Command.DEVICE_SET_IRQS, fields(22, 0x22, 0, 0, 2, Uint8Array.of(1, 1))),
  rawMessage(Command.REGION_READ, fields(0n, RegionIndex.CONFIG, 16)),
  rawMessage(Command.REGION_WRITE, fields(0x3cn, RegionIndex.CONFIG, 4, 0)),
  rawMessage(Command.REGION_WRITE_MULTI, fields(1n, 0x3cn, RegionIndex.CONFIG, 1, 0n)),
  rawMessage(Command.DEVICE_FEATURE, fields(64, FeatureFlag.GET | Feature.MIG_DEVICE_STATE)),
  rawMessage(
    Command.DEVICE_FEATURE,
    fields(64, FeatureFlag.SET | Feature.DMA_LOGGING_START, 4096n, 1, 0, 0n, 4096n),
  ),
  rawMessage(
    Command.DEVICE_FEATURE,
    fields(128, FeatureFlag.GET | Feature.DMA_LOGGING_REPORT, 0n, 0x1_0000n, 4096n),
  ),
  rawMessage(Command.MIG_DATA_READ, fields(64, 56)),
  rawMessage(Command.MIG_DATA_WRITE, fields(12, 4, 0)),
];

const INTERESTING = [
  0, 1, 8, 15, 16, 17, 255, 4095, 4096, 0x7fff_ffff, 0x8000_0000, 0xffff_fff0, 0xffff_ffff,
] as const;

/** One message with something wrong, whose size is mostly that of its bytes: otherwise little would ever be read. */
function spoilt(random: Random): Uint8Array {
  const bytes = Uint8Array.from(random.pick(SAMPLES));
  const view = viewOf(bytes);
  for (let times = 1 + random.below(3); times > 0; times -= 1) {
    const at = 16 + 4 * random.below((bytes.length - 16) >> 2);
    if (at + 4 <= bytes.length) view.setUint32(at, random.pick(INTERESTING), littleEndian);
  }
  if (random.below(8) === 0) bytes[random.below(bytes.length)] = random.below(256);
  const length = random.below(4) === 0 ? 16 + random.below(bytes.length - 15) : bytes.length;
  if (random.below(16) !== 0) view.setUint32(4, length, littleEndian);
  return bytes.subarray(0, length);
}

async function spoiltMessages(world: ServerWorld): Promise<void> {
  const random = new Random(world.seed);
  for (let batch = 0; batch < world.times(100); batch += 1) {
    const wire = await world.open();
    wire.onCommand = () => {};
    const fd = world.native.memfd('ferry-check', 4096, false);
    for (let count = 0; count < 20; count += 1)
      await say(wire, spoilt(random), random.below(4) === 0 ? [fd] : []);
    world.native.close(fd);
    await world.stillServes(`20 spoilt messages (batch ${batch} of seed ${world.seed})`);
    world.closeWires();
  }
}

/** Clients that err, or attack. */
export const hostileRules: readonly ServerRule[] = [
  serverRule({
    ...{ id: 'hostile.short-payloads', severity: 'hardening', clause: SECURITY, why: SURVIVES, needs },
    title: 'Every command is survived with every payload that is too short for it',
    async check(world) {
      for (const { name, command, request } of REQUESTS) {
        const wire = await world.open();
        for (let length = 0; length < request.minSize; length += 1) {
          await say(wire, rawMessage(command, new Uint8Array(length).fill(0xff), { id: wire.nextId() }));
        }
        wire.close();
        await world.stillServes(`${name} with payloads that are too short`);
        world.closeWires();
      }
    },
  }),
  serverRule({
    ...{ id: 'hostile.spoilt-messages', severity: 'hardening', clause: SECURITY, why: SURVIVES, needs },
    title: 'Thousands of messages with something wrong are survived',
    check: spoiltMessages,
  }),
  serverRule({
    ...{ id: 'hostile.random-bytes', severity: 'hardening', clause: SECURITY, why: SURVIVES, needs },
    title: 'Bytes that are no messages are survived',
    async check(world) {
      const random = new Random(world.seed);
      for (let turn = 0; turn < world.times(20); turn += 1) {
        const wire = await world.connect();
        await say(wire, random.bytes(16 + random.below(500)));
        wire.close();
        await world.stillServes(`random bytes (turn ${turn} of seed ${world.seed})`);
        world.closeWires();
      }
    },
  }),
  serverRule({
    ...{ id: 'hostile.many-descriptors', severity: 'hardening', clause: SECURITY, why: SURVIVES, needs },
    title: 'A message with 250 descriptors is survived',
    async check(world) {
      const wire = await world.open();
      const fd = world.memfd(4096);
      const fds = Array.from({ length: 250 }, () => fd);
      await say(wire, rawMessage(Command.DEVICE_GET_INFO, INFO, { id: 1 }), fds);
      await wire.replyOrEnd(1, 'a message with 250 descriptors');
      await world.stillServes('a message with 250 descriptors');
    },
  }),
  serverRule({
    ...{ id: 'hostile.stray-descriptor', severity: 'should', clause: SECURITY },
    title: 'A descriptor with a command that takes none does not cost the connection',
    why: 'it means nothing, so it is closed; the client’s other messages are as good as before',
    async check(world) {
      const wire = await world.open();
      await wire.request(Command.DEVICE_GET_INFO, INFO, { fds: [world.memfd(4096)] });
      worked(await wire.request(Command.DEVICE_GET_INFO, INFO), 'the message after it');
    },
  }),
  serverRule({
    ...{ id: 'hostile.never-reads', severity: 'hardening', clause: SECURITY, why: SURVIVES, needs },
    title: 'A client that sends and never reads is survived',
    async check(world) {
      const wire = await world.open();
      const read = rawMessage(Command.REGION_READ, fields(0n, RegionIndex.CONFIG, 256));
      const many = joined(...Array.from({ length: 200 }, () => read));
      // The socket of this side is not read; what the server does not take any more stays in the kernel.
      wire.pause();
      for (let turn = 0; turn < world.times(20); turn += 1)
        world.native.send(wire.fd, many, 0, many.length, null, 0, 0, null);
      wire.close();
      await world.stillServes('a client that never reads');
    },
  }),
  serverRule({
    ...{ id: 'hostile.no-logging', severity: 'hardening', needs },
    clause: practice('libvfio-user, dma.c: assert(dma != NULL) when a device without DMA is asked to log'),
    title: 'Logging that the device does not offer is refused, and survived',
    why: SURVIVES,
    async check(world) {
      const wire = await world.open();
      for (const flags of [
        FeatureFlag.SET | Feature.DMA_LOGGING_START,
        FeatureFlag.SET | Feature.DMA_LOGGING_STOP,
        FeatureFlag.GET | Feature.DMA_LOGGING_REPORT,
      ]) {
        const reply = await feature(wire, flags, fields(4096n, 0, 0, 4096n));
        if (!world.facts.logging)
          demand(failed(reply), 'logging was accepted, which the device does not offer', 'an error');
      }
      await world.stillServes('logging');
    },
  }),
  serverRule({
    ...{ id: 'hostile.configuration-bytes', severity: 'hardening', clause: SECURITY, why: SURVIVES, needs },
    title: 'Writes of one byte anywhere in the configuration space are survived',
    async check(world) {
      const wire = await world.open();
      for (let offset = 0; offset < 256; offset += 1) {
        await tryWrite(wire, RegionIndex.CONFIG, BigInt(offset), Uint8Array.of(0));
      }
      await world.stillServes('writes to each byte of the configuration space');
    },
  }),
  serverRule({
    ...{ id: 'hostile.many-connections', severity: 'hardening', clause: SECURITY, why: SURVIVES, needs },
    title: 'Connections that come and go at once, many of them, are survived',
    async check(world) {
      for (let turn = 0; turn < world.times(100); turn += 1) (await world.connect()).close();
      await world.stillServes('many short connections');
    },
  }),
  serverRule({
    ...{ id: 'hostile.huge-argsz', severity: 'hardening', clause: SECURITY },
    title: 'An argsz of 4 GiB gets an ordinary reply, or an error',
    why: 'argsz is what the client has room for; a server that makes as much room can be ended by it',
    async check(world) {
      const wire = await world.open();
      const huge = 0xffff_fff0;
      const reply = await wire.request(
        Command.DEVICE_GET_REGION_INFO,
        fields(huge, 0, RegionIndex.CONFIG, 0, 0n, 0n),
      );
      const { length } = reply.payload;
      demand(length < 65_536, `the reply has ${length} bytes`, 'what there is to tell');
    },
  }),
];
