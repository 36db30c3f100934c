import { randomUUID } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { loadNative } from '../../../src/native/index.ts';
import { fields, RawClient } from '../../helpers/raw-client.ts';
import { FERRY, type Running, Shell } from '../ferry.ts';

const MANAGER = fileURLToPath(new URL('./service-manager.py', import.meta.url));
/** For the manager to answer, in milliseconds; a machine may have other things to do. */
const PATIENT = '60000';
/** For a manager that does not answer. */
const SHORT = '5000';
const LONGEST = 60_000;
const LIVENESS = 4n;
const RAISE = 0x60n;
const native = loadNative();
vi.setConfig({ testTimeout: 4 * LONGEST });

let shell: Shell;
const leftOver: (() => unknown)[] = [];
beforeEach(() => {
  shell = new Shell();
});
afterEach(async () => {
  for (const close of leftOver.splice(0)) await close();
  await shell.close();
});

/** A service that is run by a service manager. */
class Service {
  readonly #manager: Running;
  #client: RawClient | null = null;
  #ready = 0;

  private constructor(manager: Running) {
    this.#manager = manager;
  }

  static async start(notify = shell.path('notify'), limit = PATIENT): Promise<Service> {
    const words = [notify, ...serving('edu', limit)].map((word) => `'${word}'`);
    const service = new Service(shell.startLine(`exec python3 '${MANAGER}' ${words.join(' ')}`));
    leftOver.push(() => service.#end());
    await service.ready();
    return service;
  }

  /** It ends after the process that it runs. */
  async #end(): Promise<void> {
    this.tell('exit');
    await this.#manager.ended;
  }

  /** Waits until another process has said that it serves. */
  async ready(): Promise<void> {
    this.#ready += 1;
    await this.says(/^ready \d+$/gm, this.#ready);
  }

  /** Waits until so many lines of the manager, or of the service, are such ones. */
  async says(pattern: RegExp, times = 1): Promise<void> {
    const told = (): string => this.#manager.stdout() + this.#manager.stderr();
    for (let i = 0; [...told().matchAll(pattern)].length < times; i += 1) {
      if (i > LONGEST / 20) throw new Error(`not ${times} times ${pattern}:\n${told()}`);
      await new Promise((wake) => setTimeout(wake, 20));
    }
  }

  tell(...words: readonly string[]): void {
    this.#manager.send(`${words.join('\t')}\n`);
  }

  /** A VMM. */
  async connect(): Promise<RawClient> {
    const client = await RawClient.open(shell.path('a.sock'));
    leftOver.push(() => client.close());
    this.#client = client;
    await client.request(10, fields(LIVENESS, 0, 4, 0xffff_fffe));
    return client;
  }

  /** What the register reads that was written to: the complement. It waits for the process that is to come. */
  async liveness(): Promise<number> {
    const client = this.#client;
    if (client === null) throw new Error('there is no client');
    const id = client.post(9, fields(LIVENESS, 0, 4));
    const reply = await client.reply(id, LONGEST);
    return Buffer.from(reply.payload).readUInt32LE(16);
  }
}

function serving(device: string, limit = PATIENT): readonly string[] {
  const options = ['--socket-path', shell.path('a.sock'), '--fd-store', '--pause-limit', limit];
  return [...FERRY, 'serve', device, ...options];
}

it.each(['a path', 'an abstract name'])('a device outlives its service, with its VMM: %s', async (what) => {
  const name = what === 'a path' ? shell.path('notify') : `@ferry-test-${randomUUID()}`;
  const service = await Service.start(name);
  const client = await service.connect();
  const intx = native.eventfd(0);
  leftOver.push(() => native.close(intx));
  await client.request(8, fields(20, 0x24, 0, 0, 1), [intx]);
  const rounds = what === 'a path' ? 2 : 1;
  for (let round = 1; round <= rounds; round += 1) {
    service.tell('restart');
    await service.says(/^stored ferry 0$/gm, round);
    expect(await service.liveness()).toBe(1);
    await service.ready();
    await service.says(/^ended 0$/gm, round);
  }
  client.post(10, fields(RAISE, 0, 4, 1), 0x10);
  await service.liveness();
  expect(native.eventfdRead(intx)).toBe(1);
  const control = await RawClient.open(shell.path('a.sock.control'));
  leftOver.push(() => control.close());
});

it('a device goes on in its process when the manager does not answer, and is left when it does', async () => {
  const service = await Service.start(shell.path('notify'), SHORT);
  await service.connect();
  service.tell('deaf');
  await service.says(/^deaf$/gm);
  service.tell('term');
  await service.says(/goes on here: the service manager does not answer/g);
  expect(await service.liveness()).toBe(1);
  service.tell('hearing');
  await service.says(/^hearing$/gm);
  service.tell('restart');
  await service.ready();
  expect(await service.liveness()).toBe(1);
});

it('a device stays with the manager when the next process can not go on with it', async () => {
  const service = await Service.start();
  await service.connect();
  service.tell('restart', ...serving('memory'));
  await service.says(/another one: its kind is edu/g);
  await service.says(/^stored ferry 0$/gm, 2);
  service.tell('restart', ...serving('edu'));
  await service.ready();
  expect(await service.liveness()).toBe(1);
});

it('a server that nobody keeps descriptors for is not started', async () => {
  const { status, stderr } = await shell.run(...serving('edu').slice(FERRY.length));
  expect([status, stderr]).toEqual([2, expect.stringContaining('FileDescriptorStoreMax')]);
});
