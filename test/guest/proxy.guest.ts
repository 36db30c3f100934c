import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { askProxy } from '../../src/cli/proxy/control-client.ts';
import { type ProxyStatus, SWAP_STEPS, type SwapReport } from '../../src/proxy/index.ts';
import { type Running, Shell } from '../cli/ferry.ts';
import { addressOf, Ids } from './devices.ts';
import { bindToUio } from './edu.ts';
import type { Guest } from './harness/guest.ts';
import { describeInGuests, type Lab } from './harness/lab.ts';
import { Load } from './harness/load.ts';

/** How often each back end is exchanged. */
const SWAPS = Number(process.env['FERRY_GUEST_PROXY_SWAPS'] ?? 20);
/** The command of libvfio-user's sample gpio-pci-idio-16 with -M, which can't be moved; {socket} is where it listens. */
const PEER = process.env['FERRY_PEER_SERVER'];
/** What is lost once must not be forgiven. */
const ONCE = { retry: 0, timeout: 60_000 + SWAPS * 2_000 };
/** Interrupts of the program `edu` besides its rounds; see programs/edu.c. */
const FURTHER_INTERRUPTS = 3;
const ROUNDS = 10;
const MiB = 2 ** 20;
const SOON = { timeout: 20_000 };

/** A proxy before one of two servers, all of them processes of their own. */
class Proxied {
  readonly socketPath: string;
  readonly control: string;
  readonly servers: readonly string[];
  readonly #shell: Shell;
  readonly reports: SwapReport[] = [];
  #at = 0;

  constructor(shell: Shell, name: string) {
    this.#shell = shell;
    this.servers = [shell.path(`${name}-a.sock`), shell.path(`${name}-b.sock`)];
    this.socketPath = shell.path(`${name}.sock`);
    this.control = shell.path(`${name}.control`);
  }

