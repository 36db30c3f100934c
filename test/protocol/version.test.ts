import { describe, expect, it } from 'vitest';
import { version } from '../../src/protocol/index.ts';
import { at, hex, refused, toHex } from './support.ts';

/** A VERSION payload with this minor version and text, which is not followed by a NUL unless it has one. */
function proposal(text: string, minor = 0): Uint8Array {
  return new Uint8Array([0, 0, minor, 0, ...new TextEncoder().encode(text)]);
}

/** Byte for byte what QEMU 11.1.3 sends. */
const QEMU =
  '{"capabilities": {"pgsizes": 4096, "max_msg_fds": 16, "max_dma_maps": 65535, "max_data_xfer_size": 1048576, ' +
  '"migration": {"max_bitmap_size": 268435456, "pgsize": 4096}, "write_multiple": true}}\0';

it("reads QEMU's proposal, a message of 214 bytes", () => {
  expect(proposal(QEMU).length + 16).toBe(214);
  expect(version.request.decode(proposal(QEMU))).toEqual({
    major: 0,
    minor: 0,
    capabilities: {
      pgsizes: 4096,
      maxMsgFds: 16,
      maxDmaMaps: 65_535,
      maxDataXferSize: 1_048_576,
      migration: { maxBitmapSize: 268_435_456, pgsize: 4096 },
      writeMultiple: true,
    },
  });
});

it("reads libvfio-user's reply", () => {
  const text =
    '{ "capabilities": { "max_msg_fds": 8, "max_data_xfer_size": 1048576, "migration": { "pgsize": 4096 } } }\0';
  expect(proposal(text).length + 16).toBe(125);
  expect(version.reply.decode(proposal(text)).capabilities).toEqual({
    maxMsgFds: 8,
    maxDataXferSize: 1_048_576,
    migration: { pgsize: 4096 },
  });
});

it('writes compact JSON with a NUL', () => {
  const bytes = version.request.encode({
    major: 0,
    minor: 2,
    capabilities: { maxMsgFds: 8, twinSocket: { supported: true } },
  });
  const text = '{"capabilities":{"max_msg_fds":8,"twin_socket":{"supported":true}}}\0';
  expect(toHex(bytes)).toBe(`00000200${toHex(new TextEncoder().encode(text))}`);
});

it.each([
  ['no version data', '', null],
  ['an empty object', '{}\0', {}],
  ['no capabilities', '{"capabilities":{}}\0', {}],
  ['only unknown ones', '{"capabilities":{"later":{"x":[1]}},"also":2}\0', {}],
])('takes %s for the defaults', (_, text, capabilities) => {
  expect(version.request.decode(proposal(text)).capabilities).toEqual(capabilities);
});

it('sends no version data for null', () => {
  expect(toHex(version.request.encode({ major: 0, minor: 1, capabilities: null }))).toBe('00000100');
});

describe('refuses', () => {
  it.each([
    ['a payload below 4 bytes', hex('0000'), 'minor', 2],
    ['text without a NUL', proposal('{}'), 'version data', 4],
    ['a NUL before the end', proposal('{}\0 \0'), 'version data', 4],
    ['only a NUL', proposal('\0'), 'version data', 4],
    ['an unfinished object', proposal('{\0'), 'version data', 4],
    ['an unfinished string', proposal('"\0'), 'version data', 4],
    ['no UTF-8', hex('00000000 7b22ff223a317d 00'), 'version data', 4],
    ['an array', proposal('[]\0'), 'version data', 4],
    ['null', proposal('null\0'), 'version data', 4],
    ['nesting without end', proposal(`${'['.repeat(8000)}${']'.repeat(8000)}\0`), 'version data', 4],
    ['more than 16 KiB', proposal(`{"x":"${'x'.repeat(16_400)}"}\0`), 'version data', 4],
  ])('%s', (_, bytes, field, byte) => {
    expect(refused(() => version.request.decode(bytes))).toEqual(at('EINVAL', field, byte));
  });

  it.each([
    ['capabilities', '"23"'],
    ['capabilities', 'null'],
    ['capabilities.max_msg_fds', '{"max_msg_fds":"foo"}'],
    ['capabilities.max_msg_fds', '{"max_msg_fds":-1}'],
    ['capabilities.max_msg_fds', '{"max_msg_fds":1025}'],
    ['capabilities.max_data_xfer_size', '{"max_data_xfer_size":0}'],
    ['capabilities.max_data_xfer_size', '{"max_data_xfer_size":-1}'],
    ['capabilities.max_data_xfer_size', '{"max_data_xfer_size":1e300}'],
    ['capabilities.pgsizes', '{"pgsizes":0}'],
    ['capabilities.max_dma_maps', '{"max_dma_maps":null}'],
    ['capabilities.twin_socket', '{"twin_socket":true}'],
    ['capabilities.twin_socket.supported', '{"twin_socket":{"supported":1}}'],
    ['capabilities.twin_socket.fd_index', '{"twin_socket":{"fd_index":-1}}'],
    ['capabilities.write_multiple', '{"write_multiple":"yes"}'],
    ['capabilities.migration', '{"migration":"23"}'],
    ['capabilities.migration.pgsize', '{"migration":{"pgsize":"foo"}}'],
    ['capabilities.migration.pgsize', '{"migration":{"pgsize":4095}}'],
    ['capabilities.migration.max_bitmap_size', '{"migration":{"max_bitmap_size":0}}'],
    ['capabilities.ferry.precopy_info', '{"ferry":{"precopy_info":1}}'],
  ])('%s in %s', (field, capabilities) => {
    const bytes = proposal(`{"capabilities":${capabilities}}\0`);
    expect(refused(() => version.request.decode(bytes))).toMatchObject({ errno: 'EINVAL', field });
  });
});
