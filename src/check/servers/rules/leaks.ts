import { setTimeout as delay } from 'node:timers/promises';
import { Command, IrqInfoFlag, IrqSetFlag, RegionIndex } from '../../../protocol/index.ts';
import { specification } from '../../rule.ts';
import { broken, inconclusive, notApplicable } from '../../verdict.ts';
import { fields, rawMessage } from '../../wire/bytes.ts';
import { Patience } from '../../wire/patience.ts';
import { worked } from '../ask.ts';
import { openDescriptors, ownMemory } from '../instance.ts';
import { type ServerRule, serverRule } from '../server-rule.ts';
import type { ServerWorld } from '../world.ts';
import { map, unmap } from './dma.ts';

const CLEANED = specification('Client Disconnection: including closing any passed file descriptors');
const ENDS = 'a server that runs for months ends with EMFILE, and takes all its clients with it';
const needs = ['spawn', 'process'] as const;
/** How many descriptors a server may hold on to for its own reasons. */
const SLACK = 3;

function pidOf({ instance }: ServerWorld): number {
  return instance.pid ?? inconclusive("the server's process is gone");
}

/** Turns something over, and demands that the server has no more descriptors afterwards than before. */
const keepsNone =
  (what: string, turn: (world: ServerWorld) => Promise<void>) => async (world: ServerWorld) => {
    const pid = pidOf(world);
    const count = (): number =>
      openDescriptors(pid) ?? inconclusive(`the descriptors of process ${pid} can't be seen`);
    for (let i = 0; i < 3; i += 1) await turn(world);
    await settled(world);
    const before = count();
    const turns = world.times(30) + SLACK + 1;
    for (let i = 0; i < turns; i += 1) await turn(world);
    await settled(world);
    const patience = new Patience(Math.min(1000, world.timeoutMs));
    while (count() > before + SLACK) {
      if (patience.left === 0) {
        broken(
          `after ${turns} times ${what} the server has ${count()} descriptors, ${before} before`,
          `${before}`,
        );
      }
      await delay(10);
    }
  };

/** The server has seen that the clients before have gone, when it serves another one. */
async function settled(world: ServerWorld): Promise<void> {
  world.closeWires();
  const wire = await world.open();
  wire.close();
  await delay(5);
}

/** Memory whose descriptor is closed here at once, so that only the server has it. */
async function lent<T>({ native }: ServerWorld, size: number, use: (fd: number) => Promise<T>): Promise<T> {
  const fd = native.memfd('ferry-check', size, false);
  try {
    return await use(fd);
  } finally {
    native.close(fd);
  }
}

const BASE = 0x10_0000n;

