import { randomFillSync } from 'node:crypto';
import { copyFileSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { MessageKind } from '../../../src/channel/index.ts';
import { DeviceClient } from '../../../src/client/index.ts';
import { MemoryRegister } from '../../../src/devices/index.ts';
import { lastJson, type Outcome, type Running, Shell } from '../ferry.ts';
import { type Gate, gate } from './gate.ts';

/** What only the device that is being moved has in its registers. */
const MARK = 0xfee1dead;
const content = randomFillSync(new Uint8Array(1024 * 1024));
const SLOW = 120_000;
/** How long a side that has lost the other looks for it, in milliseconds. */
const WAIT = '2000';

type Victim = 'sender' | 'receiver' | 'source' | 'destination';
type Parties = Record<Victim, Running>;

let shell: Shell;
let way: Gate | null = null;

beforeEach(() => {
  shell = new Shell();
});
afterEach(async () => {
  await way?.close();
  way = null;
  await shell.close();
});

/** Two servers, a receiver and a sender, and what keeps a message of one kind back between them. */
async function start(kind: MessageKind, ...more: readonly string[]): Promise<Parties> {
  writeFileSync(shell.path('image'), content);
  const [source, destination] = await Promise.all([
    shell.serve('memory', 'a.sock', '--image', shell.path('image')),
    shell.serve('memory', 'b.sock', '--size', '1M'),
  ]);
  const vmm = await DeviceClient.connect(shell.path('a.sock'));
  await vmm.writeU32(0, MemoryRegister.SCRATCH, MARK);
  vmm.close();
  const receiver = await receive(more);
  way = await gate(shell.path('way'), shell.path('inn'), kind);
  const to = [shell.path('a.sock'), '--to', `unix:${shell.path('way')}`];
  const sender = shell.start(['migrate', ...to, '--downtime-limit', '60000', '--wait', WAIT, '--json']);
  await way.reached;
  return { sender, receiver, source, destination };
}

async function receive(more: readonly string[]): Promise<Running> {
  const at = [shell.path('b.sock'), '--listen', `unix:${shell.path('inn')}`];
  const receiver = shell.start(['receive', ...at, '--wait', '60000', '--json', ...more]);
  await receiver.sees('"listening"');
  return receiver;
}

/** Where the guest's device is: the one that runs with all that it had. */
async function whereTheGuestRuns(): Promise<readonly string[]> {
  const found: string[] = [];
  for (const [name, socket] of [
    ['source', 'a.sock'],
    ['destination', 'b.sock'],
  ] as const) {
    const state = await shell.run('state', shell.path(socket), '--json');
    if (state.status !== 0 || lastJson(state.stdout)['state'] !== 'RUNNING') continue;
    const vmm = await DeviceClient.connect(shell.path(socket));
    const mark = await vmm.readU32(0, MemoryRegister.SCRATCH);
    const memory = await vmm.read(2, 0, content.length);
    vmm.close();
    if (mark === MARK && Buffer.compare(memory, content) === 0) found.push(name);
  }
  return found;
}

const owner = (outcome: Outcome): unknown => {
  const { error } = lastJson(outcome.stdout);
  return typeof error === 'object' && error !== null && 'owner' in error ? error.owner : undefined;
};

const rows: readonly {
  readonly kept: MessageKind;
  readonly between: string;
  readonly victim: 'sender' | 'receiver';
  readonly runs: 'source' | 'destination';
}[] = [
  { kept: 'COMPLETE', between: 'before READY', victim: 'sender', runs: 'source' },
  { kept: 'COMPLETE', between: 'before READY', victim: 'receiver', runs: 'source' },
  { kept: 'READY', between: 'between READY and COMMIT', victim: 'sender', runs: 'source' },
  { kept: 'READY', between: 'between READY and COMMIT', victim: 'receiver', runs: 'source' },
  { kept: 'COMMIT', between: 'between COMMIT and RUN', victim: 'sender', runs: 'destination' },
  { kept: 'COMMIT', between: 'between COMMIT and RUN', victim: 'receiver', runs: 'destination' },
  { kept: 'RUNNING', between: 'after RUN', victim: 'sender', runs: 'destination' },
  { kept: 'RUNNING', between: 'after RUN', victim: 'receiver', runs: 'destination' },
];

describe('SIGKILL of one side of a migration, and ferry recover', () => {
  it.each(rows)(
    'of the $victim $between: the $runs has the device',
    async ({ kept, victim, runs }) => {
      const parties = await start(kept);
      await parties[victim].kill('SIGKILL');
      way?.open();
      if (victim === 'receiver') {
        const outcome = await parties.sender.ended;
        expect(owner(outcome)).toBe(runs);
        expect(outcome.status).toBe(runs === 'source' ? 1 : 4);
      }
      const recovered = await shell.run('recover');
      expect(recovered.stdout).toMatch(new RegExp(`The ${runs} has it`));
      expect(recovered.status, recovered.stdout).toBe(0);
      if (victim === 'sender') {
        // It has waited, has been told the outcome, and ends.
        const { status } = await parties.receiver.ended;
        expect(status).toBe(runs === 'destination' ? 0 : 1);
      }
      expect(await whereTheGuestRuns()).toEqual([runs]);
      const again = await shell.run('recover', '--json');
      expect(lastJson(again.stdout)).toEqual({ group: null, sides: [] });
      expect(again.status).toBe(0);
    },
    SLOW,
  );
});

describe('SIGKILL of a server during a migration, and ferry recover', () => {
  it(
    'of the source between READY and COMMIT: the state there is lost; by force the destination goes on from its copy',
    async () => {
      const { sender, receiver, source } = await start('READY');
      await source.kill('SIGKILL');
      way?.open();
      const outcome = await sender.ended;
      expect([outcome.status, owner(outcome)]).toEqual([3, 'in doubt']);
      await receiver.kill('SIGKILL');
      const told = await shell.run('recover', shell.path('a.sock'));
      expect(told.status).toBe(3);
      expect(told.stdout).toMatch(/The state of .*a\.sock\.control is lost: .*a process that has ended/);
      expect(told.stdout).toContain('next: ferry recover --force at the destination');
      expect(await whereTheGuestRuns()).toEqual([]);
      const forced = await shell.run('recover', shell.path('b.sock'), '--force', '--why', 'a has burnt down');
      expect(forced.stdout).toContain('A person has decided who has it: the destination.');
      expect(forced.status).toBe(0);
      expect(await whereTheGuestRuns()).toEqual(['destination']);
    },
    SLOW,
  );

  it(
    'of the destination between COMMIT and RUN: it is lost there, and by force the source takes it back',
    async () => {
      const { sender, receiver, destination } = await start('COMMIT');
      await destination.kill('SIGKILL');
      way?.open();
      const [sent, received] = [await sender.ended, await receiver.ended];
      expect([sent.status, owner(sent)]).toEqual([4, 'destination']);
      expect([received.status, owner(received)]).toEqual([4, 'destination']);
      const told = await shell.run('recover');
      expect(told.status).toBe(3);
      expect(await whereTheGuestRuns()).toEqual([]);
      const forced = await shell.run('recover', shell.path('a.sock'), '--force');
      expect(forced.stdout).toContain('A person has decided who has it: the source.');
      expect(forced.status).toBe(0);
      expect(await whereTheGuestRuns()).toEqual(['source']);
    },
    SLOW,
  );
});

it(
  'what a receiver has kept is given to the server that takes the place of one that was killed',
  async () => {
    const { sender, receiver, destination } = await start('COMMIT', '--keep');
    await destination.kill('SIGKILL');
    way?.open();
    const [sent, received] = [await sender.ended, await receiver.ended];
    expect([sent.status, received.status]).toEqual([4, 4]);
    await shell.serve('memory', 'b.sock', '--size', '1M');
    const recovered = await shell.run('recover');
    expect(recovered.status, recovered.stdout).toBe(0);
    expect(await whereTheGuestRuns()).toEqual(['destination']);
    expect(readdirSync(shell.path('journal')).filter((name) => !name.endsWith('.journal'))).toEqual([]);
  },
  SLOW,
);

it(
  'says that it is in doubt, changes nothing, and decides by force for one side only',
  async () => {
    const { sender, receiver } = await start('READY');
    await Promise.all([sender.kill('SIGKILL'), receiver.kill('SIGKILL')]);
    const both = await shell.run('recover', '--force');
    expect(both.status).toBe(2);
    expect(both.stderr).toContain('--force decides for one side');
    // Host B has its own journal only.
    const there = ['--journal', shell.path('b')];
    mkdirSync(shell.path('b'));
    const [theirs = '', ours = ''] = readdirSync(shell.path('journal')).toSorted();
    copyFileSync(join(shell.path('journal'), theirs), join(shell.path('b'), theirs));
    const doubt = await shell.run('recover', ...there);
    expect(doubt.stdout).toContain('only the journal of the source tells whether it was given the device');
    expect(doubt.stdout).toContain('next: bring the journal of the source here');
    expect(doubt.status).toBe(3);
    expect(await whereTheGuestRuns()).toEqual([]);
    const told = await shell.run('recover', ...there, '--peer', join(shell.path('journal'), ours));
    expect(told.stdout).toContain('The source has it');
    expect(told.stdout).toContain('next: ferry recover at the source first');
    const forced = await shell.run('recover', ...there, '--force', '--why', 'a is switched off');
    expect(forced.status, forced.stdout).toBe(0);
    expect(await whereTheGuestRuns()).toEqual(['destination']);
  },
  SLOW,
);

it(
  'SIGKILL of a migration within one process that keeps journals: both sides are recovered',
  async () => {
    writeFileSync(shell.path('image'), content);
    await shell.serve('memory', 'a.sock', '--image', shell.path('image'));
    await shell.serve('memory', 'b.sock', '--size', '1M');
    const vmm = await DeviceClient.connect(shell.path('a.sock'));
    await vmm.writeU32(0, MemoryRegister.SCRATCH, MARK);
    vmm.close();
    const kept = ['--journal', shell.path('kept')];
    const slowly = ['--bandwidth', '50K', '--json', ...kept];
    const both = shell.start(['migrate', shell.path('a.sock'), shell.path('b.sock'), ...slowly]);
    await both.sees('"phase":"pre-copy"');
    await both.kill('SIGKILL');
    const recovered = await shell.run('recover', ...kept);
    expect(recovered.stdout).toMatch(
      /^source: The source has it.*\n.*in RUNNING\ndestination: .*\n.*in RUNNING\n$/,
    );
    expect(recovered.status).toBe(0);
    expect(await whereTheGuestRuns()).toEqual(['source']);
  },
  SLOW,
);

it(
  'SIGINT of a receiver that has said READY does not keep it from running what it is given',
  async () => {
    const { sender, receiver } = await start('READY');
    receiver.process.kill('SIGINT');
    way?.open();
    expect([(await sender.ended).status, (await receiver.ended).status]).toEqual([0, 0]);
    expect(await whereTheGuestRuns()).toEqual(['destination']);
  },
  SLOW,
);

it(
  'SIGINT of a receiver that has said READY and lost its sender ends the wait, and says that it is in doubt',
  async () => {
    const { sender, receiver } = await start('READY');
    await sender.kill('SIGKILL');
    const { status, stdout } = await receiver.kill('SIGINT');
    expect(lastJson(stdout)).toMatchObject({
      error: { owner: 'in doubt', next: [expect.stringContaining('ferry recover ')] },
    });
    expect(status).toBe(3);
    expect(await whereTheGuestRuns()).toEqual([]);
  },
  SLOW,
);
