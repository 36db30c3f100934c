import { flags } from '../protocol/index.ts';
import { body, json, type KindDeclaration, type KindValue, kind, liveBody, rows } from './kind.ts';
import { bits, id, u16, u32, u64 } from './layout.ts';

/** What the destination must not do yet although it has the configuration space that asks for it. */
export const WithheldAction = flags(
  { INTERRUPTS: 1, DMA: 2 },
  {
    INTERRUPTS: 'arming MSI, MSI-X and INTx: the interrupt controller is not restored yet',
    DMA: 'letting the device master the bus',
  },
);

const device = u16('number of the device in the manifest');
const devices = { device };
const decision = { group: id('the group that moves'), epoch: u64('which attempt at moving it') };

/**
 * The messages of a migration, in the order in which they usually come. What each side may say when is the engine's;
 * their form, their bounds and who may send them are here. Numbers are never used again for something else.
 */
export const messages = {
  MANIFEST: kind(
    16,
    'sender',
    'What is going to move: devices, sizes, formats, guest memory, limits.',
    {},
    json('manifest', 'see the engine'),
  ),
  VERDICT: kind(17, 'receiver', 'Whether that fits, and why not.', {}, json('verdict', 'see the engine')),
  OPEN: kind(18, 'sender', 'The receiver is to take its devices to RESUMING.', {}),
  OPENED: kind(19, 'receiver', 'All devices are in RESUMING.', {}),
  DATA: kind(20, 'sender', "The next bytes of a device's migration state.", devices, body('the bytes')),
  CONFIG: kind(
    21,
    'sender',
    'Configuration space of a device.',
    { device, withheld: bits('what is not to be done yet', WithheldAction) },
    body('the bytes'),
  ),
  ACTIONS: kind(22, 'sender', 'Actions that were withheld from a configuration are due now.', {
    device,
    actions: bits('the actions', WithheldAction),
  }),
  MEMORY: kind(
    23,
    'sender',
    'Pages of guest memory.',
    { region: u16('number of the region in the manifest'), offset: u64('first byte in it') },
    liveBody('the pages'),
  ),
  ZERO: kind(24, 'sender', 'Pages of guest memory that are all zero.', {
    region: u16('number of the region in the manifest'),
    offset: u64('first byte in it'),
    length: u64('bytes'),
  }),
  INITIAL: kind(25, 'sender', 'The initial data of a device are complete.', devices),
  INITIAL_LOADED: kind(26, 'receiver', 'The device has loaded its initial data.', devices),
  SYNC: kind(27, 'sender', 'The receiver is to say when it has handled everything before this.', {
    id: u32('chosen by the sender'),
  }),
  SYNCED: kind(28, 'receiver', 'Everything before that SYNC is handled.', {
    id: u32('of the SYNC'),
    bytes: u64('bytes of bodies that were handled so far'),
  }),
  COMPLETE: kind(
    29,
    'sender',
    'All devices have stopped and everything has been sent.',
    decision,
    rows('totals', 'for each device', {
      device,
      bytes: u64("bytes of the device's state"),
      checksum: u32('CRC-32 of them'),
    }),
  ),
  READY: kind(30, 'receiver', 'Everything is loaded and verified; it runs when told so.', decision),
  COMMIT: kind(31, 'sender', 'The receiver owns the devices from now on.', decision),
  RUNNING: kind(32, 'receiver', 'The devices run here.', decision, json('report', 'see the engine')),
  ABORT: kind(
    33,
    'both',
    'The migration is off; the sender keeps the devices.',
    decision,
    json('reason', 'code and text', 8192, 3),
  ),
  ABORTED: kind(34, 'both', 'What was received is discarded, or the devices run again.', decision),
} as const satisfies Readonly<Record<string, KindDeclaration>>;

/** The name of a kind of message. */
export type MessageKind = keyof typeof messages;

/** A message of a given kind, without its body. */
export type MessageOf<K extends MessageKind> = K extends MessageKind
  ? KindValue<K, (typeof messages)[K]>
  : never;

/** Any message, without its body. */
export type Message = MessageOf<MessageKind>;
