import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { askProxy } from '../../../src/cli/proxy/control-client.ts';
import { listenForOperators, readRequest, type SteeredProxy } from '../../../src/cli/proxy/control-socket.ts';
import { ProxyError } from '../../../src/proxy/index.ts';
import type { Closeable } from '../../../src/transport/index.ts';

let folder: string;
let path: string;
let operators: Closeable;
const swaps: (readonly [string, boolean])[] = [];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'ferry-operators-'));
  path = join(folder, 'ctl');
  const proxy: Pick<SteeredProxy, 'swap'> = {
    swap: async (backend, fresh) => {
      swaps.push([backend, fresh]);
      if (backend === '/bad') throw new ProxyError('ERR_SWAP_FAILED', 'no', { step: 'copy' });
      return null;
    },
  };
  operators = await listenForOperators(path, { ...proxy, status: () => ({ state: 'no client' }) as never });
});
afterEach(() => {
  operators.close();
  rmSync(folder, { recursive: true, force: true });
});

describe('the control socket of a proxy', () => {
  it('answers, passes orders on, and tells what failed as it was thrown', async () => {
    expect(await askProxy(path, { do: 'status' })).toEqual({ status: { state: 'no client' } });
    expect(await askProxy(path, { do: 'swap', backend: '/a', fresh: true })).toEqual({ swap: null });
    expect(swaps).toEqual([['/a', true]]);
    const failed = askProxy(path, { do: 'swap', backend: '/bad', fresh: false });
    await expect(failed).rejects.toMatchObject({
      code: 'ERR_SWAP_FAILED',
      message: 'no',
      context: { step: 'copy' },
    });
  });

  it("is its owner's alone, and goes with it", () => {
    expect(statSync(path).mode & 0o777).toBe(0o600);
    operators.close();
    expect(statSync(path, { throwIfNoEntry: false })).toBeUndefined();
  });

  it('hangs up on who says too much at once', async () => {
    const socket = connect(path);
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.write(`${'x'.repeat(2000)}\n`);
    await closed;
  });

  it('is missed when it is not there', async () => {
    await expect(askProxy(join(folder, 'nobody'), { do: 'status' })).rejects.toMatchObject({
      code: 'ERR_PROXY_CONTROL',
    });
  });
});

it.each([
  ['{"do":"status"}', { do: 'status' }],
  ['{"do":"swap","backend":"/b"}', { do: 'swap', backend: '/b', fresh: false }],
  ['{"do":"swap","backend":7}', null],
  ['{"do":"swap","backend":"/b","fresh":1}', null],
  ['{"do":"dance"}', null],
  ['[]', null],
  ['{', null],
])('reads %s', (line, request) => {
  expect(readRequest(line)).toEqual(request);
});
