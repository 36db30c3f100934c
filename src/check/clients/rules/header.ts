import { Command, commandName, HeaderFlag, isCommand, isReply } from '../../../protocol/index.ts';
import { practice, specification } from '../../rule.ts';
import { notApplicable } from '../../verdict.ts';
import { type ClientRule, clientRule, limitsOf } from '../client-world.ts';
import { type Said, type Session, saidIn } from '../happening.ts';

const TYPE_MASK = 0xf;
const KNOWN_FLAGS = TYPE_MASK | HeaderFlag.NO_REPLY | HeaderFlag.ERROR;
/** Longest message besides its data. */
const OVERHEAD = 65_536;

/** What a client may send (vfio-user.rst, Commands): neither DMA messages nor anything private. */
const FOR_CLIENTS: ReadonlySet<number> = new Set([
  Command.VERSION,
  Command.DMA_MAP,
  Command.DMA_UNMAP,
  Command.DEVICE_GET_INFO,
  Command.DEVICE_GET_REGION_INFO,
  Command.DEVICE_GET_REGION_IO_FDS,
  Command.DEVICE_GET_IRQ_INFO,
  Command.DEVICE_SET_IRQS,
  Command.REGION_READ,
  Command.REGION_WRITE,
  Command.DEVICE_RESET,
  Command.REGION_WRITE_MULTI,
  Command.DEVICE_FEATURE,
  Command.MIG_DATA_READ,
  Command.MIG_DATA_WRITE,
]);

/** Commands whose reply is all that they are sent for. */
const ASKS: ReadonlySet<number> = new Set([
  Command.VERSION,
  Command.DEVICE_GET_INFO,
  Command.DEVICE_GET_REGION_INFO,
  Command.DEVICE_GET_REGION_IO_FDS,
  Command.DEVICE_GET_IRQ_INFO,
  Command.REGION_READ,
  Command.MIG_DATA_READ,
]);

const isPosted = ({ header }: Said): boolean => (header.flags & HeaderFlag.NO_REPLY) !== 0;

/** A message with the id of an earlier one that had not been answered when it came. */
function reusedId(session: Session): Said | null {
  const open = new Map<number, Said>();
  for (const one of session.happenings) {
    if (one.kind === 'told' && one.to !== null) open.delete(one.to.header.messageId);
    if (one.kind !== 'said' || !isCommand(one.header.flags) || isPosted(one)) continue;
    if (open.has(one.header.messageId)) return one;
    open.set(one.header.messageId, one);
  }
  return null;
}

/** What every message has at its beginning. */
export const headerRules: readonly ClientRule[] = [
  clientRule({
    id: 'header.size',
    clause: specification('Header: Message size'),
    severity: 'must',
    title: 'every header names the size of its message',
    why: 'The size is the only way to find the next message; after a wrong one the conversation is lost.',
    check: (world) => {
      for (const session of world.sessions) {
        if (session.impossible === null) continue;
        const limit = limitsOf(session).maxDataXferSize + OVERHEAD;
        world.accuse(session, null, `a header names ${session.impossible} bytes`, `16 to ${limit} bytes`);
      }
    },
  }),
  clientRule({
    id: 'header.flags',
    clause: specification('Header: Flags; Error'),
    severity: 'must',
    title: 'a command has no unknown flags, no Error bit and no error',
    why: 'These bits are for replies and for later versions.',
    check: (world) =>
      world.demand(
        world.commands(),
        ({ header: { flags, error } }) => {
          if ((flags & ~KNOWN_FLAGS) !== 0) return `flags 0x${flags.toString(16)}`;
          return (flags & HeaderFlag.ERROR) !== 0 || error !== 0 ? `the error field says ${error}` : null;
        },
        'type 0, perhaps No_reply, and nothing else',
      ),
  }),
  clientRule({
    id: 'header.known-commands',
    clause: specification('Commands'),
    severity: 'must',
    title: 'only commands for servers are sent, and private ones only by agreement',
    why: 'A server refuses what it does not know, or closes; DMA_READ and DMA_WRITE go the other way.',
    check: (world) =>
      world.demand(
        world.commands(),
        ({ header: { command } }) => (FOR_CLIENTS.has(command) ? null : 'this is no command for a server'),
        'a command of the specification',
      ),
  }),
  clientRule({
    id: 'header.no-reply',
    clause: specification('Header: No_reply'),
    severity: 'should',
    title: 'No_reply is used only where there is nothing to be told',
    why: 'A question whose answer is not wanted is a mistake.',
    check: (world) =>
      world.demand(
        world.commands(),
        (said) => (isPosted(said) && ASKS.has(said.header.command) ? 'it was sent with No_reply' : null),
        'a command that waits for its reply',
      ),
  }),
  clientRule({
    id: 'header.ids',
    clause: practice('servers and tools match requests and replies by id alone'),
    severity: 'interoperability',
    title: 'the id of an unanswered command is not used again',
    why: 'The text allows it, but then nobody else can tell which reply belongs to which command.',
    check: (world) => {
      for (const session of world.sessions) {
        const said = reusedId(session);
        if (said !== null)
          world.accuse(
            session,
            said,
            `${commandName(said.header.command)} has id ${said.header.messageId}, which is not answered yet`,
            'another id',
          );
      }
    },
  }),
  clientRule({
    id: 'header.replies',
    clause: specification('Header: a reply has the id and the command of its request'),
    severity: 'must',
    title: 'every reply of the client answers a command of the server, once',
    why: 'A reply that nobody asked for can only be thrown away, or be taken for another.',
    check: (world) => {
      for (const session of world.sessions) {
        const asked = new Map<number, number>();
        for (const one of session.happenings) {
          if (one.kind === 'told' && one.to === null) asked.set(one.header.messageId, one.header.command);
          if (one.kind !== 'said' || !isReply(one.header.flags)) continue;
          const { messageId, command } = one.header;
          if (asked.get(messageId) !== command)
            world.accuse(
              session,
              one,
              `a reply to ${commandName(command)} ${messageId} that nobody sent`,
              'no reply',
            );
          asked.delete(messageId);
        }
      }
    },
  }),
  clientRule({
    id: 'header.fds',
    clause: specification('VFIO_USER_VERSION: max_msg_fds'),
    severity: 'must',
    title: 'no message has more fds than the server takes',
    why: 'The server closes what is too much, or the connection.',
    check: (world) => {
      const withFds = world.sessions.flatMap((session) =>
        saidIn(session)
          .filter(({ fds }) => fds.length > 0)
          .map((said) => ({ session, said })),
      );
      if (withFds.length === 0) notApplicable('the client has sent no fds');
      world.demand(
        withFds,
        ({ fds }, session) => {
          const most = limitsOf(session).maxMsgFds;
          return fds.length > most ? `it has ${fds.length} fds, the server takes ${most}` : null;
        },
        'as many as max_msg_fds allows',
      );
    },
  }),
];
