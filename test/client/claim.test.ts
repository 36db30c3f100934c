import { afterEach, describe, expect, it } from 'vitest';
import { ClaimError, ClientError, RemoteError } from '../../src/client/index.ts';
import { Errno } from '../../src/errors/index.ts';
import { claimId, claimName } from '../../src/protocol/index.ts';
import { MigrationState } from '../../src/states/index.ts';
import { fields } from '../helpers/raw-client.ts';
import { Cleanup, connectFake, FERRY_JSON } from './fake-server.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const CLAIM = 0xfe03;
const JSON_WITH_CLAIMS = FERRY_JSON.replace('"inspect":true', '"inspect":true,"claim":true');
const token = Uint8Array.from({ length: 16 }, (_, i) => i + 1);
const since = Date.UTC(2026, 0, 2, 3, 4, 5);

/** A reply: flags 1 claimed, 2 yours, 4 retired. */
const status = (flags: number, epoch = 3n, sinceMs = BigInt(since)) =>
  fields(56, flags, MigrationState.STOP_COPY, 0, epoch, 0xabcn, sinceMs, 77n, 2n);
const connected = () => connectFake(cleanup, JSON_WITH_CLAIMS);

describe('a claim', () => {
  it.each([
    ['claim', 1],
    ['retire', 2],
    ['release', 3],
  ] as const)(
    '%s names the token and the epoch, and tells whose the device is',
    async (method, operation) => {
      const { client, server } = await connected();
      const result = client[method](token, 3n);
      const request = await server.serve(status(7));
      expect(request.command).toBe(CLAIM);
      expect(Buffer.from(request.payload)).toEqual(fields(56, 0, operation, 0, 3n, token));
      expect(await result).toEqual({
        ...{ claimed: true, mine: true, retired: true, epoch: 3n, id: 0xabcn, sinceMs: since },
        ...{ state: MigrationState.STOP_COPY, instance: 77n, resets: 2n },
      });
    },
  );

  it('is asked for without a token, and released by force without one', async () => {
    const { client, server } = await connected();
    const asked = client.claimStatus();
    expect(Buffer.from((await server.serve(status(1))).payload)).toEqual(
      fields(56, 0, 0, 0, 0n, Buffer.alloc(16)),
    );
    expect(await asked).toMatchObject({ claimed: true, mine: false, retired: false });
    const released = client.forceRelease(4n);
    expect(Buffer.from((await server.serve(status(0))).payload)).toEqual(
      fields(56, 1, 3, 0, 4n, Buffer.alloc(16)),
    );
    expect(await released).toMatchObject({ claimed: false });
  });

  it.each([
    ['ERR_CLAIMED', Errno.EBUSY, 'ferry recover'],
    ['ERR_CLAIM_STALE', Errno.ESTALE, 'Do nothing more to this device'],
    ['ERR_CLAIM_STATE', Errno.EINVAL, 'Stop the device first'],
    ['ERR_CLAIM_REFUSED', Errno.EPERM, 'ferry inspect'],
  ])('that is refused is a %s with whose the device is', async (code, errno, next) => {
    const { client, server } = await connected();
    const result = client.claim(token, 1n).catch((error: unknown) => error);
    server.refuse(await server.next(), errno);
    await server.serve(status(5));
    const error = await result;
    expect(error).toBeInstanceOf(ClaimError);
    expect(error).toMatchObject({
      ...{ code, errno, status: { epoch: 3n, retired: true } },
      context: { claim: claimName(0xabcn), epoch: 3n, retired: true },
    });
    const message = error instanceof Error ? error.message : '';
    expect(message).toContain(
      'belongs to migration 0000000000000abc since 2026-01-02T03:04:05.000Z (epoch 3',
    );
    expect(message).toContain('is in STOP_COPY');
    expect(message).toContain(next);
  });

  it('that is refused where nobody has the device says so, and where nobody tells, too', async () => {
    const { client, server } = await connected();
    const first = client.retire(token, 1n).catch((error: unknown) => error);
    server.refuse(await server.next(), Errno.EINVAL);
    await server.serve(status(0));
    expect(await first).toMatchObject({ message: expect.stringContaining('No migration has claimed') });
    const second = client.retire(token, 1n).catch((error: unknown) => error);
    server.refuse(await server.next(), Errno.EBUSY);
    server.refuse(await server.next(), Errno.EBUSY);
    expect(await second).toMatchObject({ code: 'ERR_CLAIMED', status: null });
  });

  it('survives a server that names a moment that no calendar has', async () => {
    const { client, server } = await connected();
    const result = client.claim(token, 1n).catch((error: unknown) => error);
    server.refuse(await server.next(), Errno.EBUSY);
    await server.serve(status(1, 1n, (1n << 64n) - 1n));
    expect(await result).toMatchObject({ message: expect.stringContaining('since an unknown time') });
  });

  it('needs a server that has claims, and a token of 16 bytes', async () => {
    const { client } = await connectFake(cleanup, FERRY_JSON);
    expect(await client.claimStatus()).toBeNull();
    await expect(client.claim(token, 1n)).rejects.toBeInstanceOf(ClientError);
    await expect(client.forceRelease(1n)).rejects.toMatchObject({ code: 'ERR_NOT_NEGOTIATED' });
    const { client: other } = await connected();
    await expect(other.claim(token.subarray(1), 1n)).rejects.toThrow('16 bytes');
  });

  it('is known by the id that its token has', () => {
    expect(claimId(token)).toBe(claimId(Uint8Array.from(token)));
  });
});

describe('what a server says of a device that a migration has claimed', () => {
  it.each([
    ['ERR_CLAIM_STALE', Errno.ESTALE, 'taken over'],
    ['ERR_RETIRED', Errno.EKEYREVOKED, 'must not run'],
  ])('is a %s when the state is set', async (code, errno, why) => {
    const { client, server } = await connected();
    const result = client.setMigrationState(MigrationState.RUNNING).catch((error: unknown) => error);
    server.refuse(await server.next(), errno);
    await server.serve(fields(16, 0x1_0002, MigrationState.STOP_COPY, 0));
    expect(await result).toMatchObject({ code, errno, message: expect.stringContaining(why) });
  });

  it.each([
    ['ERR_CLAIM_STALE', Errno.ESTALE],
    ['ERR_RETIRED', Errno.EKEYREVOKED],
  ])('is a %s when it is to be reset, and no other way of resetting it is tried', async (code, errno) => {
    const { client, server } = await connected();
    const result = client.reset().catch((error: unknown) => error);
    server.refuse(await server.next(), errno);
    const error = await result;
    expect(error).toBeInstanceOf(RemoteError);
    expect(error).toMatchObject({ code, errno });
  });
});