  async start(): Promise<Running> {
    const { socketPath, control } = this;
    const proxy = this.#shell.start([
      ...['proxy', '--listen', socketPath, '--backend', this.servers[0] ?? '', '--control', control],
    ]);
    await proxy.sees('listening on');
    return proxy;
  }

  /** Begins afresh with a server; returns what is lost. */
  async begin(backend: string): Promise<readonly string[]> {
    const request = { do: 'swap', backend, fresh: true } as const;
    return (await this.#ask<{ swap: { lost: readonly string[] } }>(request)).swap.lost;
  }

  async swap(): Promise<void> {
    this.#at = 1 - this.#at;
    const backend = this.servers[this.#at] ?? '';
    const { swap } = await this.#ask<{ swap: SwapReport }>({ do: 'swap', backend, fresh: false });
    this.reports.push(swap);
  }

  /** The present back end, and the other. */
  get order(): readonly [string, string] {
    return [this.servers[this.#at] ?? '', this.servers[1 - this.#at] ?? ''];
  }

  async status(): Promise<ProxyStatus> {
    return (await this.#ask<{ status: ProxyStatus }>({ do: 'status' })).status;
  }

  /** Exchanges the back end again and again, each time when the guest has got on by itself. */
  async swapOften(load: Load): Promise<void> {
    for (let i = 0; i < SWAPS; i += 1) {
      await this.swap();
      if (i % 5 === 4) await load.settle();
      else await sleep(50);
    }
    console.log(`${this.socketPath}: ${summaryOf(this.reports)}`);
  }

  async #ask<T>(request: Parameters<typeof askProxy>[1]): Promise<T> {
    return (await askProxy(this.control, request)) as T;
  }
}

/** How long the guest waited, and at what: medians, in milliseconds. Others use the machine, so this judges nothing. */
function summaryOf(reports: readonly SwapReport[]): string {
  const held = reports.map(({ heldMs }) => heldMs);
  const pause = SWAP_STEPS.slice(SWAP_STEPS.indexOf('drain'));
  const spent = pause.map((step) => `${step} ${median(reports.map(({ steps }) => steps[step] ?? 0))}`);
  const ahead = median(reports.map(({ steps }) => steps['copy ahead'] ?? 0));
  const rest = median(reports.map(({ stateBytes, aheadBytes }) => (stateBytes ?? 0) - aheadBytes));
  return (
    `${reports.length} swaps, the guest waited ${median(held)} ms, ${Math.max(...held).toFixed(1)} ms at most: ` +
    `${spent.join(', ')}; ${rest} bytes of state then, after ${ahead} ms of copying ahead`
  );
}

function median(figures: readonly number[]): string {
  return (figures.toSorted((a, b) => a - b)[figures.length >> 1] ?? 0).toFixed(2);
}

function proxyTests(lab: Lab): void {
  let shell: Shell;
  let guest: Guest;
  let nvme: Proxied;
  let edu: Proxied;
  const servers = new Map<string, Running>();

  beforeAll(async () => {
    shell = new Shell();
    for (const name of ['nvme-a.sock', 'nvme-b.sock']) await shell.serve('nvme', name, '--ram', '8M');
    for (const name of ['edu-a.sock', 'edu-b.sock']) {
      servers.set(shell.path(name), await shell.serve('edu', name));
    }
    [nvme, edu] = [new Proxied(shell, 'nvme'), new Proxied(shell, 'edu')];
    await Promise.all([nvme.start(), edu.start()]);
    const devices = [
      { id: 'nvme', socketPath: nvme.socketPath, slot: 0x10 },
      { id: 'edu', socketPath: edu.socketPath, slot: 0x11 },
    ];
    guest = await lab.boot({ machine: 'q35', memory: 'shared', devices });
    await guest.load('nvme');
    await guest.until('test -b /dev/nvme0n1');
  });
  afterAll(async () => {
    await guest?.close();
    await shell.close();
  });

  const startLoad = (): Promise<Load> => Load.start(guest, `disk /dev/nvme0n1 $end 2 ${MiB}`);

  it(`nvme goes on through ${SWAPS} swaps: each block is found as it was written last`, ONCE, async () => {
    const load = await Load.start(guest, 'dd if=/dev/nvme0n1 of=/dev/null bs=4096 count=16 iflag=direct');
    const verified = await startLoad();
    await nvme.swapOften(load);
    await load.end();
    await verified.end();
    const [reads = 0, writes = 0, , longest = 0] = (await verified.output()).split(' ').map(Number);
    expect(Math.min(reads, writes)).toBeGreaterThan(0);
    expect(longest).toBeLessThan(15_000);
    expect(await nvme.status()).toMatchObject({
      state: 'serving',
      swaps: SWAPS,
      lastFailure: null,
      loss: null,
    });
  });

  it(`edu keeps each of its INTx interrupts through ${SWAPS} swaps`, ONCE, async () => {
    const address = await addressOf(guest, Ids.edu);
    const uio = await bindToUio(guest, address);
    const seen = async (): Promise<number> => Number(await guest.run(`cat /sys/class/uio/${uio}/event`));
    const before = await seen();
    const load = await Load.start(
      guest,
      `edu ${address} registers && edu ${address} dma ${ROUNDS} && edu ${address} interrupts /dev/${uio} ${ROUNDS}`,
    );
    await edu.swapOften(load);
    const repeated = await load.end();
    expect(repeated).toBeGreaterThan(0);
    expect((await seen()) - before).toBe(repeated * (ROUNDS + FURTHER_INTERRUPTS));
  });

  it('a swap to the wrong server, by the command, leaves the guest with the right one', ONCE, async () => {
    const load = await startLoad();
    const { status, stderr } = await shell.run('proxy', 'swap', nvme.control, shell.path('edu-b.sock'));
    expect([status, stderr]).toEqual([1, expect.stringContaining('step "describe"')]);
    await load.end();
    expect(await nvme.status()).toMatchObject({ state: 'serving', swaps: SWAPS });
  });

  it('a server that is killed is replaced by a fresh one while the guest waits', ONCE, async () => {
    const address = await addressOf(guest, Ids.edu);
    await guest.run(`edu ${address} liveness 1`);
    const [dead, other] = edu.order;
    await servers.get(dead)?.kill('SIGKILL');
    await vi.waitUntil(async () => (await edu.status()).state === 'no back end', SOON);
    expect(await shell.run('proxy', 'swap', edu.control, other), 'no state').toMatchObject({ status: 1 });
    const access = guest.run(`edu ${address} liveness`);
    await vi.waitUntil(async () => (await edu.status()).heldCommands > 0, SOON);
    // Not by the command: it may take longer to start than QEMU waits.
    expect(await edu.begin(other)).toEqual([
      expect.stringContaining('the state of the device'),
      expect.anything(),
    ]);
    expect(await access, 'its state is lost').toBe('0x00000000');
    await guest.run(`edu ${address} dma 3`);
  });

  it('leaves the kernel and QEMU with nothing to complain of', ONCE, async () => {
    expect(await guest.kernelComplaints()).toEqual([]);
    expect(guest.complaints).toBe('');
  });
}

/** libvfio-user's own sample, which knows nothing of Ferry. With its own migration it would end at the first read. */
function peerTests(lab: Lab): void {
  const servers: ChildProcess[] = [];
  let shell: Shell;
  let guest: Guest;
  let gpio: Proxied;

  beforeAll(async () => {
    shell = new Shell();
    gpio = new Proxied(shell, 'gpio');
    for (const path of gpio.servers) {
      const server = spawn('sh', ['-c', `exec ${PEER?.replaceAll('{socket}', path)}`], { stdio: 'ignore' });
      servers.push(server);
      await vi.waitUntil(() => existsSync(path), SOON);
    }
    await gpio.start();
    guest = await lab.boot({
      ...{ machine: 'q35', memory: 'shared' },
      devices: [{ id: 'gpio', socketPath: gpio.socketPath, slot: 0x10 }],
    });
  });
  afterAll(async () => {
    await guest?.close();
    for (const server of servers) {
      server.kill('SIGKILL');
      if (server.exitCode === null && server.signalCode === null) await once(server, 'close');
    }
    await shell.close();
  });

  it('is exchanged without its state, and serves on when it refuses one', ONCE, async () => {
    const device = `/sys/bus/pci/devices/${await addressOf(guest, Ids.gpio)}`;
    await guest.run(`echo 1 > ${device}/enable`);
    const inputs = (): Promise<string> =>
      guest.run(`dd if=${device}/resource2 bs=1 skip=1 count=1 2>/dev/null | hexdump -v -e '/1 "%02x"'`);
    // Eight inputs, each of which says whether its output was written a multiple of three times.
    await guest.run(`printf '\\017' | dd of=${device}/resource2 bs=1 count=1 conv=notrunc 2>/dev/null`);
    expect(await inputs()).toBe('f0');
    const refused = await shell.run('proxy', 'swap', gpio.control, gpio.servers[1] ?? '');
    expect([refused.status, refused.stderr]).toEqual([1, expect.stringContaining('step "prepare"')]);
    expect(await inputs()).toBe('f0');
    // The first one still has what it had: its reset leaves the pins alone.
    for (const [path, pins] of [
      [gpio.servers[1], 'ff'],
      [gpio.servers[0], 'f0'],
    ]) {
      const swapped = await shell.run('proxy', 'swap', gpio.control, path ?? '', '--fresh');
      expect(swapped, swapped.stderr).toMatchObject({ status: 0 });
      expect(await inputs()).toBe(pins);
      expect(await guest.run(`cat ${device}/enable`)).toBe('1');
    }
    expect(guest.complaints).toBe('');
  });
}

describeInGuests('a proxy', (lab) => {
  const here = lab.kernel.flavour === 'full' || process.env['FERRY_GUEST_ALL'] !== undefined;
  describe.runIf(here)('before servers of Ferry', () => proxyTests(lab));
  describe.runIf(here && PEER !== undefined)('before libvfio-user', () => peerTests(lab));
});
