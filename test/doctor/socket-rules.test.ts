import { describe, expect, it } from 'vitest';
import { RemoteError } from '../../src/client/index.ts';
import { judge } from '../../src/doctor/finding.ts';
import { SOCKET_RULES } from '../../src/doctor/index.ts';
import { readQemuArguments } from '../../src/doctor/qemu-command-line.ts';
import type { SocketFacts } from '../../src/doctor/socket-facts.ts';
import { Errno } from '../../src/errors/index.ts';
import {
  configBytes,
  described,
  failed,
  healthySocket,
  QEMU,
  SERVER,
  SOCKET,
  told,
  withDevice,
} from './facts.ts';

const LATE = failed('ERR_TIMEOUT', Errno.ETIMEDOUT);
/** It is said of every device, since no server can prevent it. */
const ALWAYS = 'qemu-loses-state';
const NO_CLIENT = healthySocket();
const info = { resettable: true, pci: true, regionCount: 9, irqCount: 5 };
const v2 = { flags: 7n, state: 2, dataSize: 4096n };
const libvfioUser = { max_msg_fds: 8, max_data_xfer_size: 1_048_576, migration: { pgsize: 4096 } };

/** A machine of QEMU on the main socket, with arguments. */
function withQemu(...args: readonly string[]): SocketFacts {
  const vmm = { ...QEMU, args: ['qemu-system-x86_64', ...args] };
  return withDevice(() => ({ vmm, qemu: readQemuArguments(vmm.args) }));
}

function fromLibvfioUser(change: Parameters<typeof described>[0] = {}): SocketFacts {
  return withDevice(({ description }) => ({
    greeting: { bytes: 125, capabilities: libvfioUser },
    description: { ...description, server: null, ...change },
  }));
}

const q35 = ['-machine', 'q35,memory-backend=m'];
const memfd = ['-object', 'memory-backend-memfd,id=m,size=1G'];

