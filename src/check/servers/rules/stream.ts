import { Command, decodeHeader, HEADER_SIZE, RegionIndex } from '../../../protocol/index.ts';
import { practice, specification } from '../../rule.ts';
import { demand } from '../../verdict.ts';
import { fields, joined, rawMessage } from '../../wire/bytes.ts';
import type { Wire } from '../../wire/wire.ts';
import { tryRead, worked } from '../ask.ts';
import { type ServerRule, serverRule } from '../server-rule.ts';
import type { ServerWorld } from '../world.ts';

const STREAM = practice('unix(7), SOCK_STREAM: message boundaries are not kept');
const EVERYBODY = 'every later message is read at the wrong place, or both ends wait for each other for ever';

/** Bytes of a configuration space access that spans header and body. */
const READ = (id: number, offset = 0n): Uint8Array =>
  rawMessage(Command.REGION_READ, fields(offset, RegionIndex.CONFIG, 4), { id });

async function inPieces(wire: Wire, bytes: Uint8Array, sizes: readonly number[]): Promise<void> {
  let at = 0;
  for (const size of [...sizes, bytes.length]) {
    const piece = bytes.subarray(at, at + size);
    if (piece.length > 0) await wire.send(piece);
    at += size;
    await wire.wasRead();
  }
}

/** Sends a message in pieces; demands that it is answered as if it had come whole, and that the next one is too. */
async function answersPieces(world: ServerWorld, bytes: Uint8Array, sizes: readonly number[]): Promise<void> {
  const wire = await world.open();
  await inPieces(wire, bytes, sizes);
  const { messageId: id } = decodeHeader(bytes);
  worked(await wire.reply(id, 'a message in pieces'), 'a message in pieces');
  worked(await tryRead(wire, RegionIndex.CONFIG, 0n, 4), 'the message after it');
}

/** How messages are cut from the stream, wherever it was written in pieces. */
export const streamRules: readonly ServerRule[] = [
  serverRule({
    ...{ id: 'framing.ids-not-unique', severity: 'must' },
    clause: specification('Header: Message IDs can be re-used (even concurrently)'),
    title: 'Two messages with the same id are both answered',
    why: 'ids belong to the sender; the server may not assume that they are unique',
    async check(world) {
      const wire = await world.open();
      await wire.send(joined(READ(7), READ(7, 4n)));
      worked(await wire.reply(7, 'the first'));
      worked(await wire.reply(7, 'the second'));
    },
  }),
  serverRule({
    ...{ id: 'framing.split-header', severity: 'must', clause: STREAM, why: EVERYBODY },
    title: 'A header that comes in pieces is put together',
    check: (world) => answersPieces(world, READ(9), [1, 6, 5]),
  }),
  serverRule({
    ...{ id: 'framing.split-body', severity: 'must', clause: STREAM, why: EVERYBODY },
    title: 'A body that comes after its header, and in pieces, is put together',
    check: (world) => answersPieces(world, READ(9), [HEADER_SIZE, 3, 8]),
  }),
  serverRule({
    ...{ id: 'framing.byte-by-byte', severity: 'must', clause: STREAM, why: EVERYBODY },
    title: 'A message that comes a byte at a time is put together',
    check: (world) =>
      answersPieces(
        world,
        READ(9),
        Array.from({ length: 31 }, () => 1),
      ),
  }),
  serverRule({
    ...{ id: 'framing.coalesced', severity: 'must' },
    clause: specification('Command Concurrency: a client may pipeline multiple commands'),
    title: 'A hundred messages in one write are all answered, in their order',
    why: 'QEMU sends its DMA maps without waiting for replies',
    async check(world) {
      const wire = await world.open();
      const ids = Array.from({ length: 100 }, (_, index) => 1000 + index);
      await wire.send(joined(...ids.map((id) => READ(id, BigInt((4 * id) % 64)))));
      for (const id of ids) {
        const { header } = await wire.next(`a reply to message ${id}`);
        demand(
          header.messageId === id,
          `reply ${header.messageId} came when ${id} was due`,
          'replies in order',
        );
      }
    },
  }),
  serverRule({
    ...{ id: 'framing.cut-anywhere', severity: 'must', clause: STREAM, why: EVERYBODY },
    title: 'Messages are cut right when a write ends in the middle of the second',
    async check(world) {
      const wire = await world.open();
      const both = joined(READ(21), READ(22, 4n));
      await inPieces(wire, both, [HEADER_SIZE + 16 + 10]);
      worked(await wire.reply(21, 'the first'));
      worked(await wire.reply(22, 'the second'));
    },
  }),
];
