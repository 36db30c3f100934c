import { afterEach, describe, expect, it } from 'vitest';
import { V1Device } from '../../src/client/index.ts';
import { Errno } from '../../src/errors/index.ts';
import { V1State } from '../../src/states/index.ts';
import { Cleanup, connectFake, LIBVFIO_USER_JSON, memfd, native } from './fake-server.ts';
import { connectV1, mappable, V1Fake } from './v1-fake.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

type Settings = Partial<Pick<V1Fake, 'reserved' | 'takes' | 'pieces' | 'lies' | 'size' | 'type'>>;

/** A client of a fake that is as the test wants it. */
async function open(settings: Settings | ((fake: V1Fake) => void) = {}, options = {}) {
  const fake = new V1Fake();
  if (typeof settings === 'function') settings(fake);
  else Object.assign(fake, settings);
  const client = await connectV1(cleanup, fake);
  const device = await V1Device.open(client, options);
  if (device === null) throw new Error('there is no migration region');
  fake.log.length = 0;
  return { fake, client, device };
}

const bytes = (length: number, seed = 1): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => (i * seed) % 251);

/** The next piece, copied. */
async function pieceOf(device: V1Device): Promise<Buffer> {
  let piece = Buffer.alloc(0);
  await device.readPiece((view) => {
    piece = Buffer.from(view);
  });
  return piece;
}

describe('the migration region', () => {
  it('is found by its type', async () => {
    const { device } = await open();
    expect(device.region).toMatchObject({ index: 9, kind: { type: 3, subtype: 1 } });
    expect([device.room, device.mapped]).toEqual([4096 + 8192 - 32, false]);
  });

  it.each([
    { name: 'of another type', settings: { type: [2, 1] } },
    { name: 'of another subtype', settings: { type: [3, 2] } },
    { name: 'without room for data', settings: { size: 32n } },
  ])('is none when it is $name', async ({ settings }) => {
    const fake = Object.assign(new V1Fake(), settings);
    expect(await V1Device.open(await connectV1(cleanup, fake))).toBe(null);
  });

  it('is looked for in no more than 256 regions, also where a server refuses to tell', async () => {
    const { client, server } = await connectFake(cleanup, LIBVFIO_USER_JSON);
    const opening = V1Device.open(client);
    const info = await server.next();
    server.answer(info, Buffer.from(Uint32Array.of(16, 3, 0xffff_ffff, 5).buffer));
    for (let index = 9; index < 256; index += 1) server.refuse(await server.next(), Errno.EINVAL);
    expect(await opening).toBe(null);
  });
});

describe('device_state', () => {
  it('is written with its reserved bits as they were', async () => {
    const { fake, device } = await open({ reserved: 0xf000_0008 });
    await device.setState(V1State.PRE_COPY);
    expect(fake.log).toEqual(['read device_state', 'write device_state 0xf000000b']);
    expect(await device.state()).toBe(0xf000_000b);
  });

  it('is read again after a failure, which says where the device is', async () => {
    const { fake, device } = await open({ takes: () => false });
    await expect(device.setState(V1State.RESUMING)).rejects.toMatchObject({
      code: 'ERR_V1_STATE',
      errno: Errno.EINVAL,
      requested: 0b100,
      reached: 0b001,
    });
    expect(fake.log.at(-1)).toBe('read device_state');
  });

  it.each([
    [Errno.EBUSY, 'ERR_SESSION_BUSY'],
    [Errno.ENODEV, 'ERR_SESSION_ABORTED'],
    [Errno.EIO, 'ERR_V1_STATE'],
  ])('that is refused with errno %i is %s', async (errno, code) => {
    const { device } = await open((it) => {
      it.takes = () => false;
      it.errno = errno;
    });
    await expect(device.setState(V1State.STOP)).rejects.toMatchObject({ code, errno });
  });
});