/** Descriptors and memory that are not given back. */
export const leaksRules: readonly ServerRule[] = [
  serverRule({
    ...{
      id: 'leaks.connections',
      severity: 'must',
      clause: specification('Client Disconnection'),
      why: ENDS,
      needs,
    },
    title: 'A connection that has ended leaves no descriptor behind',
    check: keepsNone('a connection', async (world) => {
      const wire = await world.open();
      wire.close();
    }),
  }),
  serverRule({
    ...{
      id: 'leaks.unmapped',
      severity: 'must',
      clause: specification('VFIO_USER_DMA_UNMAP'),
      why: ENDS,
      needs,
    },
    title: 'Memory that was unmapped leaves no descriptor behind',
    check: keepsNone('DMA_MAP and DMA_UNMAP', async (world) => {
      const wire = await world.open();
      await lent(world, 0x1000, async (fd) => worked(await map(wire, { address: BASE, fds: [fd] })));
      worked(await unmap(wire, BASE));
      wire.close();
    }),
  }),
  serverRule({
    ...{ id: 'leaks.maps', severity: 'must', clause: CLEANED, why: ENDS, needs },
    title: 'Memory of a client that has gone leaves no descriptor behind',
    check: keepsNone('a client that leaves its maps behind', async (world) => {
      const wire = await world.open();
      await lent(world, 0x1000, (fd) => map(wire, { address: BASE, fds: [fd] }));
      wire.close();
    }),
  }),
  serverRule({
    ...{ id: 'leaks.eventfds', severity: 'must', why: ENDS, needs },
    clause: specification(
      'Client Disconnection: all IRQ file descriptors passed from the old client are closed',
    ),
    title: 'Eventfds of a client that has gone are closed',
    check: keepsNone('a client that leaves its eventfds behind', async (world) => {
      const irq = world.facts.irqs.find(
        ({ count, flags }) => count > 0 && (flags & IrqInfoFlag.EVENTFD) !== 0,
      );
      if (irq === undefined) notApplicable('the device has no interrupts');
      const wire = await world.open();
      const fd = world.native.eventfd(0);
      const flags = IrqSetFlag.DATA_EVENTFD | IrqSetFlag.ACTION_TRIGGER;
      await wire.request(Command.DEVICE_SET_IRQS, fields(20, flags, irq.index, 0, 1), { fds: [fd] });
      world.native.close(fd);
      wire.close();
    }),
  }),
  serverRule({
    ...{ id: 'leaks.refused', severity: 'must', clause: CLEANED, why: ENDS, needs },
    title: 'Descriptors of a message that is refused are closed at once',
    check: keepsNone('a refused message with descriptors', async (world) => {
      const wire = await world.open();
      await lent(world, 0x1000, async (fd) => {
        await wire.request(Command.DMA_MAP, fields(32, 0x100, 0n, BASE, 0x1000n), { fds: [fd] });
        await wire.request(Command.DMA_MAP, fields(31, 3, 0n, BASE, 0x1000n), { fds: [fd] });
      });
      wire.close();
    }),
  }),
  serverRule({
    ...{
      id: 'leaks.stray',
      severity: 'hardening',
      clause: specification('Security Considerations'),
      why: ENDS,
      needs,
    },
    title: 'Descriptors that nobody asked for are closed',
    check: keepsNone('a DEVICE_GET_INFO with a descriptor', async (world) => {
      const wire = await world.open();
      await lent(world, 0x1000, (fd) =>
        wire.request(Command.DEVICE_GET_INFO, fields(16, 0, 0, 0), { fds: [fd] }).catch(() => {}),
      );
      wire.close();
    }),
  }),
  serverRule({
    ...{ id: 'leaks.half-message', severity: 'must', clause: CLEANED, why: ENDS, needs },
    title: 'Descriptors of a message that never became whole are closed',
    check: keepsNone('half a message with a descriptor', async (world) => {
      const wire = await world.open();
      const whole = rawMessage(Command.DMA_MAP, fields(32, 3, 0n, BASE, 0x1000n));
      await lent(world, 0x1000, (fd) => wire.send(whole.subarray(0, 30), [fd]));
      wire.close();
    }),
  }),
  serverRule({
    ...{ id: 'leaks.memory', severity: 'must', clause: specification('Client Disconnection'), needs },
    title: 'Memory does not grow with the number of connections',
    why: 'a server that runs for months is ended by the kernel when memory runs out',
    async check(world) {
      const pid = pidOf(world);
      const memory = (): number =>
        ownMemory(pid) ?? inconclusive(`the memory of process ${pid} can't be seen`);
      const turns = world.times(200);
      await work(world, turns);
      const sizes = [memory()];
      for (let phase = 0; phase < 3; phase += 1) {
        await work(world, turns);
        sizes.push(memory());
      }
      const grown = sizes.slice(1).map((size, phase) => size - (sizes[phase] ?? 0));
      // What a runtime keeps for later comes once; a leak comes every time.
      if (grown.every((bytes) => bytes > Math.max(turns * LEAK, NOISE))) {
        const kib = grown.map((bytes) => `${Math.round(bytes / 1024)} KiB`).join(', ');
        broken(
          `${turns} connections with maps and reads cost ${kib} in three rounds`,
          'memory that is used again',
        );
      }
    },
  }),
];

/** How much a connection may cost for good before it is called a leak, bytes. */
const LEAK = 16_384;
/** How much the memory of a runtime grows by itself in a round, bytes. */
const NOISE = 4 * 1024 * 1024;

async function work(world: ServerWorld, turns: number): Promise<void> {
  for (let turn = 0; turn < turns; turn += 1) {
    const wire = await world.open();
    await map(wire, { address: BASE });
    await wire.request(Command.REGION_READ, fields(0n, RegionIndex.CONFIG, 64));
    wire.close();
  }
}
