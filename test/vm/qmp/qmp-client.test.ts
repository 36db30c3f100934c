import type { Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { QmpClient } from '../../../src/vm/qmp/qmp-client.ts';
import { fakePeer } from '../fake-peer.ts';

const GREETING = '{"QMP": {"version": {}, "capabilities": []}}\r\n';
const QUICK = { timeoutMs: 500 };

const greet = (socket: Socket): void => void socket.write(GREETING);

/** Answers each command with `{}`, and `what` to others than qmp_capabilities. */
function answering(what: (id: number, command: string) => string) {
  return (socket: Socket, text: string): void => {
    for (const line of text.trim().split('\n')) {
      const { id, execute } = JSON.parse(line);
      socket.write(execute === 'qmp_capabilities' ? `{"return": {}, "id": ${id}}\r\n` : what(id, execute));
    }
  };
}

describe('a monitor', () => {
  it('is greeted, and answers by number, in any order', async () => {
    const later: (() => void)[] = [];
    const peer = await fakePeer(greet, (socket, text) => {
      answering((id, command) => {
        const answer = `{"return": "${command}", "id": ${id}}\r\n`;
        if (command === 'second') return answer;
        later.push(() => socket.write(answer));
        return '';
      })(socket, text);
    });
    const client = await QmpClient.connect(peer.path, { timeoutMs: 2000 });
    const first = client.execute('first');
    expect(await client.execute('second', { a: 1 })).toBe('second');
    for (const answer of later) answer();
    expect(await first).toBe('first');
    client.close();
  });

  it('tells events to who listens', async () => {
    const peer = await fakePeer(
      greet,
      answering((id) => `{"event":"STOP"}\r\n{"return":{},"id":${id}}\r\n`),
    );
    const client = await QmpClient.connect(peer.path, QUICK);
    const names: string[] = [];
    client.onEvent = ({ name }) => names.push(name);
    await client.execute('stop');
    expect(names).toEqual(['STOP']);
    client.close();
  });

  it('is waited for until it tells of one event, or has told of it meanwhile', async () => {
    const at = '"timestamp":{"seconds":5,"microseconds":250000}';
    const peer = await fakePeer(
      greet,
      answering((id, command) => `{"event":"${command}",${at}}\r\n{"return":{},"id":${id}}\r\n`),
    );
    const client = await QmpClient.connect(peer.path, { timeoutMs: 5000 });
    expect([client.timeOf('STOP'), client.heardAt('STOP')]).toEqual([null, null]);
    const first = client.next('STOP', 60_000);
    await client.execute('RESUME');
    await client.execute('STOP');
    await first;
    expect(client.timeOf('STOP')).toBe(5250);
    expect(client.heardAt('STOP')).toBeLessThanOrEqual(performance.now());
    await client.next('RESUME', 60_000);
    const last = client.next('RESUME', 60_000);
    client.close();
    await last;
  });

  it('is not waited for longer than is said', async () => {
    const peer = await fakePeer(
      greet,
      answering((id) => `{"return":{},"id":${id}}\r\n`),
    );
    const client = await QmpClient.connect(peer.path, { timeoutMs: 5000 });
    await client.next('STOP', 1);
    client.close();
  });

  it('refuses with its own reason', async () => {
    const peer = await fakePeer(
      greet,
      answering((id) => `{"error":{"class":"X","desc":"not so"},"id":${id}}\r\n`),
    );
    const client = await QmpClient.connect(peer.path, QUICK);
    await expect(client.execute('cont')).rejects.toMatchObject({
      code: 'ERR_VM_COMMAND',
      message: 'cont: not so',
    });
    client.close();
  });

  it.each([
    ['says nothing', () => {}, 'ERR_VM_TIMEOUT'],
    ['hangs up', (socket: Socket) => void socket.end(), 'ERR_VM_GONE'],
    ['is something else', (socket: Socket) => void socket.write('SSH-2.0\r\n'), 'ERR_VM_PROTOCOL'],
    ['greets, and does not go on', greet, 'ERR_VM_TIMEOUT'],
  ])('that %s is given up', async (_, says, code) => {
    const peer = await fakePeer(says);
    await expect(QmpClient.connect(peer.path, QUICK)).rejects.toMatchObject({ code });
  });

  it('that is not there is said to be', async () => {
    await expect(QmpClient.connect('/nonexistent/qmp', QUICK)).rejects.toMatchObject({
      code: 'ERR_VM_CONNECT',
    });
  });

  it('that answers too late is not believed for another command', async () => {
    let late = '';
    const peer = await fakePeer(greet, (socket, text) =>
      answering((id, command) => {
        if (command === 'slow') {
          late = `{"return": "slow", "id": ${id}}\r\n`;
          return '';
        }
        return `${late}{"return": "quick", "id": ${id}}\r\n`;
      })(socket, text),
    );
    const client = await QmpClient.connect(peer.path, QUICK);
    await expect(client.execute('slow')).rejects.toMatchObject({ code: 'ERR_VM_TIMEOUT' });
    expect(await client.execute('quick')).toBe('quick');
    client.close();
  });

  it('that ends fails everything that waits, and what comes after', async () => {
    const peer = await fakePeer(greet, (socket, text) => {
      if (text.includes('quit')) socket.destroy();
      else answering(() => '')(socket, text);
    });
    const client = await QmpClient.connect(peer.path, { timeoutMs: 2000 });
    const [one, two] = [client.execute('query-status'), client.execute('quit')];
    await expect(one).rejects.toMatchObject({ code: 'ERR_VM_GONE' });
    await expect(two).rejects.toMatchObject({ code: 'ERR_VM_GONE' });
    await expect(client.execute('cont')).rejects.toMatchObject({ code: 'ERR_VM_GONE' });
  });
});