describe('a transaction of the saving sequence', () => {
  it('reads place, size and data, in this order', async () => {
    const { fake, device } = await open({ pieces: [bytes(5000), bytes(7, 3)] });
    expect(await device.pendingBytes()).toBe(5007n);
    expect(await pieceOf(device)).toEqual(Buffer.from(bytes(5000)));
    expect(await device.pendingBytes()).toBe(7n);
    expect(await pieceOf(device)).toEqual(Buffer.from(bytes(7, 3)));
    expect(await device.pendingBytes()).toBe(0n);
    expect(fake.log).toEqual([
      ...['read pending_bytes', 'read data_offset', 'read data_size', 'read 5000 bytes'],
      ...['read pending_bytes', 'read data_offset', 'read data_size', 'read 7 bytes', 'read pending_bytes'],
    ]);
  });

  it('takes the data from the mapping if there is one', async () => {
    const { fake, device } = await open((it) => {
      mappable(cleanup, it);
      it.pieces = [bytes(5000)];
    });
    expect(device.mapped).toBe(true);
    await device.pendingBytes();
    expect(await pieceOf(device)).toEqual(Buffer.from(bytes(5000)));
    expect(fake.log).toEqual(['read pending_bytes', 'read data_offset', 'read data_size']);
  });

  it('does without the mapping when it is told to, or when the memory is not what was said', async () => {
    const told = await open((it) => mappable(cleanup, it), { map: false });
    expect(told.device.mapped).toBe(false);
    const short = await open((it) => {
      it.fd = memfd(4096);
      cleanup.add(() => native.close(it.fd ?? -1));
    });
    expect(short.device.mapped).toBe(false);
  });

  it('of no bytes reads none', async () => {
    const { fake, device } = await open({ lies: { pending: 1n, size: 0n } });
    expect(await device.readPiece(() => expect.unreachable())).toBe(0);
    expect(fake.log).toEqual(['read data_offset', 'read data_size']);
  });

  it.each([
    { offset: 0n },
    { offset: 31n },
    { offset: 4096n + 8192n },
    { offset: 2n ** 64n - 1n },
    { size: 8193n },
    { size: 2n ** 64n - 1n },
    { offset: 4096n + 8191n, size: 2n },
  ])('with %o is refused before anything is read or allocated', async (lies) => {
    const { fake, device } = await open((it) => {
      it.pieces = [bytes(10)];
      it.lies = lies;
    });
    await expect(device.readPiece(() => expect.unreachable())).rejects.toMatchObject({ code: 'ERR_V1_DATA' });
    expect(fake.log.some((entry) => entry.endsWith('bytes'))).toBe(false);
  });

  it('is bounded, however large the region claims to be', async () => {
    const { device } = await open((it) => {
      it.size = 2n ** 60n;
      it.lies = { size: 2n ** 50n };
    });
    await expect(device.readPiece(() => expect.unreachable())).rejects.toMatchObject({ code: 'ERR_V1_DATA' });
    const small = await open({ pieces: [bytes(101)] }, { maxPiece: 100 });
    await expect(small.device.readPiece(() => expect.unreachable())).rejects.toThrow('100');
  });
});

describe('a transaction of the resuming sequence', () => {
  it('reads the place, writes the data, then their size', async () => {
    const { fake, device } = await open();
    await device.writePiece(bytes(5000));
    expect(fake.log).toEqual(['read data_offset', 'write 5000 bytes', 'write data_size 5000']);
    expect(fake.received).toEqual([Buffer.from(bytes(5000))]);
  });

  it('puts the data into the mapping if there is one', async () => {
    const { fake, device } = await open((it) => mappable(cleanup, it));
    await device.writePiece(bytes(6000, 5));
    expect(fake.log).toEqual(['read data_offset', 'write data_size 6000']);
    expect(fake.received).toEqual([Buffer.from(bytes(6000, 5))]);
  });

  it('is refused when the piece does not fit, before anything is written', async () => {
    const { fake, device } = await open();
    await expect(device.writePiece(bytes(8193))).rejects.toMatchObject({
      code: 'ERR_V1_PIECE',
      errno: Errno.EFBIG,
    });
    expect(fake.log).toEqual(['read data_offset']);
    expect(await device.roomForPiece()).toBe(8192);
  });

  it('is refused when it would go into the registers', async () => {
    const { fake, device } = await open({ lies: { offset: 24n } });
    await expect(device.writePiece(bytes(8))).rejects.toMatchObject({ code: 'ERR_V1_DATA' });
    expect(fake.log).toEqual(['read data_offset']);
  });
});
