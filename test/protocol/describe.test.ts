import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { Errno } from '../../src/errors/index.ts';
import { Command, describeMessage, type Header, HeaderFlag, messageOf } from '../../src/protocol/index.ts';
import { hex } from './support.ts';

const recording = readFileSync(new URL('../fixtures/qemu-attach.txt', import.meta.url), 'utf8');

/** One recorded line, taken apart: the header's fields, the number of descriptors, and the named fields. */
interface Recorded {
  readonly line: string;
  readonly header: Header;
  readonly fds: number;
  readonly fields: ReadonlyMap<string, string>;
  readonly text: string;
}

const LINE = /^\S+ \S+ id=(\d+) (\w+) size=(\d+) flags=(0x\w+) err=(\d+) fds=\[(.*?)\] ?(.*)$/;

function recorded(line: string): Recorded {
  const [, id = '', name = '', size = '', flags = '', error = '', fds = '', text = ''] =
    LINE.exec(line) ?? [];
  const command = new Map<string, number>(Object.entries(Command)).get(name) ?? 0;
  const header = {
    messageId: Number(id),
    command,
    size: Number(size),
    flags: Number(flags),
    error: Number(error),
  };
  const pairs = [...text.matchAll(/(\w+)=(\w*)/g)].map(([, key = '', value = '']) => [key, value] as const);
  return { line, header, fds: fds === '' ? 0 : fds.split(',').length, fields: new Map(pairs), text };
}

const lines = recording
  .split('\n')
  .filter((line) => line !== '' && !line.startsWith('#'))
  .map(recorded);

/** How the recorder calls the fields of the payloads, in the order of the wire, and how wide they are. */
const layouts: Readonly<
  Record<string, readonly (readonly [recordedName: string, bytes: 4 | 8, ourName: string])[]>
> = {
  DMA_MAP: [
    ['argsz', 4, 'argsz'],
    ['flags', 4, 'flags'],
    ['offset', 8, 'offset'],
    ['iova', 8, 'address'],
    ['size', 8, 'size'],
  ],
  DMA_UNMAP: [
    ['argsz', 4, 'argsz'],
    ['flags', 4, 'flags'],
    ['iova', 8, 'address'],
    ['size', 8, 'size'],
  ],
  DEVICE_GET_INFO: [
    ['argsz', 4, 'argsz'],
    ['flags', 4, 'flags'],
    ['regions', 4, 'num_regions'],
    ['irqs', 4, 'num_irqs'],
  ],
  DEVICE_GET_REGION_INFO: [
    ['argsz', 4, 'argsz'],
    ['flags', 4, 'flags'],
    ['index', 4, 'index'],
    ['cap_off', 4, 'cap_offset'],
    ['size', 8, 'size'],
    ['offset', 8, 'offset'],
  ],
  DEVICE_GET_IRQ_INFO: [
    ['argsz', 4, 'argsz'],
    ['flags', 4, 'flags'],
    ['index', 4, 'index'],
    ['count', 4, 'count'],
  ],
  DEVICE_SET_IRQS: [
    ['argsz', 4, 'argsz'],
    ['flags', 4, 'flags'],
    ['index', 4, 'index'],
    ['start', 4, 'start'],
    ['count', 4, 'count'],
  ],
  REGION_READ: [
    ['off', 8, 'offset'],
    ['region', 4, 'region'],
    ['count', 4, 'count'],
  ],
  REGION_WRITE: [
    ['off', 8, 'offset'],
    ['region', 4, 'region'],
    ['count', 4, 'count'],
  ],
  DEVICE_RESET: [],
};

const names: Readonly<Record<string, readonly string[]>> = {
  DMA_MAP: ['READ', 'WRITE', 'MMAP', 'FILE_IO'],
  DMA_UNMAP: ['GET_DIRTY_BITMAP', 'ALL'],
  DEVICE_GET_INFO: ['RESET', 'PCI'],
  DEVICE_GET_REGION_INFO: ['READ', 'WRITE', 'MMAP', 'CAPS'],
  DEVICE_GET_IRQ_INFO: ['EVENTFD', 'MASKABLE', 'AUTOMASKED', 'NORESIZE'],
  DEVICE_SET_IRQS: [
    'DATA_NONE',
    'DATA_BOOL',
    'DATA_EVENTFD',
    'ACTION_MASK',
    'ACTION_UNMASK',
    'ACTION_TRIGGER',
  ],
};

const dataOf = ({ fields }: Recorded): Uint8Array => hex(fields.get('data') ?? '');

/** The payload as it was on the wire, made from the recorded fields without any of the code under test. */
function payloadOf(message: Recorded): Uint8Array {
  const bytes = Buffer.alloc(message.header.size - 16);
  const name = nameOf(message);
  if (name === 'VERSION') {
    Buffer.from(/b'(.*)\\x00'$/.exec(message.text)?.[1] ?? '').copy(bytes, 4);
    return bytes;
  }
  let at = 0;
  for (const [field, size] of bytes.length === 0 ? [] : (layouts[name] ?? [])) {
    const value = BigInt(message.fields.get(field) ?? Number.NaN);
    if (size === 8) bytes.writeBigUInt64LE(value, at);
    else bytes.writeUInt32LE(Number(value), at);
    at += size;
  }
  bytes.set(dataOf(message), at);
  return bytes;
}

