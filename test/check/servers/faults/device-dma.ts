import { loadNative } from '../../../../src/native/index.ts';
import type { Passing } from '../fault-proxy.ts';
import {
  acceptsWith,
  answers,
  at,
  both,
  custom,
  named,
  rebuilt,
  refuses,
  set,
  u32At,
  u64At,
} from './fault.ts';

const native = loadNative();
const SIZE = 0x40_0000;
const [GET, SET] = [0x1_0000, 0x2_0000];
const START = at(16, { 4: SET | 6 });
const REPORT = at(16, { 4: GET | 8 });
/** iova, length and page size of a report. */
const asked = ({ payload }: Passing) => ({
  iova: u64At(payload, 8),
  length: u64At(payload, 16),
  size: u64At(payload, 24),
});
const reporting = (holds: (range: ReturnType<typeof asked>) => boolean) => (message: Passing) =>
  REPORT(message, nobody) && message.payload.length === 32 && holds(asked(message));
const nobody = null as never;
const withBit =
  (bit: number, value: boolean) =>
  (payload: Uint8Array): Uint8Array => {
    const byte = 32 + (bit >> 3);
    const mask = 1 << (bit & 7);
    payload[byte] = value ? (payload[byte] ?? 0) | mask : (payload[byte] ?? 0) & ~mask;
    return payload;
  };

/** Faults in the log of dirty pages. */
export const loggingFaults = named({
  'chooses an odd page size': answers(set({ 8: 3000 }))(
    both(START, ({ payload }) => u32At(payload, 8) === 4096 && payload.length === 24),
    'logging.start-stop',
  ),
  'logs in one page size': refuses(
    both(START, ({ payload }) => u32At(payload, 8) === 65_536),
    'logging.start-page-sizes',
  ),
  'reports large pages short': answers((payload) => payload.subarray(0, -8))(
    reporting(({ size }) => size === 0x20_0000n),
    'logging.report-page-sizes',
  ),
  'reports another range': answers(set({ 16: 4096 }))(
    reporting(({ size, length }) => size === 8192n && length === BigInt(SIZE)),
    'logging.report-echo',
  ),
  'sets bits behind the end': answers(withBit(5, true))(
    reporting(({ length }) => length === 12_288n),
    'logging.outside-bits',
  ),
  'reports whole maps': refuses(
    reporting(({ iova }) => iova === 0x100_1000n),
    'logging.any-range',
  ),
  'reports no memory without a descriptor': refuses(
    reporting(({ iova }) => iova === 0x400_0000n),
    'logging.no-fd',
  ),
  'reports what it did not log': custom(
    () => ({
      request: (message, link) => {
        if (START(message, link)) link.note('logging');
        const unlogged =
          link.noted('logging') === 0 && reporting(({ length }) => length === BigInt(SIZE))(message);
        return unlogged ? link.answer(message, new Uint8Array(32 + 128)) : 'pass';
      },
    }),
    'logging.off',
  ),
  'divides by 4097': acceptsWith(64)(
    reporting(({ size }) => size === 4097n),
    'logging.report-refused',
  ),
  'logs in pages of 4097 bytes': acceptsWith(24)(
    both(START, ({ payload }) => u32At(payload, 8) === 4097),
    'logging.start-refused',
  ),
  'reads ranges that are not there': acceptsWith(24)(
    both(START, ({ payload }) => payload.length === 8),
    'logging.cut-off',
  ),
  'cuts the bitmap of an unmap': answers((payload) => payload.subarray(0, 40))(
    at(3, { 4: 1, 16: SIZE }),
    'logging.unmap-bitmap',
  ),
});

/** Faults that show when a device does DMA. */
export const deviceDmaFaults = named(
  {
    'loses bits behind page 255': answers(withBit(256, false))(
      reporting(({ size }) => size === 4096n),
      'logging.dirty-bits',
    ),
    'reports the same pages again': answers(withBit(3, true))(
      reporting(({ size, length }) => size === 4096n && length === BigInt(SIZE)),
      'logging.clears',
    ),
    'writes other bytes': custom(
      () => ({
        command: (message) => {
          if (message.command !== 12) return 'pass';
          const payload = new Uint8Array(message.payload);
          payload[16] = (payload[16] ?? 0) ^ 1;
          return rebuilt(message, payload);
        },
      }),
      'dma-messages.copy',
    ),
    'asks for more than its client has room for': custom(
      () => ({
        command: (message) =>
          u32At(message.payload, 8) === 256 && message.command === 11
            ? rebuilt(message, set({ 8: 512 })(new Uint8Array(message.payload)))
            : 'pass',
      }),
      'dma-messages.limit',
    ),
    'gives up on a client that refuses': custom(
      () => ({
        request: ({ flags }, link) => {
          if ((flags & 0x21) !== 0x21) return 'pass';
          return link.hangUp();
        },
      }),
      'dma-messages.refused',
    ),
    'waits for its DMA before it answers': custom(
      () => ({
        command: (_, link) => {
          link.note('waits', 1);
          return 'pass';
        },
        request: ({ flags, command }, link) => {
          if ((flags & 1) !== 0) link.note('waits', 0);
          return link.noted('waits') > 0 && command === 9 ? 'drop' : 'pass';
        },
      }),
      'dma-messages.interleaved',
    ),
    'goes on with DMA after an unmap': custom(
      () => ({
        request: (message, link) => {
          if (message.command === 2) link.note('fds', message.fds.length);
          const kept =
            message.command === 3 && link.noted('fds') === 0 && u32At(message.payload, 16) === 0x4000;
          return kept ? link.answer(message, message.payload) : 'pass';
        },
      }),
      'dma-messages.after-unmap',
    ),
    'believes the length of a reply': custom(
      () => ({
        request: ({ flags, payload }, link) =>
          (flags & 0xf) === 1 && payload.length > 4096 ? link.proxy.crash() : 'pass',
      }),
      'dma-messages.lying-client',
    ),
    'crashes when a client leaves its DMA': custom(
      () => ({
        command: (_, link) => {
          link.count('asked');
          return 'pass';
        },
        request: ({ flags }, link) => {
          if ((flags & 0xf) === 1) link.count('answered');
          return 'pass';
        },
        left: (link) => void (link.noted('asked') > link.noted('answered') ? link.proxy.crash() : null),
      }),
      'dma-messages.client-leaves',
    ),
    'maps other memory': custom(
      () => ({
        request: ({ command, payload, bytes, fds }, link) => {
          if (command !== 2 || fds.length === 0 || u32At(payload, 24) !== 0x4000) return 'pass';
          const other = native.memfd('other', 0x4000, false);
          link.passWith(bytes, [other]);
          native.close(other);
          return 'drop';
        },
      }),
      'dma.shared-copy',
    ),
    'writes to what was unmapped': custom(
      () => ({
        request: (message, link) => {
          if (message.command === 2) link.note('fds', message.fds.length);
          const kept =
            message.command === 3 && link.noted('fds') > 0 && u32At(message.payload, 16) === 0x4000;
          return kept ? link.answer(message, message.payload) : 'pass';
        },
      }),
      'dma.shared-unmapped',
    ),
    'writes to what is mapped for reading': custom(
      () => ({
        request: ({ command, payload, fds, bytes }) => {
          if (command !== 2 || fds.length === 0 || u32At(payload, 4) !== 1) return 'pass';
          const changed = new Uint8Array(bytes);
          changed[16 + 4] = 3;
          return changed;
        },
      }),
      'dma.read-only',
    ),
  },
  'edu',
);
