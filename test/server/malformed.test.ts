import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Errno } from '../../src/errors/index.ts';
import { fields, type RawClient, rawMessage, versionPayload } from '../helpers/raw-client.ts';
import { serveForTest } from '../helpers/served.ts';
import { TestDevice } from '../helpers/test-device.ts';

const { EINVAL, ENOENT, EEXIST, ENOTTY, EPERM, EMSGSIZE, E2BIG } = Errno;

const GET = 0x1_0000;
const SET = 0x2_0000;
const PROBE = 0x4_0000;

type Malformed = readonly [what: string, command: number, payload: Buffer, errno: number];

/** Everything that a client may get wrong in one message, with the errno it is due. */
const onMain: readonly Malformed[] = [
  ['VERSION said twice', 1, versionPayload(0, 0), EINVAL],
  ['DMA_MAP without payload', 2, fields(), EINVAL],
  ['DMA_MAP one byte short', 2, fields(32, 3, 0n, 0n, 0x1000n).subarray(0, 31), EINVAL],
  ['DMA_MAP with a small argsz', 2, fields(31, 3, 0n, 0n, 0x1000n), EINVAL],
  ['DMA_MAP with unknown flags', 2, fields(32, 0x13, 0n, 0n, 0x1000n), EINVAL],
  ['DMA_MAP without protection', 2, fields(32, 0, 0n, 0n, 0x1000n), EINVAL],
  ['DMA_MAP by mmap without an fd', 2, fields(32, 7, 0n, 0n, 0x1000n), EINVAL],
  ['DMA_MAP by file I/O without an fd', 2, fields(32, 11, 0n, 0n, 0x1000n), EINVAL],
  ['DMA_MAP by mmap and file I/O', 2, fields(32, 15, 0n, 0n, 0x1000n), EINVAL],
  ['DMA_MAP of nothing', 2, fields(32, 3, 0n, 0n, 0n), EINVAL],
  ['DMA_MAP over an existing map', 2, fields(32, 3, 0n, 0x10000n, 0x1000n), EEXIST],
  ['DMA_MAP overlapping an existing map', 2, fields(32, 3, 0n, 0x10800n, 0x1000n), EEXIST],
  ['DMA_UNMAP of what is not mapped', 3, fields(24, 0, 0x90000n, 0x1000n), ENOENT],
  ['DMA_UNMAP of part of a map', 3, fields(24, 0, 0x10000n, 0x800n), ENOENT],
  ['DMA_UNMAP short', 3, fields(24, 0, 0x10000n), EINVAL],
  ['DMA_UNMAP with unknown flags', 3, fields(24, 4, 0x10000n, 0x1000n), EINVAL],
  ['DMA_UNMAP of all with an address', 3, fields(24, 2, 0x10000n, 0x1000n), EINVAL],
  ['DMA_UNMAP of all with a bitmap', 3, fields(40, 3, 0n, 0n, 0x1000n, 8n), EINVAL],
  ['DMA_UNMAP with a bitmap cut off', 3, fields(40, 1, 0x10000n, 0x1000n), EINVAL],
  ['DMA_UNMAP with a bitmap while logging is off', 3, fields(48, 1, 0x10000n, 0x1000n, 0x1000n, 8n), EINVAL],
  ['DEVICE_GET_INFO without payload', 4, fields(), EINVAL],
  ['DEVICE_GET_INFO with a small argsz', 4, fields(15, 0, 0, 0), EINVAL],
  ['DEVICE_GET_REGION_INFO short', 5, fields(32, 0, 0), EINVAL],
  ['DEVICE_GET_REGION_INFO with a small argsz', 5, fields(31, 0, 0, 0, 0n, 0n), EINVAL],
  ['DEVICE_GET_REGION_INFO of region 9', 5, fields(32, 0, 9, 0, 0n, 0n), EINVAL],
  ['DEVICE_GET_REGION_IO_FDS short', 6, fields(16, 0, 0), EINVAL],
  ['DEVICE_GET_REGION_IO_FDS with flags', 6, fields(16, 1, 0, 0), EINVAL],
  ['DEVICE_GET_REGION_IO_FDS with a count', 6, fields(16, 0, 0, 1), EINVAL],
  ['DEVICE_GET_REGION_IO_FDS of region 9', 6, fields(16, 0, 9, 0), EINVAL],
  ['DEVICE_GET_IRQ_INFO short', 7, fields(16, 0, 0), EINVAL],
  ['DEVICE_GET_IRQ_INFO of index 5', 7, fields(16, 0, 5, 0), EINVAL],
  ['DEVICE_SET_IRQS short', 8, fields(20, 0x24, 0, 0), EINVAL],
  ['DEVICE_SET_IRQS with a small argsz', 8, fields(19, 0x21, 0, 0, 0), EINVAL],
  ['DEVICE_SET_IRQS with two kinds of data', 8, fields(20, 0x23, 0, 0, 1), EINVAL],
  ['DEVICE_SET_IRQS with two actions', 8, fields(20, 0x31, 0, 0, 1), EINVAL],
  ['DEVICE_SET_IRQS without action', 8, fields(20, 1, 0, 0, 1), EINVAL],
  ['DEVICE_SET_IRQS with unknown flags', 8, fields(20, 0x61, 0, 0, 1), EINVAL],
  ['DEVICE_SET_IRQS of index 5', 8, fields(20, 0x21, 5, 0, 1), EINVAL],
  ['DEVICE_SET_IRQS beyond the vectors', 8, fields(20, 0x21, 2, 3, 2), EINVAL],
  ['DEVICE_SET_IRQS from beyond the vectors', 8, fields(20, 0x21, 2, 4, 1), EINVAL],
  ['DEVICE_SET_IRQS whose range overflows', 8, fields(20, 0x21, 2, 0xffffffff, 2), EINVAL],
  ['DEVICE_SET_IRQS with count 0 and a start', 8, fields(20, 0x21, 2, 1, 0), EINVAL],
  ['DEVICE_SET_IRQS with count 0 and eventfds', 8, fields(20, 0x24, 2, 0, 0), EINVAL],
  ['DEVICE_SET_IRQS BOOL without data', 8, fields(20, 0x22, 2, 0, 2), EINVAL],
  ['DEVICE_SET_IRQS BOOL with too much data', 8, fields(23, 0x22, 2, 0, 2, Buffer.from([1, 1, 1])), EINVAL],
  ['DEVICE_SET_IRQS masking the error interrupt', 8, fields(20, 0x09, 3, 0, 1), EINVAL],
  ['REGION_READ short', 9, fields(0n, 0), EINVAL],
  ['REGION_READ with data', 9, fields(0n, 0, 4, 0), EINVAL],
  ['REGION_READ of region 9', 9, fields(0n, 9, 4), EINVAL],
  ['REGION_READ of an absent region', 9, fields(0n, 5, 4), EINVAL],
  ['REGION_READ over the end', 9, fields(0xffen, 0, 4), EINVAL],
  ['REGION_READ beyond the end', 9, fields(0x1000n, 0, 1), EINVAL],
  ['REGION_READ at 2^64 - 1', 9, fields(0xffffffffffffffffn, 0, 4), EINVAL],
  ['REGION_READ at 2^53', 9, fields(1n << 53n, 0, 4), EINVAL],
  ['REGION_READ of more than max_data_xfer_size', 9, fields(0n, 2, 1024 * 1024 + 1), EINVAL],
  ['REGION_READ of 4 GiB', 9, fields(0n, 2, 0xffffffff), EINVAL],
  ['REGION_WRITE short', 10, fields(0n, 0), EINVAL],
  ['REGION_WRITE with less data than it says', 10, fields(4n, 0, 4, Buffer.from([1, 2, 3])), EINVAL],
  ['REGION_WRITE with more data than it says', 10, fields(4n, 0, 2, Buffer.from([1, 2, 3])), EINVAL],
  ['REGION_WRITE of region 9', 10, fields(0n, 9, 4, 0), EINVAL],
  ['REGION_WRITE over the end', 10, fields(0xffdn, 0, 4, 0), EINVAL],
  ["DMA_READ, which is the server's to send", 11, fields(0n, 4n), EINVAL],
  ["DMA_WRITE, which is the server's to send", 12, fields(0n, 4n, 0), EINVAL],
  ['the withdrawn command 14', 14, fields(), EINVAL],
  ['REGION_WRITE_MULTI short', 15, fields(2n, 4n, 0, 4, 0n), EINVAL],
  ['REGION_WRITE_MULTI of 2^60 writes', 15, fields(1n << 60n), EINVAL],
  ['REGION_WRITE_MULTI with a write of 9 bytes', 15, fields(1n, 4n, 0, 9, 0n), EINVAL],
  ['REGION_WRITE_MULTI over the end', 15, fields(1n, 0xfffn, 0, 4, 0n), EINVAL],
  ['DEVICE_FEATURE short', 16, fields(8), EINVAL],
  ['DEVICE_FEATURE with a small argsz', 16, fields(7, GET | 1), EINVAL],
  ['DEVICE_FEATURE with unknown bits', 16, fields(64, GET | (1 << 19) | 1), EINVAL],
  ['DEVICE_FEATURE with GET and SET', 16, fields(64, GET | SET | 1), EINVAL],
  ['DEVICE_FEATURE without a method', 16, fields(64, 1), EINVAL],
  ['DEVICE_FEATURE unknown', 16, fields(64, GET | 99), ENOTTY],
  ['DEVICE_FEATURE PROBE of an unknown one', 16, fields(64, PROBE | 3), ENOTTY],
  ['MIGRATION set', 16, fields(64, SET | 1, 7n), EINVAL],
  ['MIGRATION probed for SET', 16, fields(64, PROBE | SET | 1), EINVAL],
  ['MIGRATION with no room for the answer', 16, fields(12, GET | 1), EINVAL],
  ['MIG_DEVICE_STATE to ERROR', 16, fields(16, SET | 2, 0, 0xffffffff), EINVAL],
  ['MIG_DEVICE_STATE to state 8', 16, fields(16, SET | 2, 8, 0xffffffff), EINVAL],
  ['MIG_DEVICE_STATE cut off', 16, fields(16, SET | 2), EINVAL],
  ['MIG_DATA_SIZE set', 16, fields(64, SET | 9, 1n), EINVAL],
  ['DMA_LOGGING_START cut off', 16, fields(64, SET | 6, 4096n), EINVAL],
  ['DMA_LOGGING_START with page size 0', 16, fields(64, SET | 6, 0n, 0, 0), EINVAL],
  ['DMA_LOGGING_START with page size 4097', 16, fields(64, SET | 6, 4097n, 0, 0), EINVAL],
  ['DMA_LOGGING_START with missing ranges', 16, fields(64, SET | 6, 4096n, 2, 0, 0n, 4096n), EINVAL],
  ['DMA_LOGGING_START with 2^32 - 1 ranges', 16, fields(64, SET | 6, 4096n, 0xffffffff, 0), E2BIG],
  ['DMA_LOGGING_REPORT while logging is off', 16, fields(64, GET | 8, 0n, 4096n, 4096n), EINVAL],
  ['DMA_LOGGING_REPORT cut off', 16, fields(64, GET | 8, 0n), EINVAL],
  ['DMA_LOGGING_REPORT at page size 0', 16, fields(64, GET | 8, 0n, 4096n, 0n), EINVAL],
  ['MIG_DATA_READ short', 17, fields(8), EINVAL],
  ['MIG_DATA_READ with argsz too small for its size', 17, fields(8, 4), EINVAL],
  ['MIG_DATA_READ outside a saving session', 17, fields(12, 4), EINVAL],
  ['MIG_DATA_READ of 4 GiB', 17, fields(0xffffffff, 0xfffffff0), EINVAL],
  ['MIG_DATA_WRITE short', 18, fields(8), EINVAL],
  ['MIG_DATA_WRITE with less data than it says', 18, fields(12, 4, Buffer.from([1])), EINVAL],
  ['MIG_DATA_WRITE outside a resuming session', 18, fields(12, 4, 0), EINVAL],
  ['command 0', 0, fields(), EINVAL],
  ['command 65535', 65535, fields(), EINVAL],
  ['FERRY_PRECOPY_INFO without having agreed', 0xfe01, fields(24, 0), EINVAL],
  ['FERRY_INSPECT without having agreed', 0xfe02, fields(4096, 0), EINVAL],
];

