import type { Message, MessageKind } from '../../src/channel/index.ts';

/** Any group and epoch. */
export const group = '00112233445566778899aabbccddeeff';
export const epoch = 7n;

const decision = { group, epoch };

/** A message of every kind, with a body where the kind has one. */
export const samples: Readonly<
  Record<MessageKind, { readonly message: Message; readonly body?: Uint8Array }>
> = {
  MANIFEST: {
    message: { kind: 'MANIFEST', manifest: { devices: [{ name: 'edu', size: 4096 }], text: 'Grüße' } },
  },
  VERDICT: { message: { kind: 'VERDICT', verdict: { fits: true, notes: [] } } },
  OPEN: { message: { kind: 'OPEN' } },
  OPENED: { message: { kind: 'OPENED' } },
  DATA: { message: { kind: 'DATA', device: 3 }, body: bytes(5000) },
  CONFIG: { message: { kind: 'CONFIG', device: 65535, withheld: 3 }, body: bytes(256) },
  ACTIONS: { message: { kind: 'ACTIONS', device: 1, actions: 1 } },
  MEMORY: { message: { kind: 'MEMORY', region: 1, offset: 0x1_0000_0000n }, body: bytes(8192) },
  ZERO: { message: { kind: 'ZERO', region: 0, offset: 2n ** 63n, length: 2n ** 40n } },
  INITIAL: { message: { kind: 'INITIAL', device: 0 } },
  INITIAL_LOADED: { message: { kind: 'INITIAL_LOADED', device: 0 } },
  SYNC: { message: { kind: 'SYNC', id: 0xffff_ffff } },
  SYNCED: { message: { kind: 'SYNCED', id: 1, bytes: 2n ** 64n - 1n } },
  COMPLETE: {
    message: {
      kind: 'COMPLETE',
      ...decision,
      totals: [
        { device: 0, bytes: 5000n, checksum: 0xdeadbeef },
        { device: 1, bytes: 0n, checksum: 0 },
      ],
    },
  },
  READY: { message: { kind: 'READY', ...decision } },
  COMMIT: { message: { kind: 'COMMIT', ...decision } },
  RUNNING: { message: { kind: 'RUNNING', ...decision, report: null } },
  ABORT: { message: { kind: 'ABORT', ...decision, reason: { code: 'ERR_X', text: 'why' } } },
  ABORTED: { message: { kind: 'ABORTED', ...decision } },
};

/** Bytes that do not repeat too soon and compress badly. */
export function bytes(length: number, seed = 1): Uint8Array {
  const out = new Uint8Array(length);
  let state = seed >>> 0 || 1;
  for (let i = 0; i < length; i += 1) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    out[i] = state >>> 24;
  }
  return out;
}
