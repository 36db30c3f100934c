import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  acceptReply,
  type Capabilities,
  ConfigurationMode,
  negotiate,
  OUR_CAPABILITIES,
  type Version,
  version,
} from '../../src/protocol/index.ts';
import { randomValue } from './arbitraries.ts';
import { refusal } from './support.ts';

const proposal = (capabilities: Capabilities | null, minor = 2): Version => ({
  major: 0,
  minor,
  capabilities,
});
const QEMU: Version = proposal(
  {
    pgsizes: 4096,
    maxMsgFds: 16,
    maxDmaMaps: 65_535,
    maxDataXferSize: 1_048_576,
    migration: { maxBitmapSize: 268_435_456, pgsize: 4096 },
    writeMultiple: true,
  },
  0,
);

describe('a server', () => {
  it('answers QEMU with minor 0 in at most 214 bytes, naming only what QEMU named', () => {
    const { reply } = negotiate(QEMU, OUR_CAPABILITIES);
    expect(reply).toEqual(QEMU);
    expect(version.reply.encode(reply).length + 16).toBeLessThanOrEqual(214);
  });

  it.each([
    [0, 0],
    [1, 1],
    [2, 2],
    [3, 2],
    [0xffff, 2],
  ])('answers minor %s with %s', (minor, answered) => {
    expect(negotiate(proposal({}, minor), OUR_CAPABILITIES).reply.minor).toBe(answered);
  });

  it('refuses another major version', () => {
    const error = refusal(() => negotiate({ major: 1, minor: 0, capabilities: null }, OUR_CAPABILITIES));
    expect([error.code, error.errno]).toEqual(['ERR_PROTOCOL_VERSION', 22]);
  });

  it('answers without version data when none came, and the defaults hold', () => {
    const { reply, agreed } = negotiate(proposal(null), OUR_CAPABILITIES);
    expect(reply.capabilities).toBeNull();
    expect(agreed).toEqual({
      major: 0,
      minor: 2,
      send: { maxDataXferSize: 1_048_576, maxMsgFds: 1 },
      receive: { maxDataXferSize: 1_048_576, maxMsgFds: 1 },
      maxDmaMaps: 65_535,
      pgsizes: 4096,
      twinSocket: false,
      writeMultiple: false,
      precopyInfo: false,
      inspect: false,
      claim: false,
      reconnection: false,
      switchover: false,
      handover: false,
      configuration: null,
    });
  });

  it("sends within the client's limits and takes within its own", () => {
    const ours = { ...OUR_CAPABILITIES, maxMsgFds: 8, maxDataXferSize: 65_536, maxDmaMaps: 100 };
    const { reply, agreed } = negotiate(
      proposal({ maxMsgFds: 3, maxDataXferSize: 1024, maxDmaMaps: 1000 }),
      ours,
    );
    expect(reply.capabilities).toEqual({ maxMsgFds: 8, maxDataXferSize: 65_536, maxDmaMaps: 100 });
    expect(agreed).toMatchObject({
      send: { maxDataXferSize: 1024, maxMsgFds: 3 },
      receive: { maxDataXferSize: 65_536, maxMsgFds: 8 },
      maxDmaMaps: 100,
    });
  });

  it('honours no more than 16 MiB and 253 descriptors, whatever either side offers', () => {
    const huge = { maxDataXferSize: Number.MAX_SAFE_INTEGER, maxMsgFds: 1024 };
    const { reply, agreed } = negotiate(proposal(huge), huge);
    expect(reply.capabilities?.maxDataXferSize).toBe(16 * 1024 * 1024);
    expect([agreed.send.maxDataXferSize, agreed.receive.maxDataXferSize]).toEqual([2 ** 24, 2 ** 24]);
    expect([agreed.send.maxMsgFds, agreed.receive.maxMsgFds]).toEqual([253, 253]);
  });

  it.each([
    ['both', { supported: true }, { supported: true }, true],
    ['the client', { supported: true }, undefined, false],
    ['the client, which says no', { supported: false }, { supported: true }, false],
    ['the server', undefined, { supported: true }, false],
  ])('uses a twin socket only if both want it: %s', (_, theirs, our, twin) => {
    const { twinSocket: __, ...rest } = OUR_CAPABILITIES;
    const ours = our === undefined ? rest : { ...rest, twinSocket: our };
    const { reply, agreed } = negotiate(proposal(theirs === undefined ? {} : { twinSocket: theirs }), ours);
    expect(agreed.twinSocket).toBe(twin);
    expect(reply.capabilities?.twinSocket).toEqual(twin ? { supported: true, fdIndex: 0 } : undefined);
  });

  it('uses of our extensions what both name, and says nothing of them otherwise', () => {
    const { reply, agreed } = negotiate(
      proposal({ ferry: { precopyInfo: true, inspect: false, claim: true } }),
      OUR_CAPABILITIES,
    );
    expect(reply.capabilities).toEqual({ ferry: { precopyInfo: true, claim: true } });
    expect([agreed.precopyInfo, agreed.inspect, agreed.claim]).toEqual([true, false, true]);
    expect(negotiate(proposal({}), OUR_CAPABILITIES).reply.capabilities).toEqual({});
  });

  it('says how its configuration space travels, to those who understand that', () => {
    const ours = { ...OUR_CAPABILITIES, ferry: { configuration: ConfigurationMode.AHEAD } };
    const asked = proposal({ ferry: { configuration: 0 } });
    const { reply, agreed } = negotiate(asked, ours);
    expect([reply.capabilities?.ferry?.configuration, agreed.configuration]).toEqual([2, 2]);
    expect(acceptReply(asked, reply, 0).configuration).toBe(2);
    expect(negotiate(proposal({ ferry: {} }), ours).reply.capabilities).toEqual({ ferry: {} });
    expect(acceptReply(proposal({}), reply, 0).configuration, 'not asked for').toBeNull();
  });

  it('agrees on the page sizes that both have, and refuses none at all', () => {
    expect(negotiate(proposal({ pgsizes: 0x20_1000 }), OUR_CAPABILITIES).agreed.pgsizes).toBe(0x20_1000);
    expect(refusal(() => negotiate(proposal({ pgsizes: 2048 }), OUR_CAPABILITIES)).code).toBe(
      'ERR_PROTOCOL_VERSION',
    );
  });

  it('never names what was not proposed, and a client accepts every answer', () => {
    const anyProposal = randomValue(version.request) as fc.Arbitrary<Version>;
    fc.assert(
      fc.property(anyProposal, (one) => {
        const pgsizes = one.capabilities?.pgsizes === undefined ? {} : { pgsizes: 4096 };
        const capabilities = one.capabilities === null ? null : { ...one.capabilities, ...pgsizes };
        const offered: Version = { ...one, major: 0, capabilities };
        const { reply, agreed } = negotiate(offered, OUR_CAPABILITIES);
        const names = Object.keys(offered.capabilities ?? {});
        for (const name of Object.keys(reply.capabilities ?? {})) expect(names).toContain(name);
        const received = version.reply.decode(version.reply.encode(reply));
        const theirs = acceptReply(offered, received, 1);
        expect(theirs).toEqual({ ...agreed, send: theirs.send, receive: agreed.send });
      }),
    );
  });
});

