import { randomFillSync } from 'node:crypto';
import { existsSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DeviceClient } from '../../../src/client/index.ts';
import { MemoryRegister } from '../../../src/devices/index.ts';
import { deviceEnd } from '../../../src/engine/index.ts';
import { isRunning, MigrationState, parseState, stateName } from '../../../src/states/index.ts';
import { lastJson, type Outcome, type Running, Shell } from '../ferry.ts';

/** What only the device that is being moved has in its registers: a reset, or a fresh device, has not. */
const MARK = 0xfee1dead;
const SIZE = 512 * 1024;
const content = randomFillSync(new Uint8Array(SIZE));
const MEMORY = 2;
/**
 * The data takes half a second, so that a kill meets the phase that it is meant for. However slow the machine is, it is
 * no reason not to stop.
 */
const SLOWLY = ['--max-bandwidth', '1M', '--downtime', '20000', '--json'];
const { RUNNING, STOP } = MigrationState;

let shell: Shell;
let source: Running;
let destination: Running;

beforeEach(() => {
  shell = new Shell();
});
afterEach(async () => {
  await shell.close();
});

async function serveBoth([here, there]: readonly [string, string]): Promise<void> {
  writeFileSync(shell.path('image'), content);
  [source, destination] = await Promise.all([
    shell.serve('memory', 'a.sock', '--image', shell.path('image'), '--migration', here),
    shell.serve('memory', 'b.sock', '--size', String(SIZE), '--migration', there),
  ]);
  await withClient('a.sock', (vmm) => vmm.writeU32(0, MemoryRegister.SCRATCH, MARK));
}

async function withClient<T>(socket: string, use: (client: DeviceClient) => Promise<T>): Promise<T> {
  const client = await DeviceClient.connect(shell.path(socket));
  try {
    return await use(client);
  } finally {
    client.close();
  }
}

/** How one end is afterwards, and whether it runs with what was to be moved. */
interface End {
  readonly alive: boolean;
  readonly state: string;
  readonly runsGuest: boolean;
}

async function look(socket: string, server: Running): Promise<End> {
  if (server.process.signalCode !== null) return { alive: false, state: 'gone', runsGuest: false };
  const { state, held } = await withClient(`${socket}.control`, async (client) => ({
    state: await (await deviceEnd(client)).state(),
    held: /"hold":\{"active":true/.test(JSON.stringify(await client.inspectServer())),
  }));
  const known = parseState(state);
  const runs = known !== null && isRunning(known) && !held;
  const runsGuest = runs && (await withClient(socket, hasGuest));
  return { alive: true, state: stateName(state), runsGuest };
}

/** The mark and every byte of the memory. */
async function hasGuest(vmm: DeviceClient): Promise<boolean> {
  if ((await vmm.readU32(0, MemoryRegister.SCRATCH)) !== MARK) return false;
  expect(Buffer.compare(await vmm.read(MEMORY, 0, SIZE), content)).toBe(0);
  return true;
}

async function lookAtBoth(): Promise<{ readonly from: End; readonly to: End }> {
  const [from, to] = [await look('a.sock', source), await look('b.sock', destination)];
  expect(from.runsGuest && to.runsGuest, 'two running devices').toBe(false);
  return { from, to };
}

/** Kills as soon as a phase is told of; the controller waits meanwhile, so that it gets no further. */
async function killAt(phase: string, victim: 'source' | 'destination' | 'controller'): Promise<Outcome> {
  const controller = shell.start(['migrate', shell.path('a.sock'), shell.path('b.sock'), ...SLOWLY]);
  await controller.sees(`"phase":"${phase}"`);
  controller.process.kill('SIGSTOP');
  const process = { source, destination, controller }[victim];
  process.process.kill('SIGKILL');
  if (process !== controller) controller.process.kill('SIGCONT');
  await process.ended;
  return controller.ended;
}

/** Who owns the device, as the command says. */
function ownerIn({ stdout }: Outcome): string {
  const { error } = lastJson(stdout);
  if (typeof error !== 'object' || error === null) return 'destination';
  return 'owner' in error ? String(error.owner) : 'unknown';
}

/** Takes a device from a migration whose controller is dead, and brings it to where it is to go. */
async function decide(socket: string, what: 'run' | 'reset'): Promise<void> {
  await withClient(`${socket}.control`, async (client) => {
    const claim = await client.claimStatus();
    if (claim?.claimed) await client.forceRelease(claim.epoch + 1n);
    const end = await deviceEnd(client);
    await (what === 'run' ? end.setState(RUNNING) : end.reset());
  });
}

/** In all of them the device is somewhere else when it is met; `switch` and `run` are over at once. */
const PHASES = ['prepare', 'pre-copy', 'stop', 'stop-copy', 'verify'];

describe.each([
  { pair: ['v1', 'v1'] as const, phases: PHASES },
  { pair: ['v1', 'v2'] as const, phases: ['stop-copy'] },
  { pair: ['v2', 'v1'] as const, phases: ['verify'] },
])('SIGKILL during a move from $pair', ({ pair, phases }) => {
  beforeEach(() => serveBoth(pair));

  it.each(phases)(
    'of the source in phase %s: nobody has the device, or the destination has',
    async (phase) => {
      const owner = ownerIn(await killAt(phase, 'source'));
      const { from, to } = await lookAtBoth();
      expect(from.alive).toBe(false);
      expect(to.runsGuest).toBe(owner === 'destination');
      if (to.state !== stateName(STOP)) return;
      await decide('b.sock', 'run');
      expect((await lookAtBoth()).to.runsGuest).toBe(true);
    },
  );

  it.each(phases)('of the destination in phase %s: the source runs on, or can be told to', async (phase) => {
    const owner = ownerIn(await killAt(phase, 'destination'));
    const { from, to } = await lookAtBoth();
    expect(to.alive).toBe(false);
    expect(owner).not.toBe('unknown');
    if (!from.runsGuest) await decide('a.sock', 'run');
    expect((await lookAtBoth()).from).toMatchObject({ state: 'RUNNING', runsGuest: true });
  });

  it.each(phases)(
    'of the controller in phase %s: both stay where they are, and can be decided',
    async (phase) => {
      await killAt(phase, 'controller');
      const { from, to } = await lookAtBoth();
      expect([from.alive, to.alive]).toEqual([true, true]);
      if (to.runsGuest) return expect(from.state).toBe('STOP');
      await decide('b.sock', 'reset');
      await decide('a.sock', 'run');
      expect((await lookAtBoth()).from).toMatchObject({ state: 'RUNNING', runsGuest: true });
    },
  );
});

it('leaves no sockets behind that nobody listens on', async () => {
  await serveBoth(['v1', 'v1']);
  await source.kill('SIGTERM');
  expect(existsSync(shell.path('a.sock'))).toBe(false);
});
