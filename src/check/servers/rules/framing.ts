import { Command, commandName, HeaderFlag, isReply, RegionIndex } from '../../../protocol/index.ts';
import { specification } from '../../rule.ts';
import { demand } from '../../verdict.ts';
import { fields, rawMessage, u32At } from '../../wire/bytes.ts';
import type { Received } from '../../wire/message-cutter.ts';
import type { Wire } from '../../wire/wire.ts';
import { failed, refused, tryRead, worked } from '../ask.ts';
import { refuseEach, type ServerRule, serverRule } from '../server-rule.ts';

const HEADER = specification('Header');
const EVERYBODY = 'every later message is read at the wrong place, or both ends wait for each other for ever';
const INFO = fields(16, 0, 0, 0);
/** Of such bytes no header can be: who takes the rest of a message for the next one errs. */
const NO_HEADER = 0xff;
/** Who then goes on at every sixteenth byte does not come upon the next message by chance. */
const UNEVEN = 5;
/** How much of a long message comes first, bytes. */
const FIRST_PART = 65_536;

/** Demands an error reply or the end of the connection, and in the first case that the next message is understood. */
async function refusedOrEnded(wire: Wire, id: number, what: string): Promise<void> {
  const reply = await wire.replyOrEnd(id, what);
  if (reply === null) return;
  refused(reply, what);
  const next = await wire.replyOrEnd(
    await wire.post(Command.DEVICE_GET_INFO, INFO),
    `what came after ${what}`,
  );
  if (next !== null) inStep(next, what);
}

function inStep({ header }: Received, what: string): void {
  demand(
    header.command === Command.DEVICE_GET_INFO && isReply(header.flags),
    `what came after ${what} was answered as ${commandName(header.command)}`,
    'a reply to DEVICE_GET_INFO',
  );
}

function demandEcho(reply: Received, id: number, command: number): void {
  const { header } = reply;
  const name = commandName(command);
  demand(header.command === command, `${name} is answered as ${commandName(header.command)}`, name);
  demand(header.messageId === id, `message ${id} is answered as ${header.messageId}`, `${id}`);
}

