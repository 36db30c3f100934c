import { Worker } from 'node:worker_threads';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bytes, DeclaredImage, declareState, memory, u16, u32 } from '../../../src/device/state/index.ts';
import { type DeviceImage, StateReader, StateWriter } from '../../../src/stream/index.ts';
import { FakeMemory } from './fake-native.ts';

const IDENTITY = {
  kind: 'sample',
  vendor: 1,
  device: 2,
  subsystemVendor: 0,
  subsystemDevice: 0,
  revision: 0,
  classCode: 0xff0000,
};
const PAGE = 4096;

function device({ pages = 4, version = 1 } = {}) {
  const author = declareState(
    { ticks: u32(), command: u16(), ram: memory(pages * PAGE), rom: memory(PAGE) },
    { version },
  );
  const pci = declareState({ command: u16(), config: bytes(16) }, { part: 'pci', version: 3, oldest: 2 });
  return { author, pci, image: new DeclaredImage({ identity: IDENTITY, states: [author, pci] }) };
}

/** Everything that a writer has now. */
function pull(writer: StateWriter, size = 1000): Buffer {
  const pieces: Buffer[] = [];
  for (;;) {
    const piece = Buffer.alloc(size);
    const count = writer.read(piece);
    pieces.push(piece.subarray(0, count));
    if (count < size) return Buffer.concat(pieces);
  }
}

function save(image: DeviceImage): Buffer {
  const writer = new StateWriter(image);
  writer.start();
  writer.stop();
  const stream = pull(writer);
  writer.close();
  return stream;
}

describe('DeclaredImage', () => {
  it('carries the states of author and library side by side, each with its version', () => {
    const { author, pci, image } = device();
    author.state.command = 0x1111;
    pci.state.command = 0x2222;
    pci.state.config.fill(9);
    author.state.ram.write(PAGE, Uint8Array.of(1, 2, 3));
    const target = device();
    const reader = new StateReader(target.image);
    reader.write(save(image));
    expect(reader.complete).toBe(true);
    expect([target.author.state.command, target.pci.state.command, target.pci.state.config[15]]).toEqual([
      0x1111, 0x2222, 9,
    ]);
    expect([...target.author.state.ram.bytes.subarray(PAGE, PAGE + 4)]).toEqual([1, 2, 3, 0]);
    expect(image.schema.parts.map(({ name, version }) => [name, version])).toEqual([
      ['', 1],
      ['pci', 3],
    ]);
  });

  it('loads an older state of one part while the other is the same', () => {
    const older = device({ version: 1 });
    older.author.state.ticks = 77;
    const newer = device({ version: 2 });
    const reader = new StateReader(newer.image);
    reader.write(save(older.image));
    expect([reader.complete, newer.author.state.ticks]).toEqual([true, 77]);
  });

  it('resets, materializes and closes all its states', () => {
    const { author, pci, image } = device();
    author.state.ram.share();
    const fake = new FakeMemory();
    image.materialize(fake.native);
    expect(author.state.ram.fd).not.toBeNull();
    author.state.ticks = 1;
    pci.state.command = 1;
    image.reset();
    expect([author.state.ticks, pci.state.command]).toEqual([0, 0]);
    image.close();
    expect([fake.open.size, fake.mapped.size]).toEqual([0, 0]);
  });

  it('refuses values that lack a part', () => {
    const { image } = device();
    expect(() => image.loadFields(image.saveFields(), new Map([['', 1]]))).toThrow('lacks part "pci"');
  });

  it.each([
    ['two parts of one name', [declareState({ a: u32() }), declareState({ b: u32() })]],
    ['a name with a dot', [declareState({ 'pci.command': u32() })]],
    ['a version below its oldest', [declareState({ a: u32() }, { version: 1, oldest: 2 })]],
    ['a field from the future', [declareState({ a: u32({ since: 2 }) })]],
  ])('refuses %s when the device is made, not when it migrates', (_, states) => {
    expect(() => new DeclaredImage({ identity: IDENTITY, states })).toThrow(
      expect.objectContaining({ code: 'ERR_STREAM_SCHEMA' }),
    );
  });
});

/** A device whose memory a client has mapped, and the client's view of it. */
function exposed(native: FakeMemory['native'], pages: number) {
  const { author, image } = device({ pages });
  author.state.ram.share();
  image.materialize(native);
  author.state.ram.expose();
  return { author, image, client: author.state.ram.bytes };
}

describe('memory that a client has mapped', () => {
  it('arrives as it was at the stop, whenever the client wrote', () => {
    const step = fc.oneof(
      // Few places and two values, so that often a byte is changed and changed back.
      fc.record({ at: fc.nat(7).map((n) => n * (PAGE / 2) + 99), value: fc.nat(1) }),
      fc.record({ read: fc.integer({ min: 1, max: 6000 }) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), fc.constantFrom(0, 5), (steps, fill) => {
        const { author, image, client } = exposed(new FakeMemory().native, 4);
        client.fill(fill);
        const target = device({ pages: 4 });
        const reader = new StateReader(target.image);
        const writer = new StateWriter(image);
        writer.start();
        for (const each of steps) {
          if ('read' in each) {
            const piece = new Uint8Array(each.read);
            reader.write(piece.subarray(0, writer.read(piece)));
          } else {
            client[each.at] = each.value === 0 ? fill : 1;
          }
        }
        writer.stop();
        reader.write(pull(writer));
        expect(reader.complete).toBe(true);
        expect(Buffer.compare(target.author.state.ram.bytes, author.state.ram.bytes)).toBe(0);
      }),
      { numRuns: 200 },
    );
  });

  it('arrives exactly although another thread writes all the time until the stop', async () => {
    const fake = new FakeMemory({ threads: true });
    const { author, image, client } = exposed(fake.native, 64);
    const control = new Int32Array(new SharedArrayBuffer(8));
    const worker = new Worker(WRITER, { eval: true, workerData: { memory: client.buffer, control } });
    const target = device({ pages: 64 });
    const reader = new StateReader(target.image);
    const writer = new StateWriter(image);
    Atomics.wait(control, 0, 0, 10_000);
    writer.start();
    const piece = new Uint8Array(10_000);
    for (let turn = 0; turn < 500; turn += 1) reader.write(piece.subarray(0, writer.read(piece)));
    Atomics.store(control, 1, 1);
    Atomics.wait(control, 0, 1, 10_000);
    writer.stop();
    reader.write(pull(writer));
    expect(reader.complete).toBe(true);
    expect(Buffer.compare(target.author.state.ram.bytes, author.state.ram.bytes)).toBe(0);
    await worker.terminate();
  });
});

/** Says 1 when it has begun to write, and 2 when it has ended after it was told to. */
const WRITER = `
  const { workerData: { memory, control } } = require('node:worker_threads');
  const words = new Uint32Array(memory);
  const say = (what) => { Atomics.store(control, 0, what); Atomics.notify(control, 0); };
  say(1);
  for (let seed = 1; Atomics.load(control, 1) === 0; ) {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    words[(seed >>> 8) % words.length] = seed & 1 ? 0 : seed;
  }
  say(2);
`;
