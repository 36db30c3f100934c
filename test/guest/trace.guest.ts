import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Edu, MemoryDevice } from '../../src/devices/index.ts';
import { Conversation, RecordingReader, type Told, type TraceEvent } from '../../src/trace/index.ts';
import { ourLines, tsharkLines } from '../trace/compare-decoders.ts';
import { askTshark, NO_TSHARK } from '../trace/tshark.ts';
import { addressOf, EDU_SLOT, Ids } from './devices.ts';
import { bindToUio } from './edu.ts';
import type { Guest } from './harness/guest.ts';
import { describeInGuests, type Lab } from './harness/lab.ts';

const ferry = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

/** Messages that are compared field by field; a boot has some thousands, of which the rest is alike. */
const COMPARED = 4000;

/** `ferry trace -w` as a process, in front of a server. */
class Tracer {
  readonly socketPath: string;
  readonly file: string;
  readonly #child;
  readonly #listening: Promise<void>;
  /** What it has said. */
  said = '';

  constructor(lab: Lab, name: string, server: string) {
    this.socketPath = lab.path(`${name}.traced`);
    this.file = lab.path(`${name}.pcapng`);
    const args = [
      ferry,
      'trace',
      '--listen',
      this.socketPath,
      '--connect',
      server,
      '-w',
      this.file,
      '--no-control',
    ];
    this.#child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    this.#listening = new Promise((resolve, reject) => {
      this.#child.stderr.setEncoding('utf8').on('data', (text: string) => {
        this.said += text;
        if (this.said.includes('listening')) resolve();
      });
      this.#child.once('exit', () => reject(new Error(`ferry trace ended: ${this.said}`)));
    });
  }

  async start(): Promise<void> {
    await this.#listening;
  }

  /** How many descriptors it has open. */
  get fds(): number {
    return readdirSync(`/proc/${this.#child.pid}/fd`).length;
  }

  async end(): Promise<readonly TraceEvent[]> {
    const ended = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.kill('SIGTERM');
    expect(await ended).toBe(0);
    const reader = new RecordingReader();
    const events = reader.push(readFileSync(this.file));
    expect(reader.end()).toBe(0);
    return events;
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }
}

/** On q35 devices are given memory as fds, on pc they ask for it by message; the recording has to have either. */
describeInGuests('ferry trace between QEMU and a device', (lab) => {
  const machine = lab.kernel.flavour === 'full' ? 'q35' : 'pc';
  const mapped = machine === 'q35';
  let guest: Guest;
  let tracers: Record<'edu' | 'memory', Tracer>;
  let fdsBefore = 0;

  beforeAll(async () => {
    const edu = lab.serve('edu', new Edu({ asynchronous: !mapped }));
    const memory = lab.serve('memory', new MemoryDevice({ size: 4 * 2 ** 20, asynchronous: !mapped }));
    tracers = {
      edu: new Tracer(lab, 'edu', edu.socketPath),
      memory: new Tracer(lab, 'memory', memory.socketPath),
    };
    for (const tracer of Object.values(tracers)) await tracer.start();
    fdsBefore = tracers.edu.fds;
    guest = await lab.boot({
      machine,
      memory: mapped ? 'shared' : 'private',
      devices: [
        { id: 'edu', socketPath: tracers.edu.socketPath, slot: EDU_SLOT },
        { id: 'memory', socketPath: tracers.memory.socketPath, slot: EDU_SLOT + 1 },
      ],
    });
  });

  afterAll(() => {
    for (const tracer of Object.values(tracers ?? {})) tracer.kill();
  });

  it('hides nothing of the device from the guest', async () => {
    const address = await addressOf(guest, Ids.edu);
    await guest.run(`edu ${address} registers`);
    await guest.run(`edu ${address} dma 20`);
    const uio = await bindToUio(guest, address);
    await guest.run(`edu ${address} interrupts /dev/${uio} 50`);
    expect(await guest.kernelComplaints()).toEqual([]);
  });

  it('records all of it, loses no descriptor, and keeps none', async () => {
    await guest.close();
    await expect.poll(() => tracers.edu.fds, { timeout: 10_000 }).toBe(fdsBefore);
    checkRecording(await tracers.memory.end(), mapped);
    const edu = checkRecording(await tracers.edu.end(), mapped);
    // edu's DMA: by message where memory is not given.
    expect(edu.some(({ message }) => message.name === 'DMA_READ')).toBe(!mapped);
    expect(tracers.edu.said.match(/\n/g)).toHaveLength(1);
  });

  it.skipIf(NO_TSHARK !== null)('can be read in tshark, every message and every field', () => {
    for (const { file } of Object.values(tracers)) {
      const recording = readFileSync(file);
      const messages = new RecordingReader().push(recording);
      const frames = askTshark(recording, COMPARED);
      expect(frames).toHaveLength(Math.min(COMPARED, messages.length));
      frames.forEach((fields, i) => {
        const event = messages[i];
        const header = fields.find(({ key }) => key === 'vfio_user.record.header_length');
        expect(header, `frame ${i + 1}`).toBeDefined();
        if (event?.kind === 'message') {
          expect(tsharkLines(fields, Number(header?.show))).toEqual(ourLines(event.bytes));
        }
      });
    }
  });
});

function checkRecording(events: readonly TraceEvent[], mapped: boolean): readonly Told[] {
  const conversation = new Conversation();
  const told = events.flatMap((event) => (event.kind === 'message' ? [conversation.tell(event)] : []));
  expect(events.filter(({ kind }) => kind === 'bytes')).toEqual([]);
  expect(told.flatMap(({ message }) => message.problems.map(({ text }) => text))).toEqual([]);
  expect(told.filter(({ message, answers }) => message.kind !== 'request' && answers === null)).toEqual([]);
  const answered = new Set(told.map(({ answers }) => answers));
  const unanswered = told.filter(wantsReply).filter(({ number }) => !answered.has(number));
  expect(unanswered.map(({ message }) => message.name)).toEqual([]);
  checkDescriptors(told, mapped);
  return told;
}

function wantsReply({ message }: Told): boolean {
  return message.kind === 'request' && (message.header.flags & 0x10) === 0;
}

function checkDescriptors(told: readonly Told[], mapped: boolean): void {
  const named = (name: string): readonly Told[] =>
    told.filter(({ message }) => message.kind === 'request' && message.name === name);
  const maps = named('DMA_MAP');
  expect(maps.length).toBeGreaterThan(0);
  const memory = maps.flatMap(({ event }) => event.fds.map(({ kind }) => kind));
  // What QEMU keeps to itself comes without one, such as ROMs; the guest's memory is of one file.
  expect(memory.includes('memfd')).toBe(mapped);
  const interrupts = named('DEVICE_SET_IRQS').flatMap(({ event }) => event.fds.map(({ kind }) => kind));
  expect(interrupts.length).toBeGreaterThan(0);
  expect(new Set(interrupts)).toEqual(new Set(['eventfd']));
}