/** How messages are cut from the stream, answered and refused. */
export const framingRules: readonly ServerRule[] = [
  serverRule({
    ...{ id: 'framing.echo', severity: 'must' },
    clause: specification('Header: message ID and command are echoed in the reply'),
    title: 'A reply has the id and the command of its message',
    why: 'a client with several messages under way can not tell whose reply it is',
    async check(world) {
      const wire = await world.open();
      for (const id of [0, 1, 0x7fff, 0xffff]) {
        for (const [command, payload] of [
          [Command.DEVICE_GET_INFO, INFO],
          [Command.REGION_READ, fields(0n, RegionIndex.CONFIG, 4)],
          [0x7777, fields()],
        ] as const) {
          await wire.post(command, payload, { id });
          demandEcho(await wire.next(`a reply to ${commandName(command)}`), id, command);
        }
      }
    },
  }),
  serverRule({
    ...{ id: 'framing.reply-flags', severity: 'must', clause: HEADER },
    title: 'A reply that worked says Reply, and neither Error nor an errno',
    why: 'clients take what is set there for a failure, or for a command',
    async check(world) {
      const { header } = await (await world.open()).request(Command.DEVICE_GET_INFO, INFO);
      demand(isReply(header.flags), `the type of the reply is ${header.flags & 0xf}`, '1');
      demand((header.flags & HeaderFlag.NO_REPLY) === 0, 'the reply says No_reply', 'a reply without it');
      const clean = (header.flags & HeaderFlag.ERROR) !== 0 || header.error === 0;
      demand(clean, `the reply has no Error flag, and error ${header.error}`, 'error 0');
    },
  }),
  serverRule({
    ...{ id: 'framing.long-body', severity: 'must', why: EVERYBODY },
    clause: specification('Read and Write Operations: count up to the max_data_xfer_size of the peer'),
    title: 'A message as long as max_data_xfer_size allows is read to its end, even if it is refused',
    async check(world) {
      const wire = await world.open();
      const count = Math.min(world.facts.maxDataXferSize, 1024 * 1024) - UNEVEN;
      // Behind the end of the configuration space: refused, so nothing changes, but only after all of it was read.
      const long = fields(0x10_0000n, RegionIndex.CONFIG, count, new Uint8Array(count).fill(NO_HEADER));
      const id = wire.nextId();
      const bytes = rawMessage(Command.REGION_WRITE, long, { id });
      await wire.send(bytes.subarray(0, FIRST_PART));
      // Whoever reads the body with one call gets less than all of it; otherwise it could be there by chance.
      await wire.wasRead();
      await wire.send(bytes.subarray(FIRST_PART));
      const what = `REGION_WRITE of ${count} bytes behind the end`;
      refused(await wire.reply(id, what), what);
      inStep(await wire.request(Command.DEVICE_GET_INFO, INFO), 'it');
      worked(await tryRead(wire, RegionIndex.CONFIG, 0n, 4), 'the message after it');
    },
  }),
  serverRule({
    ...{ id: 'framing.oversized', severity: 'must', clause: HEADER, why: EVERYBODY },
    title: 'A message longer than any that is allowed is refused and skipped, or ends the connection',
    async check(world) {
      const wire = await world.open();
      const size = Math.max(world.facts.maxDataXferSize, 1024 * 1024) + 256 * 1024;
      const id = wire.nextId();
      const bytes = rawMessage(Command.REGION_WRITE, new Uint8Array(size), { id });
      // A server that closes while it is written to is within its rights.
      await wire.send(bytes).catch(() => {});
      await refusedOrEnded(wire, id, `a message of ${bytes.length} bytes`);
    },
  }),
  serverRule({
    ...{ id: 'framing.size-below-header', severity: 'must', clause: HEADER, why: EVERYBODY },
    title: 'A size that is smaller than a header is refused, or ends the connection',
    async check(world) {
      for (const size of [0, 15]) {
        const wire = await world.open();
        await wire.send(rawMessage(Command.DEVICE_GET_INFO, fields(), { id: 77, size }));
        await refusedOrEnded(wire, 77, `a size of ${size}`);
        wire.close();
      }
    },
  }),
  serverRule({
    ...{ id: 'framing.size-of-4-gib', severity: 'hardening' },
    clause: specification('Security Considerations'),
    title: 'A size of 4 GiB is refused, or ends the connection, before the bytes have come',
    why: 'a server that makes room for it can be ended by anybody who can connect',
    async check(world) {
      const wire = await world.open();
      await wire.send(rawMessage(Command.REGION_WRITE, fields(), { id: 78, size: 0xffff_fff0 }));
      const reply = await wire.replyOrEnd(78, 'a size of 4 GiB');
      if (reply !== null) refused(reply, 'a size of 4 GiB');
    },
  }),
  serverRule({
    ...{ id: 'framing.unknown-command', severity: 'must' },
    clause: specification('Commands; Header: each command message must be replied to'),
    title: 'A command that does not exist gets an error reply, and the connection goes on',
    why: 'a client asks for what a newer protocol has, and goes on without it',
    async check(world) {
      const wire = await world.open();
      const numbers = [0, 14, 19, 999, 0xffff];
      await refuseEach(
        wire,
        numbers.map((number) => [`command ${number}`, number, fields()]),
      );
      await refuseEach(
        wire,
        numbers.map((number) => [`command ${number} with a payload`, number, INFO]),
      );
    },
  }),
  serverRule({
    ...{ id: 'framing.server-commands', severity: 'must' },
    clause: specification('Commands: server -> client'),
    title: 'Commands that are the server’s to send are refused when a client sends them',
    why: 'a server that carries them out reads or writes where a client must not',
    async check(world) {
      await refuseEach(await world.open(), [
        ['DMA_READ from a client', Command.DMA_READ, fields(0n, 4n)],
        ['DMA_WRITE from a client', Command.DMA_WRITE, fields(0n, 4n, 0)],
      ]);
    },
  }),
  serverRule({
    ...{ id: 'framing.error-is-header-only', severity: 'must' },
    clause: specification('Header: if an error occurs, the reply message must only include the reply header'),
    title: 'An error reply is the header alone',
    why: 'a client that reads the 16 bytes that are due takes the rest for the next message',
    async check(world) {
      const wire = await world.open();
      for (const [what, command, payload] of [
        ['REGION_READ behind the end', Command.REGION_READ, fields(0x10_0000n, RegionIndex.CONFIG, 4)],
        ['REGION_WRITE behind the end', Command.REGION_WRITE, fields(0x10_0000n, RegionIndex.CONFIG, 4, 0)],
        ['DEVICE_FEATURE SET of feature 0xfff', Command.DEVICE_FEATURE, fields(16, 0x2_0fff, 0, 0)],
        ['an impossible DMA_UNMAP', Command.DMA_UNMAP, fields(24, 0, 0xdead_0000n, 0x1000n)],
        [
          'DEVICE_GET_REGION_INFO of region 4096',
          Command.DEVICE_GET_REGION_INFO,
          fields(32, 0, 4096, 0, 0n, 0n),
        ],
      ] as const) {
        const reply = await wire.request(command, payload);
        if (!failed(reply)) continue;
        const { length } = reply.payload;
        demand(length === 0, `the error reply to ${what} has ${length} bytes behind its header`, 'none');
      }
    },
  }),
  serverRule({
    ...{ id: 'framing.errno', severity: 'should' },
    clause: specification('Header: Error is an optional UNIX errno value'),
    title: 'The errno of an error reply is one',
    why: 'clients hand it on to those who can make sense of it',
    async check(world) {
      const wire = await world.open();
      const reply = await wire.request(Command.REGION_READ, fields(0n, 4096, 4));
      const { error } = reply.header;
      demand(!failed(reply) || (error >= 0 && error < 4096), `the errno is ${error}`, 'a number below 4096');
    },
  }),
  serverRule({
    ...{ id: 'framing.no-reply', severity: 'must' },
    clause: specification('Header: No_reply in a command message indicates that no reply is needed'),
    title: 'A command with No_reply gets no reply, whether it works or fails',
    why: 'QEMU posts writes so; a reply that it does not expect puts it out of step',
    async check(world) {
      const wire = await world.open();
      const posted = [
        await wire.post(Command.REGION_READ, fields(0n, RegionIndex.CONFIG, 4), {
          flags: HeaderFlag.NO_REPLY,
        }),
        await wire.post(Command.REGION_READ, fields(0n, 4096, 4), { flags: HeaderFlag.NO_REPLY }),
        await wire.post(999, INFO, { flags: HeaderFlag.NO_REPLY }),
      ];
      await wire.request(Command.DEVICE_GET_INFO, INFO);
      const reply = wire.take(({ header }) => posted.includes(header.messageId));
      demand(
        reply === null,
        `${commandName(reply?.header.command ?? 0)} with No_reply was answered`,
        'no reply',
      );
    },
  }),
  serverRule({
    ...{ id: 'framing.stray-reply', severity: 'hardening', clause: HEADER },
    title: 'A reply to nothing is ignored or refused, and the connection goes on',
    why: 'a reply that comes too late is no reason to lose the device',
    async check(world) {
      const wire = await world.open();
      await wire.send(rawMessage(Command.DMA_READ, fields(0n, 4n, 0), { id: 81, flags: 1 }));
      worked(await wire.request(Command.DEVICE_GET_INFO, INFO), 'the message after a stray reply');
    },
  }),
  serverRule({
    ...{ id: 'framing.unknown-type', severity: 'should', clause: HEADER },
    title: 'A message that is neither command nor reply is refused, or ends the connection',
    why: 'it means something that this server does not understand',
    async check(world) {
      const wire = await world.open();
      await wire.send(rawMessage(Command.DEVICE_GET_INFO, INFO, { id: 80, flags: 2 }));
      const id = await wire.post(Command.DEVICE_GET_INFO, INFO);
      await wire.replyOrEnd(id, 'the message after one of type 2');
      const reply = wire.take(({ header }) => header.messageId === 80);
      demand(reply === null || failed(reply), 'a message of type 2 was carried out', 'an error');
    },
  }),
  serverRule({
    ...{ id: 'framing.unknown-flags', severity: 'should' },
    clause: specification('Header: the bits that are defined'),
    title: 'Flags that have no meaning yet are ignored',
    why: 'a newer client may set them',
    async check(world) {
      const wire = await world.open();
      const reply = await wire.request(Command.DEVICE_GET_INFO, INFO, { flags: 0xffff_ff00 });
      demand(
        u32At(worked(reply, 'DEVICE_GET_INFO with unknown flags'), 0) >= 16,
        'the reply is empty',
        'the answer',
      );
    },
  }),
];
