import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, statSync, writeFileSync } from 'node:fs';
import { connect as connectSocket, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { DeviceClient } from '../../../src/client/index.ts';
import {
  GpioRegister,
  SerialLineStatus,
  SerialModemControl,
  SerialRegister,
} from '../../../src/devices/index.ts';
import { lastJson, type Running, Shell } from '../ferry.ts';

const GPIO_BAR = 2;
const SERIAL_BAR = 0;
const WAIT = { timeout: 60_000 };

let shell: Shell;
const clients: { close(): void }[] = [];

beforeEach(() => {
  shell = new Shell();
});
afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  await shell.close();
});

async function connect(socket = 'a.sock'): Promise<DeviceClient> {
  const client = await DeviceClient.connect(shell.path(socket));
  clients.push(client);
  return client;
}

describe('ferry serve gpio', () => {
  it('prints the outputs that change, a line for each change', async () => {
    const server = await shell.serve('gpio', 'a.sock');
    const client = await connect();
    await client.writeU8(GPIO_BAR, GpioRegister.OUTPUTS_LOW, 0x09);
    await client.writeU8(GPIO_BAR, GpioRegister.OUTPUTS_LOW, 0x09);
    await client.writeU8(GPIO_BAR, GpioRegister.OUTPUTS_LOW, 0x08);
    await client.writeU8(GPIO_BAR, GpioRegister.OUTPUTS_HIGH, 0x80);
    await server.sees('out15=1\n');
    expect(server.stdout().split('\n').slice(1)).toEqual(['out0=1 out3=1', 'out0=0', 'out15=1', '']);
    await client.reset();
    await server.sees('out3=0 out15=0\n');
  });

  it('prints them as JSON', async () => {
    const server = await shell.serve('gpio', 'a.sock', '--json');
    await (await connect()).writeU8(GPIO_BAR, GpioRegister.OUTPUTS_HIGH, 1);
    await server.sees('out8');
    expect(lastJson(server.stdout())).toEqual({ outputs: 0x100, changed: ['out8=1'] });
  });

  it('takes inputs from the command line and from lines of standard input', async () => {
    const server = await shell.serve('gpio', 'a.sock', '--inputs', 'in0=1,in9=1');
    const client = await connect();
    const inputs = async (): Promise<number[]> => [
      await client.readU8(GPIO_BAR, GpioRegister.INPUTS_LOW),
      await client.readU8(GPIO_BAR, GpioRegister.INPUTS_HIGH),
    ];
    expect(await inputs()).toEqual([0x01, 0x02]);
    server.send('in3=1 in0=0\nin15=1\n');
    await vi.waitFor(async () => expect(await inputs()).toEqual([0x08, 0x82]), WAIT);
  });

  it('says what is wrong with a line, takes nothing of it, and goes on', async () => {
    const server = await shell.serve('gpio', 'a.sock');
    const client = await connect();
    server.send('in1=1 in16=1\n');
    await server.sees('in16=1 sets no input');
    server.send('in2=1\n');
    const low = () => client.readU8(GPIO_BAR, GpioRegister.INPUTS_LOW);
    await vi.waitFor(async () => expect(await low()).toBe(0x04), WAIT);
    expect(await server.kill('SIGTERM')).toMatchObject({ status: 0 });
  });
});

/** A guest that polls: what an idle driver of a 16550A with FIFOs does. */
class Line {
  readonly #client: DeviceClient;

  private constructor(client: DeviceClient) {
    this.#client = client;
  }

  static async open(): Promise<Line> {
    const client = await connect();
    await client.writeU8(SERIAL_BAR, SerialRegister.FCR, 1);
    await client.writeU8(SERIAL_BAR, SerialRegister.MCR, SerialModemControl.RTS | SerialModemControl.DTR);
    return new Line(client);
  }

  /** Settles when the last byte is on its way. */
  async send(text: string): Promise<void> {
    for (const byte of Buffer.from(text)) await this.#client.writeU8(SERIAL_BAR, SerialRegister.DATA, byte);
    const status = () => this.#client.readU8(SERIAL_BAR, SerialRegister.LSR);
    await vi.waitFor(async () => expect((await status()) & SerialLineStatus.EMPTY).not.toBe(0), WAIT);
  }