/** Facts, and exactly what is found in them. */
const cases: readonly (readonly [id: string, facts: SocketFacts, also?: readonly string[]])[] = [
  ['socket-missing', healthySocket({ file: { ...SOCKET, kind: 'missing' }, conversation: none() })],
  ['folder-out-of-reach', healthySocket({ file: { ...SOCKET, kind: 'out of reach' }, conversation: none() })],
  ['not-a-socket', healthySocket({ file: { ...SOCKET, kind: 'file' }, conversation: none() })],
  ['path-too-long', healthySocket({ path: `/${'x'.repeat(107)}`, conversation: none() })],
  ['not-permitted', healthySocket({ caller: { uid: 7, gids: [7] }, conversation: none() })],
  ['nobody-listens', healthySocket({ server: null, conversation: failed('ERR_SOCKET', Errno.ECONNREFUSED) })],
  ['server-stopped', healthySocket({ server: { ...SERVER, state: 'T' }, conversation: none() })],
  ['no-control-socket-busy', healthySocket({ control: null, clients: 1, conversation: none() })],
  [
    'no-control-socket-busy',
    healthySocket({ control: null, clients: null, conversation: failed('ERR_REMOTE', Errno.EBUSY) }),
  ],
  ['main-taken', healthySocket({ conversation: failed('ERR_REMOTE', Errno.EBUSY) })],
  ['nobody-accepts', healthySocket({ waiting: 1, conversation: LATE })],
  ['nobody-accepts', healthySocket({ waiting: 2, server: null, clients: 1, conversation: LATE })],
  ['nobody-accepts', healthySocket({ waiting: null, conversation: failed('ERR_SOCKET', Errno.EAGAIN) })],
  ['server-stopped', healthySocket({ server: { ...SERVER, state: 'T' }, waiting: 1, conversation: LATE })],
  ['server-silent', healthySocket({ conversation: LATE })],
  ['server-silent', healthySocket({ waiting: null, conversation: LATE })],
  [
    'server-silent',
    healthySocket({ waiting: 1, conversation: failed('ERR_TIMEOUT', Errno.ETIMEDOUT, true) }),
  ],
  ['version-refused', healthySocket({ conversation: failed('ERR_REMOTE', Errno.EINVAL) })],
  ['version-refused', healthySocket({ conversation: failed('ERR_PROTOCOL_VERSION', Errno.EINVAL) })],
  ['protocol-broken', healthySocket({ conversation: failed('ERR_PROTOCOL_MALFORMED', Errno.EINVAL, true) })],
  ['protocol-broken', healthySocket({ conversation: failed('ERR_FRAMING', Errno.EPROTO, true) })],
  ['server-hangs-up', healthySocket({ conversation: failed('ERR_CONNECTION_CLOSED', Errno.ENOTCONN) })],
  ['connection-failed', healthySocket({ conversation: failed('ERR_SOCKET', Errno.ENOMEM) })],
  ['no-control-socket', { ...NO_CLIENT, control: null }, [ALWAYS]],
  ['retired', told({ claim: { id: 'x', retired: true, attended: false } }), [ALWAYS]],
  ['claimed', told({ claim: { id: 'x', retired: false, attended: false } }), [ALWAYS]],
  ['session-driven', told({ migration: { sessionOwner: 'control' } }), [ALWAYS]],
  ['hold-expired', told({ hold: { active: true, expired: true } }), [ALWAYS]],
  ['writes-dropped', told({ hold: { active: false, droppedWrites: 3 } }), [ALWAYS]],
  ['no-migration', described({ migration: { flags: null, state: null, dataSize: null } }), [ALWAYS]],
  ['migration-flags', described({ migration: { ...v2, flags: 6n } }), [ALWAYS]],
  ['migration-flags', described({ migration: { ...v2, flags: 15n } }), [ALWAYS]],
  ['state-error', described({ migration: { ...v2, state: 0 } }), [ALWAYS]],
  ['state-unknown', described({ migration: { ...v2, state: 9 } }), [ALWAYS]],
  ['state-left', described({ migration: { ...v2, state: 3 } }), [ALWAYS]],
  ['pre-copy-left', described({ migration: { ...v2, state: 6 } }), [ALWAYS]],
  ['last-error', told({ migration: { sessionOwner: null, lastError: { message: 'no room' } } }), [ALWAYS]],
  ['no-pre-copy', described({ migration: { ...v2, flags: 3n } }), [ALWAYS]],
  ['no-p2p', described({ migration: { ...v2, flags: 5n } }), [ALWAYS]],
  ['size-unknown', described({ migration: { ...v2, dataSize: null } }), [ALWAYS]],
  [ALWAYS, withQemu(...q35, ...memfd)],
  ['memory-private', withQemu(...q35, '-object', 'memory-backend-memfd,id=m,size=1G,share=off'), [ALWAYS]],
  ['memory-by-message', told({ main: { dmaDirect: '0', dmaByMessage: String(2 ** 29) } }), [ALWAYS]],
  ['memory-cannot-be-shared', withQemu('-machine', 'q35', '-m', '512'), [ALWAYS]],
  ['no-dma-log', withDevice(() => ({ logsDma: false })), [ALWAYS]],
  ['viommu', withQemu(...q35, ...memfd, '-device', 'intel-iommu'), [ALWAYS]],
  ['machine-without-ecam', withQemu(...memfd), [ALWAYS]],
  [
    'qemu-version-reply',
    withDevice(({ description }) => ({
      greeting: { bytes: 215, capabilities: { max_dma_maps: 1 } },
      description: { ...description, server: null },
    })),
    [ALWAYS],
  ],
  [
    'qemu-version-limits',
    withDevice(() => ({ greeting: { bytes: 1, capabilities: { max_msg_fds: 17 } } })),
    [ALWAYS],
  ],
  ['qemu-device-info', described({ info: { ...info, regionCount: 7 } }), [ALWAYS]],
  ['qemu-device-info', described({ info: { ...info, irqCount: 51 } }), [ALWAYS]],
  ['qemu-device-info', described({ info: { ...info, pci: false } }), [ALWAYS]],
  ['qemu-config-space', described({ regions: [], config: null }), [ALWAYS]],
  [
    'qemu-intx',
    described({ config: configBytes((bytes) => bytes.fill(1, 0x3d, 0x3e)), interrupts: [irqs(2, 4)] }),
    [ALWAYS],
  ],
  ['no-reset', described({ info: { ...info, resettable: false } }), [ALWAYS]],
  [
    'conventional-config',
    described({ config: configBytes((bytes) => Buffer.from([0x10, 0, 2]).copy(bytes, 0x40)) }),
    [ALWAYS],
  ],
  ['capability-chain', described({ config: configBytes((bytes) => bytes.fill(0x40, 0x41, 0x42)) }), [ALWAYS]],
  ['capability-chain', described({ config: configBytes((bytes) => bytes.fill(0x21, 0x41, 0x42)) }), [ALWAYS]],
  ['bar-size', withRegion(0, 12_288n), [ALWAYS]],
  ['msix-layout', withRegion(0, 64n), [ALWAYS]],
  ['msix-count', described({ interrupts: [irqs(0, 1), irqs(2, 3)] }), [ALWAYS]],
  ['header-type', described({ config: configBytes((bytes) => bytes.fill(0x81, 0x0e, 0x0f)) }), [ALWAYS]],
  ['libvfio-user-large-messages', fromLibvfioUser(), [ALWAYS]],
  [
    'libvfio-user-stuck',
    fromLibvfioUser({ info: null, config: null, regions: [], refused: [refusal()] }),
    [ALWAYS, 'libvfio-user-large-messages'],
  ],
];