const nameOf = ({ header }: Recorded): string => messageOf(header.command)?.name ?? '';

function flagText(name: string, value: number): string {
  const set = (names[name] ?? []).filter((_, bit) => (value & (1 << bit)) !== 0);
  return set.length === 0 ? '0' : set.join('|');
}

describe.each(lines.map((message) => ({ line: message.line.slice(0, 90), message })))(
  '$line',
  ({ message }) => {
    const name = nameOf(message);
    const line = describeMessage(message.header, payloadOf(message), message.fds);

    it('is shown with its name, direction, id and descriptors', () => {
      const direction = message.header.flags === 0 ? 'request' : 'reply';
      expect(line).toMatch(new RegExp(`^${name} ${direction} ${message.header.messageId}(:|,|$)`));
      expect(line.endsWith(`, ${message.fds} fd`)).toBe(message.fds === 1);
      expect(line).not.toContain('malformed');
    });

    it('is shown with the values that were recorded', () => {
      const { fields } = message;
      if (message.header.size === 16 || name === 'VERSION') return;
      for (const [recordedName, , ourName] of layouts[name] ?? []) {
        const value = Number(fields.get(recordedName));
        const shown =
          ourName === 'flags' ? flagText(name, value) : new RegExp(`${ourName}=(\\w+)`).exec(line)?.[1];
        expect(line).toContain(`${ourName}=${shown}`);
        if (ourName !== 'flags') expect(Number(shown)).toBe(value);
      }
      const data = fields.get('data') ?? '';
      const count = Number(fields.get('count'));
      if (data !== '') expect(line).toContain(`data=${data}${count > 32 ? `..(${count} bytes)` : ''}`);
    });
  },
);

const request = (command: number, flags = 0): Header => ({ messageId: 7, command, size: 0, flags, error: 0 });

it('says everything about VERSION', () => {
  const [proposal] = lines;
  expect(proposal === undefined ? '' : describeMessage(proposal.header, payloadOf(proposal))).toBe(
    'VERSION request 0: major=0 minor=0 {"max_msg_fds":16,"max_data_xfer_size":1048576,"max_dma_maps":65535,' +
      '"pgsizes":4096,"write_multiple":true,"migration":{"pgsize":4096,"max_bitmap_size":268435456}}',
  );
});

it.each([
  [
    'PRE_COPY',
    '10000000 02000200 06000000 ffffffff',
    'argsz=16 flags=SET|MIG_DEVICE_STATE device_state=PRE_COPY data_fd=-1',
  ],
  [
    'an unknown state',
    '10000000 02000100 09000000 ffffffff',
    'argsz=16 flags=GET|MIG_DEVICE_STATE device_state=unknown state 9 data_fd=-1',
  ],
  [
    'migration flags',
    '10000000 01000100 07000000 00000000',
    'argsz=16 flags=GET|MIGRATION flags=STOP_COPY|P2P|PRE_COPY',
  ],
  ['an unknown feature', '0c000000 63000100 01020304', 'argsz=12 flags=GET|feature 99 data=01020304'],
])('shows the data of a feature in a reply: %s', (_, bytes, shown) => {
  expect(describeMessage(request(Command.DEVICE_FEATURE, 1), hex(bytes))).toBe(
    `DEVICE_FEATURE reply 7: ${shown}`,
  );
});

it('does not take the echo of a PROBE for data', () => {
  const probe = hex('08000000 01000500');
  expect(describeMessage(request(Command.DEVICE_FEATURE, 1), probe)).toBe(
    'DEVICE_FEATURE reply 7: argsz=8 flags=GET|PROBE|MIGRATION',
  );
});

it('names the errno of an error reply', () => {
  const failed = { ...request(Command.DMA_MAP, 1 | HeaderFlag.ERROR), error: Errno.EEXIST };
  expect(describeMessage(failed, hex(''))).toBe('DMA_MAP reply 7: EEXIST (17)');
  expect(describeMessage({ ...failed, error: 0 }, hex(''))).toBe('DMA_MAP reply 7: failed without an errno');
  expect(describeMessage(failed, hex('00'))).toBe('DMA_MAP reply 7: EEXIST (17) with 1 bytes');
});

it('marks a posted message, several descriptors, an unknown command and an unknown type', () => {
  const write = hex('0000000000000000 02000000 01000000 ff');
  expect(describeMessage(request(Command.REGION_WRITE, HeaderFlag.NO_REPLY), write, 2)).toBe(
    'REGION_WRITE request 7: offset=0x0 region=2 count=1 data=ff, no reply wanted, 2 fds',
  );
  expect(describeMessage(request(999), hex('0102'))).toBe('command 999 request 7: 0102');
  expect(describeMessage(request(Command.DEVICE_RESET, 3), hex(''))).toBe('DEVICE_RESET type 3 7');
});

it('shows a malformed message with the reason and its bytes', () => {
  expect(describeMessage(request(Command.DMA_READ), hex('0102'))).toBe(
    'DMA_READ request 7: malformed, DMA_READ request: address at byte 0 is missing: 16 bytes are needed, 2 came [0102]',
  );
});
