import { describe, expect, it } from 'vitest';
import { type Capabilities, version } from '../../src/protocol/index.ts';
import { answerFor, brokenPromise, proposalFor } from '../../src/proxy/version-limits.ts';
import { QEMU_VERSION_JSON, versionPayload } from '../helpers/raw-client.ts';

const told: Capabilities = {
  maxMsgFds: 16,
  maxDataXferSize: 1 << 20,
  maxDmaMaps: 65_535,
  pgsizes: 4096,
  writeMultiple: true,
  migration: { pgsize: 4096, maxBitmapSize: 1024 },
};
const at = (capabilities: Capabilities | null, minor = 0) => ({ major: 0, minor, capabilities });

describe('what a client was told in VERSION', () => {
  it.each<readonly [string, Capabilities | null, RegExp | null]>([
    ['the same', told, null],
    ['more', { ...told, maxMsgFds: 32, maxDataXferSize: 2 << 20, pgsizes: 0x201000 }, null],
    ['fewer fds', { ...told, maxMsgFds: 8 }, /max_msg_fds is 8, and the client was told 16/],
    ['smaller messages', { ...told, maxDataXferSize: 4096 }, /max_data_xfer_size is 4096/],
    ['fewer DMA maps', { ...told, maxDmaMaps: 8 }, /max_dma_maps is 8/],
    ['other page sizes', { ...told, pgsizes: 0x200000 }, /page sizes 0x1000/],
    ['no REGION_WRITE_MULTI', { ...told, writeMultiple: false }, /write_multiple/],
    ['a smaller bitmap', { ...told, migration: { pgsize: 4096, maxBitmapSize: 8 } }, /max_bitmap_size/],
    ['nothing at all, which means less', null, /max_msg_fds is 1/],
  ])('binds another back end: %s', (_, capabilities, why) => {
    const broken = brokenPromise(at(told), at(capabilities));
    if (why === null) expect(broken).toBeNull();
    else expect(broken).toMatch(why);
  });

  it('binds it to the version', () => {
    expect(brokenPromise(at(told), at(told, 1))).toMatch(/0\.1/);
  });

  it('is not bound by what a silent back end has by default', () => {
    expect(brokenPromise(at(null), at(told))).toBeNull();
  });
});

describe('VERSION on its way', () => {
  it("passes QEMU's proposal byte for byte", () => {
    const payload = versionPayload(0, 0, QEMU_VERSION_JSON);
    expect(proposalFor(payload)).toBe(payload);
    expect(answerFor(payload)).toBe(payload);
  });

  it('passes without a second socket, and with no larger messages than are relayed', () => {
    const json =
      '{"capabilities":{"twin_socket":{"supported":true},"max_data_xfer_size":16777216,"max_msg_fds":4}}';
    const passed = version.request.decode(proposalFor(versionPayload(0, 1, json)));
    expect(passed).toEqual({ major: 0, minor: 1, capabilities: { maxMsgFds: 4, maxDataXferSize: 1 << 20 } });
    const answered = version.reply.decode(
      answerFor(versionPayload(0, 1, '{"capabilities":{"max_data_xfer_size":2097152}}')),
    );
    expect(answered.capabilities).toEqual({ maxDataXferSize: 1 << 20 });
  });
});
