import { fstatSync } from 'node:fs';
import { expect, it } from 'vitest';
import { storedFds } from '../../src/handover/fd-restore.ts';
import { StateHead } from '../../src/handover/layout.ts';
import { Parcel, ParcelMemory } from '../../src/handover/parcel.ts';
import { loadNative } from '../../src/native/index.ts';
import { openFds } from '../helpers/open-fds.ts';

const native = loadNative();

function stateHead(recordLength: number, dataLength: number, fds: number): Uint8Array {
  const bytes = new Uint8Array(StateHead.size);
  const head = { recordLength, recordChecksum: 0, fds, dataLength: BigInt(dataLength) };
  StateHead.write(new DataView(bytes.buffer), 0, { ...head, stoppedAt: 1n, savedAt: 2n, savingCpu: 0n });
  return bytes;
}

it('keeps everything of a device, in order, and gives it once', () => {
  const before = openFds().length;
  const fds = Array.from({ length: 300 }, (_, i) => native.memfd(`part-${i}`, 4096 * (i + 1), true));
  const data = [Buffer.alloc(300_000, 7), Buffer.from('end')];
  const [hello, record] = [Buffer.from('hello'), Buffer.from('record')];
  const head = stateHead(record.length, 300_003, fds.length);
  const parcel = Parcel.pack(native, { hello, head, record, fds, data });
  const kept = new Parcel(native, native.dup(parcel.fd));
  for (const fd of fds) native.close(fd);
  parcel.close();

  const again = new Parcel(native, native.dup(kept.fd));
  const [memory = -1, ...given] = kept.open();
  expect(given.map((fd) => fstatSync(fd).size)).toEqual(fds.map((_, i) => 4096 * (i + 1)));
  const found = new ParcelMemory(native, memory);
  expect([found.hello, found.record].map((bytes) => Buffer.from(bytes).toString())).toEqual([
    'hello',
    'record',
  ]);
  expect(Buffer.concat([...found.data()]).equals(Buffer.concat(data))).toBe(true);
  expect(again.open(), 'nobody else has it').toEqual([]);

  for (const fd of [memory, ...given]) native.close(fd);
  for (const one of [kept, again]) one.close();
  expect(openFds().length).toBe(before);
});

it('is empty to everybody when it is spoilt', () => {
  const fd = native.eventfd(0);
  const parcel = Parcel.fill(native, [fd]);
  const kept = new Parcel(native, native.dup(parcel.fd));
  parcel.spoil();
  expect(kept.open()).toEqual([]);
  for (const one of [parcel, kept]) one.close();
  native.close(fd);
});

it.each([
  ['no memory of a parcel', Buffer.alloc(64)],
  ['nothing', Buffer.alloc(0)],
])('%s is refused', (_what, bytes) => {
  const fd = native.memfd('other', bytes.length, true);
  native.pwrite(fd, bytes, 0, bytes.length, 0);
  expect(() => new ParcelMemory(native, fd)).toThrow(
    expect.objectContaining({ code: 'ERR_HANDOVER_RECORD' }),
  );
  native.close(fd);
});

it.each([
  [{}, []],
  [{ LISTEN_PID: '7', LISTEN_FDS: '1', LISTEN_FDNAMES: 'ferry' }, [3]],
  [{ LISTEN_PID: '7', LISTEN_FDS: '3', LISTEN_FDNAMES: 'main.socket:ferry:ferry' }, [4, 5]],
  [{ LISTEN_PID: '7', LISTEN_FDS: '1', LISTEN_FDNAMES: 'stored:ferry' }, []],
  [{ LISTEN_PID: '7', LISTEN_FDS: 'x', LISTEN_FDNAMES: 'ferry' }, []],
  [{ LISTEN_PID: '8', LISTEN_FDS: '1', LISTEN_FDNAMES: 'ferry' }, []],
])('the environment %o names the descriptors %o', (environment, fds) => {
  expect(storedFds(environment, 7)).toEqual(fds);
});
