import { Command, RegionIndex } from '../../../protocol/index.ts';
import { MigrationState, stateName } from '../../../states/index.ts';
import { practice, specification } from '../../rule.ts';
import { demand, given } from '../../verdict.ts';
import { fields, joined, rawMessage, versionPayload } from '../../wire/bytes.ts';
import { ask, getState, tryRead, trySetState, worked } from '../ask.ts';
import { bring, idOf, REACHABLE, runningMigrator } from '../driving.ts';
import { PROPOSAL } from '../facts.ts';
import { type ServerRule, serverRule } from '../server-rule.ts';
import type { ServerWorld } from '../world.ts';
import { map } from './dma.ts';

const LEAVES = specification('Client Disconnection');
const { RUNNING, RESUMING } = MigrationState;
const INFO = fields(16, 0, 0, 0);

/** One rule for each state in which a client goes away. */
const inEach: readonly ServerRule[] = REACHABLE.map(([state, needs]) =>
  serverRule({
    ...{ id: `disconnect.in-${idOf(state)}`, severity: 'must', needs: ['spawn', 'migration', ...needs] },
    clause: specification('Client Disconnection: the device state should otherwise be retained'),
    title: `A client that goes in ${stateName(state)} leaves a device that the next one can look at and bring back`,
    why: 'migration programs crash too; a device that nobody can get back has to be restarted with its guest',
    async check(world) {
      const wire = await runningMigrator(world);
      await bring(wire, state);
      world.closeWires();
      const next = await world.migrator(await world.open());
      const now = await getState(next);
      demand(now === state, `the next client finds it in ${stateName(now)}`, stateName(state));
      await ask(next, Command.DEVICE_GET_INFO, INFO);
      await ask(next, Command.REGION_READ, fields(0n, RegionIndex.CONFIG, 4)).catch((error: unknown) => {
        // The configuration space may belong to a state that is not there yet.
        if (state !== RESUMING) throw error;
      });
      if (state === RESUMING || state === RUNNING) return;
      worked(
        await trySetState(next, RUNNING),
        `the change from ${stateName(state)} to RUNNING by the next client`,
      );
    },
  }),
);

/** Leaves in the middle of something, and demands that the next client is served. */
const leaving =
  (what: string, bytes: () => Uint8Array, greeted = true) =>
  async (world: ServerWorld) => {
    const wire = greeted ? await world.open() : await world.connect();
    await wire.send(bytes());
    wire.close();
    await world.stillServes(what);
  };

/** Clients that go away, and come back. */
export const disconnectRules: readonly ServerRule[] = [
  serverRule({
    ...{ id: 'disconnect.again', severity: 'must', clause: LEAVES },
    title: 'A client can connect, leave and connect again, ten times',
    why: 'a VMM that is restarted, and every tool that looks at the device, does so',
    async check(world) {
      for (let turn = 0; turn < 10; turn += 1) {
        const wire = await world.connect();
        worked(await wire.request(Command.VERSION, versionPayload(PROPOSAL)), `VERSION number ${turn + 1}`);
        worked(await tryRead(wire, RegionIndex.CONFIG, 0n, 4));
        wire.close();
      }
    },
  }),
  serverRule({
    ...{ id: 'disconnect.drops-maps', severity: 'must' },
    clause: specification('Client Disconnection: all client memory regions are unmapped and cleaned up'),
    title: 'The maps of a client that has gone are gone',
    why: 'the next client maps the same addresses; and the memory of the old one stays in use for ever',
    async check(world) {
      const first = await world.open();
      const range = { address: 0x10_0000n, size: 0x4000n };
      await given('DMA_MAP', async () => worked(await map(first, { ...range, fds: [world.memfd(0x4000)] })));
      first.close();
      const second = await world.open();
      worked(
        await map(second, { ...range, fds: [world.memfd(0x4000)] }),
        'DMA_MAP of the same range by the next client',
      );
    },
  }),
  serverRule({
    ...{ id: 'disconnect.mid-header', severity: 'must', clause: LEAVES },
    title: 'A client that goes in the middle of a header is forgotten',
    why: 'half a message of one client must not become the start of the next one’s',
    check: leaving('a client that left in the middle of a header', () =>
      rawMessage(Command.DEVICE_GET_INFO, INFO).subarray(0, 9),
    ),
  }),
  serverRule({
    ...{ id: 'disconnect.mid-body', severity: 'must', clause: LEAVES },
    title: 'A client that goes in the middle of a body is forgotten',
    why: 'half a message of one client must not become the start of the next one’s',
    check: leaving('a client that left in the middle of a body', () =>
      rawMessage(Command.DEVICE_GET_INFO, INFO).subarray(0, 20),
    ),
  }),
  serverRule({
    ...{ id: 'disconnect.before-version', severity: 'must', clause: LEAVES },
    title: 'A client that goes before it has said VERSION is forgotten',
    why: 'whoever looks whether a server is there connects and leaves',
    check: leaving('a client that left without a word', () => fields(), false),
  }),
  serverRule({
    ...{ id: 'disconnect.unanswered', severity: 'must', clause: practice('a VMM that is killed') },
    title: 'A client that goes without reading its replies is forgotten',
    why: 'the write of a reply fails then, which must not end the server (SIGPIPE)',
    check: leaving('a client that left with 200 replies outstanding', () =>
      joined(...Array.from({ length: 200 }, (_, id) => rawMessage(Command.DEVICE_GET_INFO, INFO, { id }))),
    ),
  }),
  ...inEach,
];
