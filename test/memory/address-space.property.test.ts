import fc from 'fast-check';
import { expect, it } from 'vitest';
import { AddressSpace, DmaError, type DmaMode } from '../../src/memory/index.ts';
import { fileBytes, GuestPort, guestMappings, native, openFds, request } from './guest.ts';

/** Guest memory: every map has its offset equal to its address, so that all modes see the same bytes. */
const SPACE = 3000;
const PAGE = 4096n;

interface ModelMap {
  readonly iova: number;
  readonly size: number;
  readonly read: boolean;
  readonly write: boolean;
  readonly mode: DmaMode;
}

/** The address space as plainly as it can be said: one list of maps, one entry for each byte. */
class Model {
  maps: ModelMap[] = [];
  readonly memory = new Uint8Array(SPACE);
  readonly dirty = new Set<number>();

  mapAt(address: number): ModelMap | undefined {
    return this.maps.find(({ iova, size }) => address >= iova && address < iova + size);
  }

  /** What an access must answer: the code of its error, or null. */
  outcome(iova: number, length: number, access: 'read' | 'write', sync: boolean): string | null {
    const touched = Array.from({ length }, (_, index) => this.mapAt(iova + index));
    for (const map of touched) {
      if (map === undefined) return 'ERR_DMA_UNMAPPED';
      if (!map[access]) return 'ERR_DMA_PROTECTED';
    }
    const message = touched.some((map) => map?.mode === 'message');
    return sync && message ? 'ERR_DMA_NEEDS_MESSAGE' : null;
  }
}

interface Real {
  readonly space: AddressSpace;
  readonly port: GuestPort;
  readonly fd: number;
}

async function codeOf(action: () => void | Promise<void>): Promise<string | null> {
  try {
    await action();
    return null;
  } catch (error) {
    if (error instanceof DmaError) return error.code;
    throw error;
  }
}

type Command = fc.AsyncCommand<Model, Real>;
const command = (text: string, run: (model: Model, real: Real) => Promise<void>): Command => ({
  check: () => true,
  run,
  toString: () => text,
});

const spot = fc.record({ iova: fc.nat(SPACE - 1), size: fc.integer({ min: 1, max: 400 }) });
const mode = fc.constantFrom<DmaMode>('mmap', 'file', 'message');
const mostly = fc.integer({ min: 0, max: 9 }).map((dice) => dice > 0);

const mapping = fc.tuple(spot, mode, mostly, mostly).map(([{ iova, size: wish }, how, read, write]) => {
  const size = Math.min(wish, SPACE - iova);
  return command(`map ${how} ${iova}+${size} ${read} ${write}`, async (model, { space, fd }) => {
    const clash = model.maps.some((other) => other.iova < iova + size && other.iova + other.size > iova);
    const own = how === 'message' ? null : native.dup(fd);
    const map = request(how, BigInt(iova), BigInt(size), own, { offset: BigInt(iova), read, write });
    expect(await codeOf(() => space.map(map))).toBe(clash ? 'ERR_DMA_MAP_EXISTS' : null);
    if (!clash) model.maps.push({ iova, size, read, write, mode: how });
  });
});

const unmapping = fc.tuple(fc.nat(20), fc.boolean()).map(([pick, exact]) =>
  command(`unmap ${pick} ${exact}`, async (model, { space }) => {
    const map = model.maps[pick % Math.max(1, model.maps.length)];
    if (map === undefined) return;
    const size = exact ? map.size : map.size + 1;
    const code = await codeOf(() => space.unmap(BigInt(map.iova), BigInt(size)));
    expect(code).toBe(exact ? null : 'ERR_DMA_UNMAP_UNKNOWN');
    if (exact) model.maps = model.maps.filter((other) => other !== map);
  }),
);

const reading = fc.tuple(spot, fc.boolean()).map(([{ iova, size }, sync]) =>
  command(`read ${iova}+${size} ${sync}`, async (model, { space }) => {
    const target = new Uint8Array(size);
    const code = await codeOf(() =>
      sync ? space.readSync(BigInt(iova), target) : space.read(BigInt(iova), target),
    );
    const expected = model.outcome(iova, size, 'read', sync);
    expect(code).toBe(expected);
    expect(target).toEqual(expected === null ? model.memory.slice(iova, iova + size) : new Uint8Array(size));
  }),
);

const writing = fc
  .tuple(spot, fc.boolean(), fc.integer({ min: 1, max: 255 }))
  .map(([{ iova, size }, sync, value]) =>
    command(`write ${iova}+${size} ${sync}`, async (model, { space, fd, port }) => {
      const data = new Uint8Array(size).fill(value);
      const code = await codeOf(() =>
        sync ? space.writeSync(BigInt(iova), data) : space.write(BigInt(iova), data),
      );
      expect(code).toBe(model.outcome(iova, size, 'write', sync));
      if (code !== null) return;
      model.memory.set(data, iova);
      for (let at = iova; at < iova + size; at++) model.dirty.add(Math.floor(at / Number(PAGE)));
      // One guest memory behind all modes: what went one way is there for the others.
      port.memory.set(model.memory);
      native.pwrite(fd, model.memory, 0, SPACE, 0);
    }),
  );

const viewing = spot.map(({ iova, size }) =>
  command(`view ${iova}+${size}`, async (model, { space }) => {
    const map = model.mapAt(iova);
    const inOne = map !== undefined && iova + size <= map.iova + map.size;
    const expected =
      inOne && map.read && map.write && map.mode === 'mmap' ? model.memory.slice(iova, iova + size) : null;
    expect(space.view(BigInt(iova), size)).toEqual(expected);
  }),
);

const reporting = fc.constant(
  command('report', async (model, { space }) => {
    const bitmap = space.dirtyLog.report(0n, PAGE * 8n, PAGE);
    expect(bitmap[0]).toBe([...model.dirty].reduce((bits, page) => bits | (1 << page), 0));
    model.dirty.clear();
  }),
);

it('equals a plain model through any sequence of maps, unmaps, reads, writes and reports', async () => {
  const fds = openFds();
  const commands = fc.commands<Model, Real, false>(
    [mapping, mapping, unmapping, reading, writing, viewing, reporting],
    {
      maxCommands: 60,
    },
  );
  await fc.assert(
    fc.asyncProperty(commands, async (sequence) => {
      const fd = native.memfd('guest', SPACE, true);
      const port = new GuestPort(new Uint8Array(SPACE));
      const space = new AddressSpace(native);
      space.setPort(port);
      space.dirtyLog.start(PAGE, []);
      const model = new Model();
      try {
        await fc.asyncModelRun(() => ({ model, real: { space, port, fd } }), sequence);
        expect(space.mapCount).toBe(model.maps.length);
        expect(fileBytes(fd, 0, SPACE)).toEqual(model.memory);
      } finally {
        space.clear();
        native.close(fd);
      }
    }),
    { numRuns: 150 },
  );
  expect(openFds()).toBe(fds);
  expect(guestMappings()).toBe(0);
});
