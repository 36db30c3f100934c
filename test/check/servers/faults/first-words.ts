import { loadNative } from '../../../../src/native/index.ts';
import {
  accepts,
  answers,
  at,
  both,
  crashes,
  custom,
  hangsUp,
  named,
  ofLength,
  proposing,
  rebuilt,
  refuses,
  viewOf,
} from './fault.ts';

const native = loadNative();
const QEMU = proposing('max_bitmap_size');
const plain = (text: string): Uint8Array => Buffer.concat([new Uint8Array(4), Buffer.from(`${text}\0`)]);
const replaced =
  (from: string, to: string) =>
  (payload: Uint8Array): Uint8Array =>
    Buffer.from(Buffer.from(payload).toString('latin1').replace(from, to), 'latin1');
const minorOf = (payload: Uint8Array): number =>
  payload.length < 4 ? 0 : viewOf(payload).getUint16(2, true);
const majorOf = (payload: Uint8Array): number =>
  payload.length < 2 ? 0 : viewOf(payload).getUint16(0, true);

/** Faults in the first words of a connection. */
export const firstWordsFaults = named({
  'answers major version 1': answers((payload) => {
    viewOf(payload).setUint16(0, 1, true);
    return payload;
  })(QEMU, 'negotiation.reply'),
  'answers minor 2 to minor 1': answers((payload) => {
    viewOf(payload).setUint16(2, 2, true);
    return payload;
  })(({ command, payload }) => command === 1 && minorOf(payload) === 1, 'negotiation.minor'),
  'wants version data': refuses(both(at(1), ofLength(4)), 'negotiation.no-version-data'),
  'wants capabilities': refuses(proposing('{}\0'), 'negotiation.no-capabilities'),
  'knows all capabilities or none': refuses(proposing('unheard_of'), 'negotiation.unknown-capability'),
  'names capabilities of its own': answers(() =>
    plain('{"capabilities":{"max_data_xfer_size":1048576,"write_multiple":true}}'),
  )(proposing('{"capabilities":{"max_data_xfer_size":1048576}}'), 'negotiation.subset'),
  'is longer than QEMU’s proposal': answers((payload) =>
    Buffer.concat([payload.subarray(0, -1), Buffer.alloc(200, ' '), new Uint8Array(1)]),
  )(QEMU, 'negotiation.fits-qemu'),
  'offers more maps than QEMU takes': answers(replaced('65535', '65536'))(QEMU, 'negotiation.qemu-limits'),
  'speaks any major version': accepts(
    ({ command, payload }) => command === 1 && majorOf(payload) > 0,
    'negotiation.major',
  ),
  'serves strangers': custom(
    () => ({
      request: (message, link) =>
        message.command === 4 && !link.commands.includes(1)
          ? link.answer(message, new Uint8Array(16))
          : 'pass',
    }),
    'negotiation.comes-first',
  ),
  'negotiates again': accepts(
    ({ command }, { commands }) => command === 1 && commands.length > 1,
    'negotiation.once',
  ),
  'reads version data to the end of memory': accepts(
    ({ command, payload }) => command === 1 && payload.length > 4 && payload.at(-1) !== 0,
    'negotiation.json-without-nul',
  ),
  'ignores version data that it can’t read': accepts(
    both(proposing('{\0'), ofLength(6)),
    'negotiation.json-malformed',
  ),
  'takes any type of limit': accepts(proposing('"foo"'), 'negotiation.wrong-types'),
  'takes any limit': accepts(proposing('max_data_xfer_size":0}'), 'negotiation.impossible-limits'),
  'reads a version that is not there': accepts(
    ({ command, payload }) => command === 1 && payload.length < 4,
    'negotiation.short',
  ),
  'recurses into JSON': crashes(proposing('[[[[[[[['), 'negotiation.deep-json'),
  'hangs up on descriptors with VERSION': hangsUp(
    ({ command, fds }) => command === 1 && fds.length > 0,
    'negotiation.fds',
  ),
  'enables a twin socket unasked': answers(() =>
    plain('{"capabilities":{"twin_socket":{"supported":true}}}'),
  )(QEMU, 'negotiation.twin-unasked'),
  'names a twin socket that did not come': answers(replaced('"fd_index":0', '"fd_index":5'))(
    proposing('twin_socket'),
    'negotiation.twin',
  ),
  'gives its only seat to who came last': custom(
    () => ({
      request: (message, link) => {
        if (message.command === 1) for (const other of link.proxy.links) if (other !== link) other.close();
        return 'pass';
      },
    }),
    'negotiation.busy',
  ),
});

/** Faults that need a device with DMA to show. */
export const twinFaults = named(
  {
    'enables a twin socket that leads nowhere': custom(
      () => ({
        reply: (message, asked, link) => {
          if (message.fds.length === 0 || asked.command !== 1) return 'pass';
          const pair = new Int32Array(2);
          native.socketpair(pair);
          // The server sees its end stay open; nobody listens there.
          for (const fd of message.fds) link.proxy.keep(native.dup(fd));
          link.say(rebuilt(message, message.payload), [pair[0] ?? -1]);
          for (const fd of pair) native.close(fd);
          return 'drop';
        },
      }),
      'dma-messages.twin',
    ),
  },
  'edu',
);
