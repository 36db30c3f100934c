import { Command, commandName, isCommand, littleEndian, parseJson } from '../../../protocol/index.ts';
import { practice, specification } from '../../rule.ts';
import { viewOf } from '../../wire/bytes.ts';
import { type ClientRule, clientRule } from '../client-world.ts';
import { replyTo, type Said, type Session, saidIn, toldIn } from '../happening.ts';

const { VERSION } = Command;
const FIRST = specification('VFIO_USER_VERSION: the initial message');
const EXPECTED_FORM = 'major 0, and JSON of the form {"capabilities": {...}} with one NUL at its end';

/** How deep JSON of VERSION may nest, and how much of it is read. */
const DEPTH = 16;

/** What is wrong with the payload of VERSION; null: nothing. */
function wrongVersion({ payload, length }: Said): string | null {
  if (length < 4) return `the payload has ${length} bytes`;
  const major = viewOf(payload).getUint16(0, littleEndian);
  if (major !== 0) return `major version ${major}`;
  if (length === 4) return null;
  const json = payload.subarray(4);
  if (json.indexOf(0) !== json.length - 1) return 'its JSON does not end with one NUL';
  let problem: string | null = null;
  const refuse = (reason: string): never => {
    problem = reason;
    throw new SyntaxError(reason);
  };
  try {
    const root = parseJson(json.subarray(0, -1), DEPTH, refuse);
    const capabilities = new Map(Object.entries(Object(root))).get('capabilities');
    return capabilities === undefined || isPlainObject(capabilities) ? null : '"capabilities" is no object';
  } catch (error) {
    if (problem === null) throw error;
    return `its JSON can't be read: ${problem}`;
  }
}

function isPlainObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The first command that the client sent although VERSION had not led to an agreement. */
function commandAfter(session: Session, disagreement: (session: Session) => boolean): Said | null {
  if (!disagreement(session)) return null;
  const first = toldIn(session).find(({ header }) => header.command === VERSION);
  const from = first === undefined ? -1 : session.happenings.indexOf(first);
  const later = session.happenings.slice(from + 1);
  return later.find((one): one is Said => one.kind === 'said' && isCommand(one.header.flags)) ?? null;
}

/** How a conversation begins. */
export const negotiationRules: readonly ClientRule[] = [
  clientRule({
    id: 'negotiation.version-first',
    clause: FIRST,
    severity: 'must',
    title: 'the first message is VERSION',
    why: 'Before VERSION the server knows neither what the client understands nor how large its messages may be.',
    check: (world) => {
      for (const session of world.sessions) {
        const [first] = saidIn(session);
        if (first !== undefined && first.header.command !== VERSION)
          world.accuse(session, first, `it began with ${commandName(first.header.command)}`, 'VERSION');
      }
    },
  }),
  clientRule({
    id: 'negotiation.waits',
    clause: specification('VFIO_USER_VERSION: negotiation precedes all other messages'),
    severity: 'must',
    title: 'nothing is sent before the reply to VERSION',
    why: 'What is sent before may use what the server does not take, and a server that refuses closes on it.',
    check: (world) => {
      for (const session of world.sessions) {
        const [first, second] = saidIn(session);
        if (first?.header.command !== VERSION || second === undefined) continue;
        const reply = replyTo(session, first);
        if (reply === null || session.happenings.indexOf(reply) > session.happenings.indexOf(second)) {
          const name = commandName(second.header.command);
          world.accuse(
            session,
            second,
            `it sent ${name} while VERSION was not answered`,
            'to wait for the reply',
          );
        }
      }
    },
  }),
  clientRule({
    id: 'negotiation.once',
    clause: FIRST,
    severity: 'must',
    title: 'VERSION is sent once',
    why: 'Limits that change while messages are under way can not be kept to.',
    check: (world) => {
      const seen = new Set<Session>();
      for (const { session, said } of world.commands(VERSION)) {
        if (seen.has(session))
          world.accuse(session, said, 'it sent VERSION again', 'one VERSION in a connection');
        seen.add(session);
      }
    },
  }),
  clientRule({
    id: 'negotiation.form',
    clause: specification('VFIO_USER_VERSION: version data is JSON, NUL-terminated'),
    severity: 'must',
    title: 'VERSION names major version 0 and has readable capabilities',
    why: 'A server that can not read them refuses the client.',
    check: (world) => world.demand(world.commands(VERSION), wrongVersion, EXPECTED_FORM),
  }),
  clientRule({
    id: 'negotiation.no-fds',
    clause: practice('libvfio-user closes the connection when VERSION comes with fds'),
    severity: 'interoperability',
    title: 'VERSION comes without fds',
    why: 'The twin socket, the only fd of VERSION, is in the reply of the server.',
    check: (world) =>
      world.demand(
        world.commands(VERSION),
        ({ fds }) => (fds.length === 0 ? null : `it came with ${fds.length} fds`),
        'no fds',
      ),
  }),
  clientRule({
    id: 'negotiation.refused',
    clause: specification('VFIO_USER_VERSION: without agreement the connection is closed'),
    severity: 'must',
    title: 'after a refused VERSION no other command is sent',
    why: 'The server has said that it does not serve this client.',
    check: (world) => {
      const refused = (session: Session): boolean =>
        toldIn(session).some(
          ({ header, to }) => header.command === VERSION && header.error !== 0 && to !== null,
        );
      for (const session of world.playing('refuses-version', 'busy')) {
        const said = commandAfter(session, refused);
        if (said !== null)
          world.accuse(
            session,
            said,
            `it went on with ${commandName(said.header.command)}`,
            'to close the connection',
          );
      }
    },
  }),
  clientRule({
    id: 'negotiation.disagreement',
    clause: specification('VFIO_USER_VERSION: the reply has the same major version, and no higher minor'),
    severity: 'must',
    title: 'a version that was not proposed ends the conversation',
    why: 'What follows would be read by rules that the client does not know.',
    check: (world) => {
      for (const session of world.playing('other-major', 'newer-minor')) {
        const said = commandAfter(session, () => true);
        if (said !== null)
          world.accuse(
            session,
            said,
            `it went on with ${commandName(said.header.command)}`,
            'to close the connection',
          );
      }
    },
  }),
];