const onControl: readonly Malformed[] = [
  ['DMA_MAP', 2, fields(32, 3, 0n, 0n, 0x1000n), EPERM],
  ['DMA_UNMAP', 3, fields(24, 2, 0n, 0n), EPERM],
  ['DEVICE_GET_REGION_IO_FDS', 6, fields(16, 0, 0, 0), EPERM],
  ['DEVICE_SET_IRQS', 8, fields(20, 0x21, 0, 0, 0), EPERM],
  ['REGION_READ of a BAR', 9, fields(0n, 0, 4), EPERM],
  ['REGION_WRITE of the configuration space', 10, fields(4n, 7, 2, Buffer.from([0, 0])), EPERM],
  ['REGION_WRITE_MULTI', 15, fields(0n), EPERM],
];

describe('a malformed message', () => {
  let served: ReturnType<typeof serveForTest>;
  let main: RawClient;

  beforeEach(async () => {
    served = serveForTest(new TestDevice());
    main = await served.main();
    expect((await main.request(2, fields(32, 3, 0n, 0x10000n, 0x1000n))).error).toBe(0);
  });

  afterEach(() => served.close());

  /** The connection still works, and a register still reads what it should. */
  async function expectUsable(client: RawClient): Promise<void> {
    const reply = await client.request(9, fields(0n, 7, 4));
    expect(Buffer.from(reply.payload).readUInt32LE(16)).toBe(0x10f01af4);
  }

  it.each(onMain)(
    '%s gets its errno in a bare header, and the connection goes on',
    async (_, command, payload, errno) => {
      const reply = await main.request(command, payload);
      expect(reply).toMatchObject({ flags: 0x21, error: errno, command });
      expect(reply.payload).toHaveLength(0);
      await expectUsable(main);
    },
  );

  it.each(onControl)('%s does not belong on the control socket', async (_, command, payload, errno) => {
    const control = await served.control();
    expect(await control.request(command, payload)).toMatchObject({ flags: 0x21, error: errno });
    await expectUsable(control);
  });

  it.each(onMain)('%s gets no reply at all when it was posted', async (_, command, payload) => {
    const id = main.post(command, payload, 0x10);
    expect(await main.receives((message) => message.id === id, 5)).toBe(false);
    await expectUsable(main);
  });

  it('with a size smaller than its header is answered EINVAL', async () => {
    const bytes = rawMessage(77, 4, Buffer.alloc(0));
    bytes.writeUInt32LE(15, 4);
    main.send(bytes);
    expect(await main.reply(77)).toMatchObject({ error: EINVAL });
    await expectUsable(main);
  });

  it('that is too long is answered EMSGSIZE and skipped', async () => {
    await main.stream(rawMessage(78, 10, Buffer.alloc(3 * 1024 * 1024)));
    expect(await main.reply(78)).toMatchObject({ error: EMSGSIZE });
    await expectUsable(main);
  });

  it('with a size that no message can have ends the connection', async () => {
    const bytes = rawMessage(79, 4, Buffer.alloc(16));
    bytes.writeUInt32LE(0xffff_fff0, 4);
    main.send(bytes);
    await main.waitClosed();
  });

  it('of a type that is neither command nor reply is answered EINVAL', async () => {
    main.send(rawMessage(80, 4, fields(16, 0, 0, 0), 2));
    expect(await main.next((message) => message.id === 80)).toMatchObject({ error: EINVAL });
    await expectUsable(main);
  });

  it('that replies to nothing is ignored', async () => {
    main.send(rawMessage(81, 11, fields(0n, 4n, 0), 1));
    await expectUsable(main);
    expect(served.reported.map(({ code }) => code)).toContain('ERR_FRAMING');
  });

  it('whose flags have bits that mean nothing is served', async () => {
    const id = main.post(4, fields(16, 0, 0, 0), 0xffff_ff00);
    expect(await main.reply(id)).toMatchObject({ error: 0 });
  });
});

