import { Command, commandName, isCommand } from '../../../protocol/index.ts';
import { practice, specification } from '../../rule.ts';
import { notApplicable } from '../../verdict.ts';
import { type ClientRule, clientRule } from '../client-world.ts';
import { endOf, type Said, type Session, toldIn } from '../happening.ts';

const { DEVICE_GET_INFO, DEVICE_GET_REGION_INFO, DEVICE_GET_IRQ_INFO } = Command;

/** Signals by which a program ends that has gone wrong. */
const CRASHES: ReadonlySet<string> = new Set([
  'SIGSEGV',
  'SIGBUS',
  'SIGABRT',
  'SIGILL',
  'SIGFPE',
  'SIGTRAP',
  'SIGSYS',
]);
/** More connections than this, while one behaviour is played, are a loop without a pause. */
const MOST_RECONNECTIONS = 20;

/** More regions than this are endless ones; Ferry asks about 256. */
const MOST_ASKED = 512;

/** Commands that only a client sends which has believed an answer to DEVICE_GET_INFO. */
const BELIEVES: ReadonlySet<number> = new Set([DEVICE_GET_REGION_INFO, DEVICE_GET_IRQ_INFO]);

/** What the client said next to an answer that was wrong on purpose; null: nothing, or the answer was never due. */
function nextTo(session: Session, command: number): Said | null {
  const told = toldIn(session).find(({ fault, to }) => fault !== null && to?.header.command === command);
  if (told === undefined) return null;
  const after = session.happenings.slice(session.happenings.indexOf(told) + 1);
  return after.find((one): one is Said => one.kind === 'said' && isCommand(one.header.flags)) ?? null;
}

/** Whether the client ever got as far as the answer that is wrong on purpose. */
function wasPlayed(session: Session): boolean {
  return toldIn(session).some(({ fault, to }) => fault !== null && to !== null);
}

const named = ({ header }: Said): string => commandName(header.command);

/** What a client makes of a server that errs, lies or leaves. */
export const reactionRules: readonly ClientRule[] = [
  clientRule({
    id: 'reaction.wrong-id',
    clause: specification('Header: the reply has the id of its request'),
    severity: 'must',
    title: 'a reply with another id is not believed',
    why: 'It answers something else: a late reply to what had timed out, for instance.',
    check: (world) => {
      const sessions = world.playing('wrong-id').filter(wasPlayed);
      if (sessions.length === 0) notApplicable('the client never sends DEVICE_GET_INFO');
      for (const session of sessions) {
        const next = nextTo(session, DEVICE_GET_INFO);
        if (next !== null && BELIEVES.has(next.header.command))
          world.accuse(
            session,
            next,
            `it went on with ${named(next)}`,
            'to wait for the reply, or to give up',
          );
      }
    },
  }),
  clientRule({
    id: 'reaction.short-reply',
    clause: specification('argsz, count: the reply holds the structure, and the data that it names'),
    severity: 'hardening',
    title: 'a reply that is too short is not believed',
    why: 'What is missing would be read from memory that holds something else.',
    check: (world) => {
      const sessions = world.playing('short-info').filter(wasPlayed);
      if (sessions.length === 0) notApplicable('the client never sends DEVICE_GET_INFO');
      for (const session of sessions) {
        const next = nextTo(session, DEVICE_GET_INFO);
        if (next !== null && BELIEVES.has(next.header.command))
          world.accuse(session, next, `it went on with ${named(next)}`, 'to give up');
      }
    },
  }),
  clientRule({
    id: 'reaction.endless',
    clause: practice('QEMU takes at most 100 regions, Ferry asks about 256'),
    severity: 'hardening',
    title: 'a server that claims to have endless regions is not asked about all of them',
    why: 'The client would be kept busy, or allocate memory, for as long as the server likes.',
    check: (world) => {
      for (const session of world.playing('endless-regions')) {
        const asked = session.happenings.filter(
          (one) => one.kind === 'said' && one.header.command === DEVICE_GET_REGION_INFO,
        ).length;
        if (asked > MOST_ASKED)
          world.accuse(session, null, `it asked about ${asked} regions`, 'to draw a line');
      }
    },
  }),
  clientRule({
    id: 'reaction.broken-stream',
    clause: specification('Header: Message size'),
    severity: 'hardening',
    title: 'a header that no message can have ends the connection',
    why: 'Nobody knows where the next message begins: everything that follows would be misread.',
    check: (world) => {
      const sessions = world.playing('tiny-message', 'endless-message').filter(wasPlayed);
      if (sessions.length === 0) notApplicable('the client never sends DEVICE_GET_INFO');
      for (const session of sessions) {
        const next = nextTo(session, DEVICE_GET_INFO);
        if (next !== null)
          world.accuse(session, next, `it went on with ${named(next)}`, 'to close the connection');
      }
    },
  }),
  clientRule({
    id: 'reaction.leaves',
    clause: practice('a client that has no use for a refused device closes the connection'),
    severity: 'should',
    title: 'a client whose VERSION was refused does not keep the connection',
    why: 'It takes the place of one that could use the device.',
    check: (world) => {
      for (const session of world.playing('refuses-version', 'busy')) {
        const end = endOf(session);
        if (end !== null && end.by === 'server' && session.exit === null)
          world.accuse(session, null, 'it kept the connection', 'to close it');
      }
    },
  }),
  clientRule({
    id: 'reaction.no-crash',
    clause: practice('whatever a peer sends, a program ends in an orderly way'),
    severity: 'hardening',
    title: 'nothing that the server does crashes the client',
    why: 'A server that errs would take all of the VM with it.',
    needs: ['process'],
    check: (world) => {
      for (const session of world.sessions)
        if (session.exit !== null && CRASHES.has(session.exit))
          world.accuse(session, null, `it was ended by ${session.exit}`, 'to go on, or to end with a status');
    },
  }),
  clientRule({
    id: 'reaction.no-storm',
    clause: practice('a client that connects again waits in between'),
    severity: 'interoperability',
    title: 'a client that was left does not connect again and again without a pause',
    why: 'A server that restarts would be kept from it by those who wait for it.',
    check: (world) => {
      for (const session of world.sessions)
        if (session.reconnections > MOST_RECONNECTIONS)
          world.accuse(
            session,
            null,
            `it connected ${session.reconnections} times more`,
            'to wait between attempts',
          );
    },
  }),
];
