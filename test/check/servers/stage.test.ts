import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Exchange } from '../../../src/check/exchange.ts';
import {
  type Instance,
  type Launcher,
  runningServer,
  SERVER_RULES,
  ServerStage,
} from '../../../src/check/index.ts';
import { versionPayload } from '../../../src/check/wire/bytes.ts';
import { Wire } from '../../../src/check/wire/wire.ts';
import { Errno } from '../../../src/errors/index.ts';
import { loadNative } from '../../../src/native/index.ts';
import { Command } from '../../../src/protocol/index.ts';
import { tried } from './in-process.ts';

const native = loadNative();
const TIMEOUT_MS = 1000;
/** For who never answers. */
const SHORT_MS = 100;
let folder = '';
const toClose: (() => void)[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ferry-stage-'));
});
afterEach(() => {
  for (const close of toClose.splice(0).reverse()) close();
  rmSync(folder, { recursive: true });
});

/** A server that accepts so many clients, and answers VERSION with that error, or well; all else with EINVAL. */
function listen(path: string, clients: number, error = 0): () => void {
  const listener = native.listen(path, 0o600, 8);
  const wires: Wire[] = [];
  const watch = native.watchStart(listener, () => {
    const fd = wires.length < clients ? native.accept(listener) : -1;
    if (wires.length >= clients && typeof watch !== 'number') native.watchClose(watch);
    if (fd < 0) return;
    const wire = new Wire({ native, fd, channel: 'main', exchange: new Exchange(), timeoutMs: TIMEOUT_MS });
    wires.push(wire);
    wire.onCommand = (message) => {
      const greets = message.header.command === Command.VERSION;
      const payload = greets && error === 0 ? versionPayload('{"capabilities":{}}') : new Uint8Array(0);
      wire.answer(message, payload, { error: greets ? error : Errno.EINVAL }).catch(() => {});
    };
  });
  if (typeof watch === 'number') throw new Error('not watched');
  return () => {
    native.watchClose(watch);
    native.close(listener);
    for (const wire of wires) wire.close();
  };
}

function prepared(launcher: Launcher, timeoutMs = TIMEOUT_MS): Promise<void> {
  const options = { native, launcher, timeoutMs, seed: 1, silenceMs: timeoutMs, effort: 1 };
  const stage = new ServerStage(options);
  return stage.prepare().finally(() => stage.close());
}

describe('a running server', () => {
  const path = (): string => join(folder, 'a.sock');

  it('that accepts nobody can not be tried, and is accused of nothing', async () => {
    toClose.push(listen(path(), 0));
    const launcher = runningServer(path(), null);
    await expect(prepared(launcher, SHORT_MS)).rejects.toThrow(/nobody accepts connections/);
  });

  it('that has another client can not be tried, and is accused of nothing', async () => {
    toClose.push(listen(path(), 99, Errno.EBUSY));
    await expect(prepared(runningServer(path(), null))).rejects.toThrow(/has another client \(EBUSY\)/);
  });

  it('that refuses VERSION for another reason is tried, as the rules tell of it', async () => {
    toClose.push(listen(path(), 99, Errno.EINVAL));
    await prepared(runningServer(path(), null));
  });
});

describe('a server that is started', () => {
  it('and accepts no client after its first one gets a fresh one for each rule', async () => {
    let launches = 0;
    const launch = async (): Promise<Instance> => {
      launches += 1;
      const socketPath = join(folder, `${launches}.sock`);
      const close = listen(socketPath, 1);
      return {
        ...{ socketPath, controlPath: null, pid: process.pid },
        ended: async () => null,
        takeLog: () => '',
        stop: async () => close(),
      };
    };
    const wanted = ['negotiation.reply', 'negotiation.subset', 'timeouts.silent-client'];
    const rules = SERVER_RULES.filter(({ id }) => wanted.includes(id));
    const results = await tried(
      { fresh: true, subject: 'one client', launch },
      { rules, timeoutMs: TIMEOUT_MS },
    );
    expect(results.map(({ rule, outcome }) => [rule.id, outcome])).toEqual([
      ['negotiation.reply', 'passed'],
      ['negotiation.subset', 'passed'],
      ['timeouts.silent-client', 'not applicable'],
    ]);
    expect(launches).toBeGreaterThan(wanted.length);
  });

  it('and has ended before it accepts anybody is told with what it said', async () => {
    const socketPath = join(folder, 'gone.sock');
    native.close(native.listen(socketPath, 0o600, 8));
    const instance: Instance = {
      ...{ socketPath, controlPath: null, pid: null },
      ended: async () => 'SIGABRT',
      takeLog: () => 'no such BAR\n',
      stop: async () => {},
    };
    const launcher: Launcher = { fresh: true, subject: 'gone', launch: async () => instance };
    await expect(prepared(launcher)).rejects.toThrow('the server has ended (SIGABRT); it said: no such BAR');
  });
});