  /** Waits for as many bytes as `expected` has. */
  async expects(expected: string): Promise<void> {
    let text = '';
    const more = async (): Promise<void> => {
      while (((await this.#client.readU8(SERIAL_BAR, SerialRegister.LSR)) & 1) !== 0) {
        text += String.fromCharCode(await this.#client.readU8(SERIAL_BAR, SerialRegister.DATA));
      }
      expect(text).toBe(expected);
    };
    await vi.waitFor(more, WAIT);
  }
}

describe('ferry serve serial --backend stdio', () => {
  it('carries bytes both ways, and leaves standard output to the guest', async () => {
    const server = await shell.serve('serial', 'a.sock', '--backend', 'stdio');
    const line = await Line.open();
    await line.send('hello from the guest');
    await server.sees('hello from the guest');
    expect(server.stdout()).toBe('hello from the guest');
    expect(server.stderr()).toMatch(/^listening on /);
    const long = 'more than a FIFO holds, '.repeat(20);
    server.send(long);
    await line.expects(long);
    expect(await server.kill('SIGTERM')).toMatchObject({ status: 0 });
  });
});

describe('ferry serve serial --backend unix:PATH', () => {
  const plug = (): { socket: Socket; received: () => string } => {
    let text = '';
    const socket = connectSocket(shell.path('line'));
    socket.setEncoding('latin1').on('data', (piece: string) => {
      text += piece;
    });
    socket.on('error', () => {});
    clients.push({ close: () => socket.destroy() });
    return { socket, received: () => text };
  };
  const serve = (): Promise<Running> =>
    shell.serve('serial', 'a.sock', '--backend', `unix:${shell.path('line')}`);

  it('carries bytes both ways for one after the other, each with the line to itself', async () => {
    const server = await serve();
    expect(statSync(shell.path('line')).mode & 0o777).toBe(0o600);
    const line = await Line.open();
    await line.send('nobody hears this');
    const first = plug();
    first.socket.write('first');
    await line.expects('first');
    await line.send('to the first');
    await vi.waitFor(() => expect(first.received()).toBe('to the first'), WAIT);

    const intruder = plug();
    await vi.waitFor(() => expect(intruder.socket.destroyed).toBe(true), WAIT);

    first.socket.end();
    // Whoever comes before the first has gone is an intruder, too.
    const second = await vi.waitFor(async () => {
      const next = plug();
      const seen = async (): Promise<boolean> => {
        await line.send('?');
        return next.socket.destroyed || next.received().includes('?');
      };
      await vi.waitUntil(seen, WAIT);
      expect(next.socket.destroyed).toBe(false);
      return next;
    }, WAIT);
    second.socket.write('second');
    await line.expects('second');
    await line.send('to the second');
    await vi.waitFor(() => expect(second.received()).toMatch(/to the second$/), WAIT);

    expect(await server.kill('SIGTERM')).toMatchObject({ status: 0, stderr: '' });
    expect(existsSync(shell.path('line'))).toBe(false);
  });
});

describe('ferry serve serial --backend pty', () => {
  /** A program that reads the terminal, until it is closed. */
  const startCat = (path: string): { child: ChildProcess; received: () => string } => {
    let text = '';
    const child = spawn('cat', [path], { stdio: ['ignore', 'pipe', 'inherit'] });
    child.stdout.setEncoding('latin1').on('data', (piece: string) => {
      text += piece;
    });
    clients.push({ close: () => child.kill('SIGKILL') });
    return { child, received: () => text };
  };

  it('carries bytes both ways for programs that open its terminal, one after the other', async () => {
    const server = await shell.serve('serial', 'a.sock', '--backend', 'pty');
    const path = /, line at (\/dev\/pts\/\d+)\n$/.exec(server.stdout())?.[1] ?? '';
    const line = await Line.open();
    await line.send('nobody hears this');
    for (const round of ['first', 'second']) {
      execFileSync('sh', ['-c', `printf '${round}\\003\\r' > ${path}`]);
      await line.expects(`${round}\x03\r`);
      const { child, received } = startCat(path);
      await vi.waitFor(async () => {
        await line.send('?');
        expect(received()).toContain('?');
      }, WAIT);
      const text = `\x00\x04to the ${round} reader\r\n`.repeat(20);
      await line.send(text);
      await vi.waitFor(() => expect(received().endsWith(text)).toBe(true), WAIT);
      expect(received()).not.toContain('nobody');
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
    }
    expect(await server.kill('SIGTERM')).toMatchObject({ status: 0, stderr: '' });
  });

  it('tells its path in JSON', async () => {
    const server = await shell.serve('serial', 'a.sock', '--backend', 'pty', '--json');
    expect(lastJson(server.stdout())).toMatchObject({
      listening: { line: expect.stringMatching(/^\/dev\/pts\/\d+$/) },
    });
  });
});

/** CSTS.RDY and CSTS.CFS. */
const READY = 1;
const FAILED = 2;

/** Enables the controller with queues of two entries (NVM Express 1.4, section 3.1); gives CSTS. */
async function enable(client: DeviceClient): Promise<number> {
  await client.writeU32(0, 0x24, 0x0001_0001);
  await client.writeU64(0, 0x28, 0x10000n);
  await client.writeU64(0, 0x30, 0x20000n);
  await client.writeU32(0, 0x14, 0x0046_0001);
  const status = async (): Promise<number> => {
    const csts = await client.readU32(0, 0x1c);
    expect(csts).not.toBe(0);
    return csts & 3;
  };
  return vi.waitFor(status, WAIT);
}

describe('ferry serve nvme', () => {
  it('serves a namespace in memory', async () => {
    await shell.serve('nvme', 'a.sock', '--ram', '1M');
    const client = await connect();
    // CAP.CQR and VS 1.4 (NVM Express 1.4, section 3.1).
    expect((await client.readU64(0, 0)) & 0x10000n).toBe(0x10000n);
    expect(await client.readU32(0, 8)).toBe(0x00010400);
  });

  it('uses a file while the controller is enabled, and leaves it to another server when it ends', async () => {
    writeFileSync(shell.path('disk.img'), Buffer.alloc(1 << 20));
    const words = ['--backend', shell.path('disk.img')];
    const first = await shell.serve('nvme', 'a.sock', ...words);
    await shell.serve('nvme', 'b.sock', ...words);
    const [one, two] = [await connect(), await connect('b.sock')];
    expect(await enable(one)).toBe(READY);
    expect(await enable(two), 'the file is in use').toBe(FAILED);
    one.close();
    expect(await first.kill('SIGTERM')).toMatchObject({ status: 0, stderr: '' });
    await two.reset();
    expect(await enable(two)).toBe(READY);
  });
});

it.each([
  [['gpio', '--dedicated'], "gpio can't have a thread of its own"],
  [['gpio', '--inputs', 'in16=1'], 'in16=1 sets no input'],
  [['serial'], 'serial needs --backend'],
  [['serial', '--backend', 'tcp:1'], 'it is stdio, pty or unix:PATH'],
  [['edu', '--backend', 'stdio'], '--backend belongs to the device serial or nvme, not to edu'],
  [['nvme'], 'give the namespace of nvme as --backend FILE or as --ram BYTES'],
  [['nvme', '--ram', '4K', '--backend', 'disk.img'], 'give the namespace of nvme'],
  [['nvme', '--backend', 'disk.img', '--dedicated'], "nvme with a file can't have a thread of its own"],
  [['nvme', '--ram', '5000'], 'no multiple of 4096'],
])('refuses %j', async (words, message) => {
  const { status, stderr } = await shell.run('serve', ...words, '--socket-path', shell.path('a.sock'));
  expect(stderr).toContain(message);
  expect(status).toBe(2);
  expect(existsSync(shell.path('a.sock'))).toBe(false);
});
