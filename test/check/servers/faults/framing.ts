import { rawMessage } from '../../../../src/check/wire/bytes.ts';
import { accepts, at, both, custom, hangsUp, ignores, named, rebuilt, replies, u32At } from './fault.ts';

const BEHIND = 0x10_0000;

/** Faults in how messages are cut, answered and refused. */
export const framingFaults = named({
  'makes up an id': replies(({ command, payload, flags, bytes }) =>
    rawMessage(command, payload, { id: 3, flags, error: u32At(bytes, 12) }),
  )(({ id }) => id === 0x7fff, 'framing.echo'),
  'says No_reply in a reply': replies(({ command, payload, id, flags, bytes }) =>
    rawMessage(command, payload, { id, flags: flags | 0x10, error: u32At(bytes, 12) }),
  )(at(4), 'framing.reply-flags'),
  'forgets the first of two messages with one id': custom(
    () => ({
      request: ({ id, command }, link) =>
        command === 9 && id === 7 && link.count('seven') === 2 ? 'drop' : 'pass',
    }),
    'framing.ids-not-unique',
  ),
  'reads a header with one call': custom(
    () => ({
      chunk: (bytes, link) => {
        if (link.pending.length < 16 && bytes.length < 16 && link.commands.length > 0) link.close();
      },
    }),
    'framing.split-header',
    'framing.byte-by-byte',
  ),
  'reads a body with one call': custom(
    () => ({
      chunk: (bytes, link) => {
        if (link.pending.length >= 16 && bytes.length + link.pending.length < 32) link.close();
      },
    }),
    'framing.split-body',
    'framing.byte-by-byte',
  ),
  'drops what comes behind a whole message': custom(
    () => ({
      chunk: (bytes, link) => {
        if (bytes.length === 42) link.close();
      },
    }),
    'framing.cut-anywhere',
  ),
  'loses the end of a long row of messages': custom(
    () => ({
      request: ({ command }, link) => (command === 9 && link.count('reads') === 90 ? 'drop' : 'pass'),
    }),
    'framing.coalesced',
    'region.read-widths',
  ),
  'reads long bodies in part': hangsUp(
    both(at(10), ({ bytes }) => bytes.length > 512 * 1024 && bytes.length < 1_100_000),
    'framing.long-body',
  ),
  'takes messages of any length': accepts(({ bytes }) => bytes.length > 1_200_000, 'framing.oversized'),
  'carries out what is shorter than a header': custom(
    () => ({
      impossible: (header, link) => {
        if (u32At(header.bytes, 4) < 16) link.answer(header);
        return true;
      },
    }),
    'framing.size-below-header',
    'framing.size-of-4-gib',
  ),
  'waits for 4 GiB': custom(
    () => ({ impossible: (header) => u32At(header.bytes, 4) > 16 }),
    'framing.size-of-4-gib',
  ),
  'knows command 999': accepts(at(999), 'framing.unknown-command'),
  'does not answer command 14': ignores(at(14), 'framing.unknown-command'),
  'does DMA for its client': accepts(at(11), 'framing.server-commands'),
  'sends data with an error': replies((message) => rebuilt(message, new Uint8Array(16)))(
    at(9, { 0: BEHIND, 8: 7 }),
    'framing.error-is-header-only',
  ),
  'makes up an errno': replies(({ command, id }) =>
    rawMessage(command, new Uint8Array(), { id, flags: 0x21, error: 5000 }),
  )(at(9, { 8: 4096 }), 'framing.errno'),
  'answers what wants no answer': custom(
    () => ({
      request: (message, link) => {
        if ((message.flags & 0x10) !== 0 && message.command === 999) {
          link.say(rawMessage(999, new Uint8Array(), { id: message.id, flags: 0x21, error: 22 }));
        }
        return 'pass';
      },
    }),
    'framing.no-reply',
  ),
  'hangs up on a stray reply': hangsUp(({ flags }) => (flags & 0xf) === 1, 'framing.stray-reply'),
  'carries out messages of any type': accepts(({ flags }) => (flags & 0xf) === 2, 'framing.unknown-type'),
  'refuses flags of the future': custom(
    () => ({ request: (message, link) => (message.flags > 0xffff ? link.refuse(message) : 'pass') }),
    'framing.unknown-flags',
  ),
});