function none() {
  return { kind: 'none', why: 'a test' } as const;
}

function refusal() {
  return new RemoteError(4, Errno.EINVAL);
}

function irqs(index: number, count: number) {
  return { index, count, eventfd: true, maskable: false, autoMasked: false, noResize: false };
}

function withRegion(index: number, size: bigint): SocketFacts {
  return withDevice(({ description }) => ({
    description: {
      ...description,
      regions: description.regions.map((each) => (each.index === index ? { ...each, size } : each)),
    },
  }));
}

describe('what is found behind a socket', () => {
  it('is only what no server can prevent, when nothing is wrong', () => {
    expect(judge(SOCKET_RULES, healthySocket()).map(({ id }) => id)).toEqual([ALWAYS]);
  });

  it.each(cases.map(([id, facts, also = []]) => [id, facts, also] as const))('%s', (id, facts, also) => {
    const found = judge(SOCKET_RULES, facts);
    expect(found.map((each) => each.id).sort()).toEqual([id, ...also].sort());
    for (const { finding, why, next } of found) {
      expect(`${finding}${why}`).not.toMatch(/undefined|NaN/);
      expect(next.length).toBeGreaterThan(0);
    }
  });

  it('is tried for every rule', () => {
    expect(new Set(cases.map(([id]) => id))).toEqual(new Set(SOCKET_RULES.map(({ id }) => id)));
  });

  it('comes from certain to suspected, what prevents a migration first', () => {
    const facts = fromLibvfioUser({ migration: { ...v2, flags: 1n, state: 3, dataSize: null } });
    const order = judge(SOCKET_RULES, { ...facts, control: null });
    const rank = order.map(({ certainty, effect }) => `${certainty} ${effect}`);
    expect([...new Set(rank)]).toEqual(['certain endangers', 'likely prevents', 'suspected endangers']);
  });

  it('names the QEMU that would lose the state', () => {
    const [found] = judge(SOCKET_RULES, withQemu(...q35, ...memfd));
    expect(found?.finding).toMatch(/^qemu-system-x86 \(process 200\) loses the state/);
  });

  it('leads from the ids of vendor and device to the address', () => {
    const missing = { file: { ...SOCKET, kind: 'missing' }, conversation: none() } as const;
    const [found] = judge(SOCKET_RULES, healthySocket({ ...missing, path: '1af4:10f0' }));
    expect(found?.next).toEqual([expect.stringContaining('lspci -D -d 1af4:10f0')]);
  });
});
