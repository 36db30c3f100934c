import { afterEach, describe, expect, it, vi } from 'vitest';
import { DeviceTimers } from '../../src/device/device-timers.ts';
import { RunControl, RunLevel } from '../../src/device/run-control.ts';
import { FakeHost } from '../helpers/fake-host.ts';

const { STOPPED, NO_DMA, RUNNING } = RunLevel;
const BASE = 0x1000n;

/** A promise that the test settles. */
function deferred() {
  let resolve: () => void = () => {};
  let reject: (error: unknown) => void = () => {};
  const promise = new Promise<void>((onResolve, onReject) => {
    resolve = onResolve;
    reject = onReject;
  });
  return { promise, resolve, reject };
}

/** Lets everything that is ready run. */
const settled = () => new Promise((resolve) => setImmediate(resolve));

describe('RunControl', () => {
  const hosts: FakeHost[] = [];
  afterEach(() => {
    for (const host of hosts.splice(0)) host.close();
  });

  function make(work: (run: RunControl) => unknown = () => {}, mode: FakeHost['mode'] = 'event-loop') {
    const host = new FakeHost(mode);
    hosts.push(host);
    const timers = new DeviceTimers();
    const master = { enabled: true };
    const called = vi.fn((): unknown => work(run));
    const run: RunControl = new RunControl({ host, timers, work: called, isBusMaster: () => master.enabled });
    return { host, timers, run, work: called, master };
  }

  describe('work', () => {
    it('runs when the device begins to run, and after each kick', () => {
      const { run, work } = make();
      run.kick();
      expect(work).not.toHaveBeenCalled();
      run.setLevel(RUNNING);
      expect(work).toHaveBeenCalledTimes(1);
      run.kick();
      expect(work).toHaveBeenCalledTimes(2);
    });

    it('waits for the end of the callback that kicked, and runs once for several kicks', () => {
      const { run, work } = make();
      run.setLevel(RUNNING);
      work.mockClear();
      run.enter();
      run.enter();
      run.kick();
      run.kick();
      run.leave();
      expect(work).not.toHaveBeenCalled();
      run.leave();
      expect(work).toHaveBeenCalledTimes(1);
    });

    it('is not entered while it is in progress: kicks meanwhile make it run once more', async () => {
      const gate = deferred();
      const { run, work } = make(() => gate.promise);
      run.setLevel(RUNNING);
      run.kick();
      run.kick();
      expect(work).toHaveBeenCalledTimes(1);
      expect(run.working).toBe(true);
      work.mockImplementation(() => undefined);
      gate.resolve();
      await settled();
      expect(work).toHaveBeenCalledTimes(2);
      expect(run.working).toBe(false);
    });

    it('that kicks itself runs again, not within itself', () => {
      let depth = 0;
      let left = 3;
      const { run, work } = make((self) => {
        expect(depth++).toBe(0);
        if (left-- > 0) self.kick();
        depth--;
      });
      run.setLevel(RUNNING);
      expect(work).toHaveBeenCalledTimes(4);
    });

    it.each(['sync', 'async'])('that always kicks itself lets others have their turn (%s)', async (kind) => {
      const { host, run, work } = make((self) => {
        self.kick();
        return kind === 'async' ? Promise.resolve() : undefined;
      });
      run.setLevel(RUNNING);
      await settled();
      const once = work.mock.calls.length;
      expect(once).toBeGreaterThan(1);
      host.timers.advance(1);
      await settled();
      expect(work.mock.calls.length).toBeGreaterThan(once);
    });

    it('waits for bus mastering where the device cares', () => {
      const { run, work, master } = make();
      master.enabled = false;
      run.setLevel(RUNNING);
      run.kick();
      expect(work).not.toHaveBeenCalled();
      master.enabled = true;
      run.resume();
      expect(work).toHaveBeenCalledTimes(1);
      run.resume();
      expect(work, 'nothing was asked for').toHaveBeenCalledTimes(1);
    });

    it.each<[string, () => unknown]>([
      [
        'throws',
        () => {
          throw new Error('broken');
        },
      ],
      ['rejects', () => Promise.reject(new Error('broken'))],
    ])('that %s is reported, and runs again when kicked', async (_, work) => {
      const { host, run, work: called } = make(work);
      run.setLevel(RUNNING);
      await settled();
      expect(host.reported).toMatchObject([{ code: 'ERR_DEVICE_CALLBACK', cause: { message: 'broken' } }]);
      run.kick();
      expect(called).toHaveBeenCalledTimes(2);
      await settled();
    });

    it('may not return a promise in dedicated mode', async () => {
      const { host, run } = make(() => Promise.reject(new Error('unseen')), 'dedicated');
      run.setLevel(RUNNING);
      await settled();
      expect(host.reported.map(({ code }) => code)).toEqual(['ERR_DEVICE_ASYNCHRONOUS']);
      expect(run.setLevel(STOPPED)).toBeUndefined();
    });
  });

  describe('quiescing', () => {
    it('is synchronous when nothing is in progress, and kicks wait until it is over', () => {
      const { run, work } = make();
      run.setLevel(RUNNING);
      work.mockClear();
      expect(run.setLevel(NO_DMA)).toBeUndefined();
      run.kick();
      expect(work).not.toHaveBeenCalled();
      run.setLevel(RUNNING);
      expect(work).toHaveBeenCalledTimes(1);
    });

    it('waits for the work in progress, which sees it and may still do DMA', async () => {
      const gate = deferred();
      const seen: boolean[] = [];
      const { host, run } = make(async (self) => {
        seen.push(self.mayInitiateDma);
        await gate.promise;
        seen.push(self.mayInitiateDma);
        await self.dma.write(BASE, Uint8Array.of(7));
      });
      const guest = host.mapMemory(BASE, 4096);
      run.setLevel(RUNNING);
      let quiesced = false;
      const pending = Promise.resolve(run.setLevel(NO_DMA)).then(() => {
        quiesced = true;
      });
      await settled();
      expect(quiesced).toBe(false);
      gate.resolve();
      await pending;
      expect(seen).toEqual([true, false]);
      expect(guest[0]).toBe(7);
      expect(run.working).toBe(false);
      expect(host.reported).toEqual([]);
    });

    it('does not start work once more that was kicked meanwhile', async () => {
      const gate = deferred();
      const { run, work } = make(() => gate.promise);
      run.setLevel(RUNNING);
      const pending = run.setLevel(STOPPED);
      run.kick();
      gate.resolve();
      await pending;
      expect(work).toHaveBeenCalledTimes(1);
      expect(run.running).toBe(false);
      run.setLevel(RUNNING);
      expect(work).toHaveBeenCalledTimes(2);
    });

    it('waits for DMA that nobody waits for', async () => {
      const { host, run } = make();
      const port = host.messageMemory(BASE, new Uint8Array(4096));
      port.manual = true;
      run.setLevel(RUNNING);
      const order: string[] = [];
      void run.dma.write(BASE, new Uint8Array(4)).then(() => order.push('written'));
      const pending = Promise.resolve(run.setLevel(NO_DMA)).then(() => order.push('quiesced'));
      await settled();
      expect(order).toEqual([]);
      port.answer();
      await pending;
      expect(order).toEqual(['written', 'quiesced']);
    });

    it('refuses DMA afterwards, outside of work', async () => {
      const { host, run } = make();
      host.mapMemory(BASE, 4096);
      for (const level of [NO_DMA, STOPPED]) {
        run.setLevel(RUNNING);
        await run.setLevel(level);
        const refusal = { code: 'ERR_DEVICE_QUIESCED', errno: 16 };
        await expect(run.dma.read(BASE, 1)).rejects.toMatchObject(refusal);
        expect(() => run.dma.writeSync(BASE, new Uint8Array(1))).toThrow(expect.objectContaining(refusal));
      }
    });

    it('refuses DMA without bus mastering, as a function that is off the bus', async () => {
      const { host, run, master } = make();
      host.mapMemory(BASE, 4096);
      run.setLevel(RUNNING);
      master.enabled = false;
      await expect(run.dma.read(BASE, 1)).rejects.toMatchObject({ code: 'ERR_DEVICE_BUS_MASTER', errno: 19 });
    });

    it('lets timers tick in the P2P states, and stops them with the device', async () => {
      const { host, timers, run } = make();
      const tick = vi.fn();
      timers.every(10, tick);
      run.setLevel(RUNNING);
      host.timers.advance(10);
      await run.setLevel(NO_DMA);
      host.timers.advance(10);
      expect(tick).toHaveBeenCalledTimes(2);
      await run.setLevel(STOPPED);
      host.timers.advance(100);
      expect(tick).toHaveBeenCalledTimes(2);
      run.setLevel(NO_DMA);
      host.timers.advance(10);
      expect(tick).toHaveBeenCalledTimes(3);
    });
  });

  describe('callbacks', () => {
    it('that throw are reported, and work kicked by them runs afterwards', () => {
      const { host, run, work } = make();
      run.setLevel(RUNNING);
      work.mockClear();
      run.run('timer', () => {
        run.kick();
        expect(work).not.toHaveBeenCalled();
        throw new Error('late');
      });
      expect(work).toHaveBeenCalledTimes(1);
      expect(host.reported).toMatchObject([
        { code: 'ERR_DEVICE_CALLBACK', message: expect.stringContaining('timer') },
      ]);
    });

    it('may not return promises: a migration would not wait for them', async () => {
      const { host, run } = make();
      run.run('timer', () => Promise.reject(new Error('unseen')));
      await settled();
      expect(host.reported).toMatchObject([{ code: 'ERR_DEVICE_ASYNCHRONOUS' }]);
    });
  });

  describe('halt', () => {
    it('is synchronous without work in progress, and stops timers and kicks', () => {
      const { host, timers, run, work } = make();
      run.setLevel(RUNNING);
      work.mockClear();
      const tick = vi.fn();
      timers.after(10, tick);
      run.enter();
      run.kick();
      expect(run.halt()).toBeUndefined();
      run.leave();
      host.timers.advance(100);
      expect(tick).not.toHaveBeenCalled();
      expect(work).not.toHaveBeenCalled();
    });

    it('ends work that waits for a peer who does not answer, and reports nothing', async () => {
      const { host, run } = make((self) => self.dma.read(BASE, 16));
      const port = host.messageMemory(BASE, new Uint8Array(4096));
      port.manual = true;
      run.setLevel(RUNNING);
      expect(run.working).toBe(true);
      await run.halt();
      expect(run.working).toBe(false);
      expect(run.dma.outstanding).toBe(1);
      expect(host.reported).toEqual([]);
      port.answer();
    });

    it('refuses the DMA that abandoned work tries next', async () => {
      const errors: unknown[] = [];
      const { host, run } = make(async (self) => {
        await self.dma.read(BASE, 16).catch((error: unknown) => errors.push(error));
        await self.dma.read(BASE, 16).catch((error: unknown) => errors.push(error));
      });
      host.messageMemory(BASE, new Uint8Array(4096)).manual = true;
      run.setLevel(RUNNING);
      await run.halt();
      expect(errors).toMatchObject([{ errno: 125 }, { errno: 16 }]);
      expect(run.halting).toBe(false);
    });

    it('cancels a quiesce that is under way, which reports it', async () => {
      const { host, run, work } = make();
      const port = host.messageMemory(BASE, new Uint8Array(4096));
      port.manual = true;
      run.setLevel(RUNNING);
      const read = run.dma.read(BASE, 16);
      const quiesce = Promise.resolve(run.setLevel(STOPPED));
      run.halt();
      await expect(read).rejects.toMatchObject({ errno: 125 });
      run.setLevel(RUNNING);
      work.mockClear();
      port.answer();
      await expect(quiesce).rejects.toMatchObject({ code: 'ERR_DEVICE_QUIESCED', errno: 125 });
      expect(run.mayInitiateDma, 'what the reset set is left alone').toBe(true);
    });
  });
});