describe('a client', () => {
  const proposed = proposal(OUR_CAPABILITIES);

  it("takes libvfio-user's answer, which names less", () => {
    const reply = proposal({ maxMsgFds: 8, maxDataXferSize: 1_048_576, migration: { pgsize: 4096 } });
    expect(acceptReply(proposed, reply, 0)).toEqual({
      major: 0,
      minor: 2,
      send: { maxDataXferSize: 1_048_576, maxMsgFds: 8 },
      receive: { maxDataXferSize: 1_048_576, maxMsgFds: 16 },
      maxDmaMaps: 65_535,
      pgsizes: 4096,
      twinSocket: false,
      writeMultiple: false,
      precopyInfo: false,
      inspect: false,
      claim: false,
      reconnection: false,
      switchover: false,
      handover: false,
      configuration: null,
    });
  });

  it('keeps to limits that the server names unasked, and ignores other capabilities', () => {
    const reply = proposal({ maxDataXferSize: 4096, writeMultiple: true, ferry: { inspect: true } }, 0);
    expect(acceptReply(proposal(null), reply, 0)).toMatchObject({
      send: { maxDataXferSize: 4096, maxMsgFds: 1 },
      writeMultiple: false,
      inspect: false,
    });
  });

  it('knows that the twin socket came', () => {
    const reply = proposal({ twinSocket: { supported: true, fdIndex: 0 } });
    expect(acceptReply(proposed, reply, 1).twinSocket).toBe(true);
  });

  it.each([
    ['another major version', { major: 1, minor: 0, capabilities: null }, 0],
    ['a later minor version', proposal(null, 3), 0],
    ['a twin socket without an index', proposal({ twinSocket: { supported: true } }), 1],
    ['a twin socket without a descriptor', proposal({ twinSocket: { supported: true, fdIndex: 0 } }), 0],
    ['a twin socket out of range', proposal({ twinSocket: { supported: true, fdIndex: 1 } }), 1],
    ['no page size in common', proposal({ pgsizes: 2048 }), 0],
  ])('refuses %s', (_, reply, fds) => {
    expect(refusal(() => acceptReply(proposed, reply, fds)).code).toBe('ERR_PROTOCOL_VERSION');
  });

  it('refuses a twin socket that it did not propose', () => {
    const reply = proposal({ twinSocket: { supported: true, fdIndex: 0 } });
    expect(refusal(() => acceptReply(proposal({}), reply, 1)).code).toBe('ERR_PROTOCOL_VERSION');
  });
});
