import { Errno } from '../../errors/index.ts';
import { Command } from '../../protocol/index.ts';
import { at, atMessage, type Behaviour } from './script.ts';

const { EINVAL, EBUSY } = Errno;

/** Commands that every client that attaches to a device sends sooner or later; each is refused once. */
const REFUSED = [
  ['device-info', Command.DEVICE_GET_INFO],
  ['region-info', Command.DEVICE_GET_REGION_INFO],
  ['irq-info', Command.DEVICE_GET_IRQ_INFO],
  ['region-read', Command.REGION_READ],
  ['region-write', Command.REGION_WRITE],
  ['dma-map', Command.DMA_MAP],
  ['set-irqs', Command.DEVICE_SET_IRQS],
  ['reset', Command.DEVICE_RESET],
  ['feature', Command.DEVICE_FEATURE],
  ['data-read', Command.MIG_DATA_READ],
  ['data-write', Command.MIG_DATA_WRITE],
] as const;

/** At which messages a server leaves: the first words, and the middle of an attachment and of its use. */
const LEAVES_AT = [1, 2, 3, 5, 8, 13, 21, 34] as const;

const u32 = (value: number): Uint8Array => new Uint8Array(Uint32Array.of(value).buffer);
const u16 = (value: number): Uint8Array => new Uint8Array(Uint16Array.of(value).buffer);

const plain: readonly Behaviour[] = [
  { name: 'well-behaved', does: 'answers everything as it should', steps: [] },
  {
    name: 'slow',
    does: 'takes 300 ms for VERSION and a moment for each other answer',
    steps: [
      { when: at(Command.VERSION), do: { kind: 'delay', ms: 300 } },
      { when: { command: null, nth: null }, do: { kind: 'delay', ms: 3 } },
    ],
  },
  {
    name: 'in-pieces',
    does: 'sends its answers in pieces, cut inside of headers and bodies',
    steps: [{ when: { command: null, nth: null }, do: { kind: 'pieces', bytes: 13 } }],
  },
  {
    name: 'tight',
    does: 'takes one fd and 4096 bytes in a message',
    steps: [],
    offers: { maxMsgFds: 1, maxDataXferSize: 4096 },
  },
  {
    name: 'left-in-stop-copy',
    does: 'has a device in STOP_COPY, and refuses there what libvfio-user refuses',
    steps: [],
    offers: { leftInStopCopy: true },
  },
  {
    name: 'asking',
    does: 'reads and writes the memory of the client by DMA messages',
    steps: [
      { when: at(Command.DEVICE_GET_REGION_INFO), do: { kind: 'ask', ask: 'dma-outside' } },
      { when: at(Command.REGION_READ), do: { kind: 'ask', ask: 'dma-read' } },
      { when: at(Command.REGION_READ, 2), do: { kind: 'ask', ask: 'dma-write' } },
      { when: at(Command.REGION_READ, 3), do: { kind: 'ask', ask: 'unknown' } },
    ],
  },
];

const failing: readonly Behaviour[] = [
  {
    name: 'refuses-version',
    does: 'refuses VERSION',
    steps: [{ when: at(Command.VERSION), do: { kind: 'refuse', errno: EINVAL } }],
  },
  {
    name: 'busy',
    does: 'refuses VERSION because another client has the device',
    steps: [{ when: at(Command.VERSION), do: { kind: 'refuse', errno: EBUSY } }],
  },
  ...REFUSED.map(([name, command]) => ({
    name: `refuses-${name}`,
    does: `refuses the first ${name.replace('-', ' ')}`,
    steps: [{ when: at(command), do: { kind: 'refuse', errno: EINVAL } }] as const,
  })),
];

const leaving: readonly Behaviour[] = LEAVES_AT.map((nth) => ({
  name: `leaves-at-${nth}`,
  does: `closes the connection instead of answering message ${nth}`,
  steps: [{ when: atMessage(nth), do: { kind: 'disconnect', after: false } }],
}));

const lying: readonly Behaviour[] = [
  {
    name: 'other-major',
    does: 'answers VERSION with major version 1',
    steps: [{ when: at(Command.VERSION), do: { kind: 'patch', at: 0, bytes: u16(1) } }],
  },
  {
    name: 'newer-minor',
    does: 'answers VERSION with a minor version that was not proposed',
    steps: [{ when: at(Command.VERSION), do: { kind: 'patch', at: 2, bytes: u16(0xffff) } }],
  },
  {
    name: 'wrong-id',
    does: 'answers DEVICE_GET_INFO with another id',
    steps: [{ when: at(Command.DEVICE_GET_INFO), do: { kind: 'wrong-id' } }],
  },
  {
    name: 'twice',
    does: 'answers DEVICE_GET_INFO twice',
    steps: [{ when: at(Command.DEVICE_GET_INFO), do: { kind: 'twice' } }],
  },
  {
    name: 'short-info',
    does: 'answers DEVICE_GET_INFO with 8 bytes',
    steps: [{ when: at(Command.DEVICE_GET_INFO), do: { kind: 'short', bytes: 8 } }],
  },
  {
    name: 'short-read',
    does: 'answers the first REGION_READ with fewer bytes than it names',
    steps: [{ when: at(Command.REGION_READ), do: { kind: 'short', bytes: 17 } }],
  },
  {
    name: 'short-region',
    does: 'answers DEVICE_GET_REGION_INFO with 16 bytes',
    steps: [{ when: at(Command.DEVICE_GET_REGION_INFO), do: { kind: 'short', bytes: 16 } }],
  },
  {
    name: 'other-index',
    does: 'answers DEVICE_GET_REGION_INFO about another region',
    steps: [{ when: at(Command.DEVICE_GET_REGION_INFO), do: { kind: 'patch', at: 8, bytes: u32(5) } }],
  },
  {
    name: 'endless-regions',
    does: 'claims to have four thousand million regions',
    steps: [{ when: at(Command.DEVICE_GET_INFO), do: { kind: 'patch', at: 8, bytes: u32(0xffff_ffff) } }],
  },
  {
    name: 'chain-outside',
    does: 'names a capability of a region behind the end of the reply',
    steps: [
      { when: at(Command.DEVICE_GET_REGION_INFO), do: { kind: 'patch', at: 4, bytes: u32(0xf) } },
      { when: at(Command.DEVICE_GET_REGION_INFO), do: { kind: 'patch', at: 12, bytes: u32(0xffff_0000) } },
    ],
  },
  {
    name: 'oversized',
    does: 'answers DEVICE_GET_INFO with 256 KiB too much',
    steps: [{ when: at(Command.DEVICE_GET_INFO), do: { kind: 'oversized', bytes: 262_144 } }],
  },
  {
    name: 'endless-message',
    does: 'answers DEVICE_GET_INFO with a header of 4 GiB',
    steps: [{ when: at(Command.DEVICE_GET_INFO), do: { kind: 'wrong-size', bytes: 0xffff_ffff } }],
  },
  {
    name: 'tiny-message',
    does: 'answers DEVICE_GET_INFO with a header that names 3 bytes',
    steps: [{ when: at(Command.DEVICE_GET_INFO), do: { kind: 'wrong-size', bytes: 3 } }],
  },
];

/** Every behaviour that is known by name, in the order in which a client meets them. */
export const BEHAVIOURS: readonly Behaviour[] = [...plain, ...failing, ...lying, ...leaving];
