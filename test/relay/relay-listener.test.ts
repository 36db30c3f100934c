import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { FerryError } from '../../src/errors/index.ts';
import { type RelayedConnection, relayListener } from '../../src/relay/index.ts';
import { listen } from '../../src/transport/index.ts';
import { openFds } from '../helpers/open-fds.ts';
import { folder, native, next, numbered, reactor, sendAll, until } from './support.ts';

let before: string[];
let place: ReturnType<typeof folder>;
let toClose: { close(): void }[];

beforeEach(() => {
  before = openFds();
  place = folder();
  toClose = [];
});
afterEach(() => {
  for (const each of toClose.reverse()) each.close();
  place.remove();
  expect(openFds()).toEqual(before);
});

/** A server that only accepts; its connections are fds. */
function acceptor(path: string): number[] {
  const accepted: number[] = [];
  toClose.push(listen({ native, reactor, path, mode: 0o600, accepted: (fd) => void accepted.push(fd) }), {
    close: () => accepted.forEach((fd) => void native.close(fd)),
  });
  return accepted;
}

function connected(path: string): number {
  const fd = native.connect(path);
  expect(fd).toBeGreaterThan(0);
  toClose.push({ close: () => void native.close(fd) });
  return fd;
}

describe('a relaying listener', () => {
  it('gives each client a connection of its own, several at a time and one after the other', async () => {
    const accepted = acceptor(join(place.path, 'server'));
    const opened: RelayedConnection[] = [];
    const closed: number[] = [];
    const path = join(place.path, 'relay');
    const listener = relayListener({
      ...{ native, reactor, listen: path, connect: join(place.path, 'server') },
      opened: (connection) => {
        opened.push(connection);
        return null;
      },
      closed: ({ number }) => closed.push(number),
    });
    toClose.push(listener);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const clients = [connected(path), connected(path)];
    await until(() => accepted.length === 2, 'two connections');
    for (const [i, client] of clients.entries()) await sendAll(client, numbered(i, 4));
    for (const [i, server] of accepted.entries()) {
      expect(Buffer.from((await next(server)).bytes)).toEqual(numbered(i, 4));
    }
    expect(opened.map(({ number, client }) => [number, client?.pid])).toEqual([
      [1, process.pid],
      [2, process.pid],
    ]);
    native.close(accepted.shift() ?? -1);
    await until(() => closed.length === 1, 'the end of the first');
    expect(closed).toEqual([1]);
    connected(path);
    await until(() => accepted.length === 2, 'a third connection');
    listener.close();
    expect(closed).toEqual([1, 2, 3]);
    expect(existsSync(path)).toBe(false);
  });

  it('disconnects a client for whom there is no server, and says why', async () => {
    const refused: FerryError[] = [];
    const path = join(place.path, 'relay');
    toClose.push(
      relayListener({
        ...{ native, reactor, listen: path, connect: join(place.path, 'nobody') },
        refused: (error) => refused.push(error),
      }),
    );
    const client = connected(path);
    expect((await next(client)).result).toBe(0);
    expect(refused).toMatchObject([{ code: 'ERR_SOCKET', errno: 2 }]);
  });

  it('waits for a server whose backlog is full', async () => {
    const server = join(place.path, 'server');
    const listening = native.listen(server, 0o600, 0);
    toClose.push({ close: () => void native.close(listening) });
    // A backlog of 0 takes one.
    connected(server);
    const path = join(place.path, 'relay');
    toClose.push(relayListener({ native, reactor, listen: path, connect: server }));
    const client = connected(path);
    await new Promise((resolve) => setTimeout(resolve, 30));
    const others: number[] = [];
    await until(() => {
      const fd = native.accept(listening);
      if (fd >= 0) others.push(fd);
      return others.length === 2;
    }, 'both connections');
    toClose.push({ close: () => others.forEach((fd) => void native.close(fd)) });
    await sendAll(client, numbered(7, 4));
    expect((await next(others[1] ?? -1)).result).toBe(20);
  });
});
