import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { loadNative } from '../../../src/native/index.ts';
import { fields, RawClient } from '../../helpers/raw-client.ts';
import { FERRY, Shell } from '../ferry.ts';
import { Service, serving } from './service.ts';

/** For a manager that does not answer, in milliseconds. */
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

async function start(options: { readonly notify?: string; readonly limit?: string } = {}): Promise<Service> {
  const service = await Service.start(shell, { device: ['edu'], ...options });
  leftOver.push(() => service.end());
  return service;
}

/** A VMM. */
async function connect(): Promise<RawClient> {
  const client = await RawClient.open(shell.path('a.sock'));
  leftOver.push(() => client.close());
  await client.request(10, fields(LIVENESS, 0, 4, 0xffff_fffe));
  return client;
}

/** What the register reads that was written to: the complement. It waits for the process that is to come. */
async function liveness(client: RawClient): Promise<number> {
  const id = client.post(9, fields(LIVENESS, 0, 4));
  const reply = await client.reply(id, LONGEST);
  return Buffer.from(reply.payload).readUInt32LE(16);
}

it.each(['a path', 'an abstract name'])('a device outlives its service, with its VMM: %s', async (what) => {
  const notify = what === 'a path' ? shell.path('notify') : `@ferry-test-${randomUUID()}`;
  const service = await start({ notify });
  const client = await connect();
  const intx = native.eventfd(0);
  leftOver.push(() => native.close(intx));
  await client.request(8, fields(20, 0x24, 0, 0, 1), [intx]);
  const rounds = what === 'a path' ? 2 : 1;
  for (let round = 1; round <= rounds; round += 1) {
    service.tell('restart');
    await service.says(/^stored ferry 0$/gm, round);
    expect(await liveness(client)).toBe(1);
    await service.ready();
    await service.says(/^ended 0$/gm, round);
  }
  client.post(10, fields(RAISE, 0, 4, 1), 0x10);
  await liveness(client);
  expect(native.eventfdRead(intx)).toBe(1);
  const control = await RawClient.open(shell.path('a.sock.control'));
  leftOver.push(() => control.close());
});

it('a device goes on in its process when the manager does not answer, and is left when it does', async () => {
  const service = await start({ limit: SHORT });
  const client = await connect();
  service.tell('deaf');
  await service.says(/^deaf$/gm);
  service.tell('term');
  await service.says(/goes on here: the service manager does not answer/g);
  expect(await liveness(client)).toBe(1);
  service.tell('hearing');
  await service.says(/^hearing$/gm);
  service.tell('restart');
  await service.ready();
  expect(await liveness(client)).toBe(1);
});

it('a device stays with the manager when the next process can not go on with it', async () => {
  const service = await start();
  const client = await connect();
  service.tell('restart', ...serving(shell, { device: ['memory'] }));
  await service.says(/another one: its kind is edu/g);
  await service.says(/^stored ferry 0$/gm, 2);
  service.tell('restart', ...serving(shell, { device: ['edu'] }));
  await service.ready();
  expect(await liveness(client)).toBe(1);
});

it('a server that nobody keeps descriptors for is not started', async () => {
  const { status, stderr } = await shell.run(...serving(shell, { device: ['edu'] }).slice(FERRY.length));
  expect([status, stderr]).toEqual([2, expect.stringContaining('FileDescriptorStoreMax')]);
});
