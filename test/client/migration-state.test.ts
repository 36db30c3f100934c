import { afterEach, describe, expect, it } from 'vitest';
import { MigrationStateError } from '../../src/client/index.ts';
import { Errno } from '../../src/errors/index.ts';
import { MigrationState } from '../../src/states/index.ts';
import { fields } from '../helpers/raw-client.ts';
import { Cleanup, connectFake, FERRY_JSON } from './fake-server.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const GET_STATE = 0x1_0002;
const SET_STATE = 0x2_0002;
const { STOP_COPY, STOP } = MigrationState;

describe('the migration state', () => {
  it('is set with a request that names no fd', async () => {
    const { client, server } = await connectFake(cleanup);
    const result = client.setMigrationState(STOP_COPY);
    const request = await server.serve(fields(16, SET_STATE, 3, -1));
    expect(Buffer.from(request.payload)).toEqual(fields(16, SET_STATE, 3, -1));
    await result;
  });

  it.each([
    ['ERR_STATE_CHANGE', Errno.EINVAL],
    ['ERR_STATE_CHANGE', Errno.EIO],
    ['ERR_SESSION_ABORTED', Errno.ENODEV],
    ['ERR_SESSION_BUSY', Errno.EBUSY],
  ])('is read back when it could not be set: %s for errno %i', async (code, errno) => {
    const { client, server } = await connectFake(cleanup);
    const result = client.setMigrationState(STOP_COPY).catch((error: unknown) => error);
    server.refuse(await server.next(), errno);
    const second = await server.serve(fields(16, GET_STATE, STOP, 0));
    expect(Buffer.from(second.payload)).toEqual(fields(16, GET_STATE));
    const error = await result;
    expect(error).toBeInstanceOf(MigrationStateError);
    expect(error).toMatchObject({ code, errno, requested: STOP_COPY, reached: STOP });
    expect(error).toMatchObject({ message: expect.stringContaining('it is in STOP') });
    expect(error).toMatchObject({ cause: { errno, command: 16 } });
  });

  it('may be one that this version does not know, where it could not be set', async () => {
    const { client, server } = await connectFake(cleanup);
    const result = client.setMigrationState(STOP_COPY).catch((error: unknown) => error);
    server.refuse(await server.next(), Errno.EIO);
    await server.serve(fields(16, GET_STATE, 42, 0));
    expect(await result).toMatchObject({ reached: 42, message: expect.stringContaining('unknown state 42') });
  });

  it('is unknown when it can be neither set nor read', async () => {
    const { client, server } = await connectFake(cleanup);
    const result = client.setMigrationState(STOP_COPY).catch((error: unknown) => error);
    server.refuse(await server.next(), Errno.EIO);
    server.refuse(await server.next(), Errno.EIO);
    expect(await result).toMatchObject({ reached: null, message: expect.stringContaining('unknown') });
  });

  it('is not asked for when the connection is what failed', async () => {
    const { client, server } = await connectFake(cleanup, FERRY_JSON, { timeoutMs: 40 });
    await expect(client.setMigrationState(STOP_COPY)).rejects.toMatchObject({ code: 'ERR_TIMEOUT' });
    await server.next();
    expect(await server.raw.receives(() => true, 10)).toBe(false);
  });

  it.each([
    ['another state', fields(16, SET_STATE, STOP, -1)],
    ['another feature', fields(16, 0x2_0007, 3, -1)],
    ['another method', fields(16, GET_STATE, 3, -1)],
  ])('is not believed to be set when the answer names %s', async (_, answer) => {
    const { client, server } = await connectFake(cleanup);
    const result = client.setMigrationState(STOP_COPY);
    await Promise.all([
      expect(result).rejects.toMatchObject({ code: 'ERR_PROTOCOL_MALFORMED' }),
      server.serve(answer),
    ]);
  });

  it.each([Errno.ENOTTY, Errno.EINVAL, Errno.EOPNOTSUPP, Errno.ENOSYS])(
    'has no flags and no size on a device that answers errno %i',
    async (errno) => {
      const { client, server } = await connectFake(cleanup);
      const flags = client.migrationFlags();
      server.refuse(await server.next(), errno);
      expect(await flags).toBeNull();
      const size = client.migrationDataSize();
      server.refuse(await server.next(), errno);
      expect(await size).toBeNull();
    },
  );

  it.each([
    [Errno.EIO, 'ERR_REMOTE'],
    [Errno.EBUSY, 'ERR_SESSION_BUSY'],
    [Errno.ENODEV, 'ERR_SESSION_ABORTED'],
  ])('is no missing feature when the answer is errno %i', async (errno, code) => {
    const { client, server } = await connectFake(cleanup);
    const flags = client.migrationFlags();
    const caught = expect(flags).rejects.toMatchObject({ code, errno });
    server.refuse(await server.next(), errno);
    await caught;
    const size = client.migrationDataSize();
    const sizeCaught = expect(size).rejects.toMatchObject({ code, errno });
    server.refuse(await server.next(), errno);
    await sizeCaught;
  });
});