describe('the first message', () => {
  let served: ReturnType<typeof serveForTest>;
  beforeEach(() => {
    served = serveForTest(new TestDevice());
  });
  afterEach(() => served.close());

  const wrong: readonly (readonly [string, number, Buffer])[] = [
    ['another command', 4, fields(16, 0, 0, 0)],
    ['an unknown command', 999, fields()],
    ['VERSION without payload', 1, fields()],
    ['VERSION cut off', 1, Buffer.from([0, 0, 0])],
    ['major version 1', 1, versionPayload(1, 0)],
    ['JSON without NUL', 1, versionPayload(0, 0).subarray(0, -1)],
    ['a NUL inside the JSON', 1, versionPayload(0, 0, '{"capabi\0lities":{}}')],
    ['an open brace', 1, versionPayload(0, 0, '{')],
    ['no JSON object', 1, versionPayload(0, 0, '[]')],
    ['capabilities that are a string', 1, versionPayload(0, 0, '{"capabilities":"23"}')],
    ['max_msg_fds that is a string', 1, versionPayload(0, 0, '{"capabilities":{"max_msg_fds":"foo"}}')],
    ['max_msg_fds of -1', 1, versionPayload(0, 0, '{"capabilities":{"max_msg_fds":-1}}')],
    ['max_msg_fds of 1025', 1, versionPayload(0, 0, '{"capabilities":{"max_msg_fds":1025}}')],
    ['max_data_xfer_size of 0', 1, versionPayload(0, 0, '{"capabilities":{"max_data_xfer_size":0}}')],
    ['max_data_xfer_size of -1', 1, versionPayload(0, 0, '{"capabilities":{"max_data_xfer_size":-1}}')],
    ['a fraction', 1, versionPayload(0, 0, '{"capabilities":{"max_dma_maps":1.5}}')],
    ['migration that is a string', 1, versionPayload(0, 0, '{"capabilities":{"migration":"23"}}')],
    [
      'a page size that is no power of two',
      1,
      versionPayload(0, 0, '{"capabilities":{"migration":{"pgsize":4095}}}'),
    ],
    [
      'nesting without end',
      1,
      versionPayload(0, 0, `{"capabilities":${'['.repeat(5000)}${']'.repeat(5000)}}`),
    ],
    ['invalid UTF-8', 1, Buffer.concat([fields(0), Buffer.from([0x7b, 0xff, 0x7d, 0])])],
  ];

  it.each(wrong)('%s is refused with EINVAL and the connection ends', async (_, command, payload) => {
    const client = served.connect();
    expect(await client.request(command, payload)).toMatchObject({ error: EINVAL, flags: 0x21 });
    await client.waitClosed();
    await expect(served.main()).resolves.toBeDefined();
  });

  it('without JSON means the defaults', async () => {
    const client = served.connect();
    expect(await client.request(1, versionPayload(0, 0, null))).toMatchObject({ error: 0 });
  });
});
