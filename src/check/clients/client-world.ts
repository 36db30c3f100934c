import { commandName, describeMessage, HEADER_SIZE, isCommand } from '../../protocol/index.ts';
import type { Shown } from '../exchange.ts';
import { type Rule, type RuleDeclaration, rule } from '../rule.ts';
import { broken, notApplicable } from '../verdict.ts';
import { type Happening, type Said, type Session, saidIn, type Told } from './happening.ts';
import { type Limits, MODEL_LIMITS } from './model/model-server.ts';

/** A message of a client, with its session. */
export interface Spoken {
  readonly session: Session;
  readonly said: Said;
}

/** How much of a session is shown before the message that breaks a rule. */
const SHOWN_BEFORE = 8;
const SHOWN_BYTES = 96;
const LONGEST_TEXT = 400;

/** Everything that a client under test has done, for rules to judge. */
export class ClientWorld {
  readonly sessions: readonly Session[];
  #evidence: readonly Happening[] = [];

  constructor(sessions: readonly Session[]) {
    this.sessions = sessions;
  }

  /** What led to the rule being broken that was judged last. */
  get shown(): readonly Shown[] {
    return this.#evidence.map(show);
  }

  /**
   * Every command of the client with one of these numbers (none: every command), as long as nothing had been wrong on
   * purpose in that session: what a client makes of lies is judged by rules of its own.
   */
  commands(...numbers: readonly number[]): Spoken[] {
    const found = this.sessions.flatMap((session) =>
      honest(session)
        .filter(
          (said) =>
            isCommand(said.header.flags) && (numbers.length === 0 || numbers.includes(said.header.command)),
        )
        .map((said) => ({ session, said })),
    );
    if (found.length === 0)
      notApplicable(`the client has sent no ${numbers.map(commandName).join(', no ') || 'command'}`);
    return found;
  }

  /** The sessions with one of these behaviours. */
  playing(...behaviours: readonly string[]): Session[] {
    const found = this.sessions.filter(({ behaviour }) => behaviours.includes(behaviour));
    if (found.length === 0) notApplicable(`this was not played: ${behaviours.join(', ')}`);
    return found;
  }

  /** Ends a rule: it is broken by this message, or at the end of this session. */
  accuse(session: Session, said: Said | null, what: string, expected: string): never {
    const { happenings } = session;
    const index = said === null ? happenings.length - 1 : happenings.indexOf(said);
    this.#evidence = happenings.slice(Math.max(0, index + 1 - SHOWN_BEFORE), index + 1);
    return broken(`${what} (towards a server that ${session.does})`, expected);
  }

  /** Demands something of each of these messages. */
  demand(
    spoken: readonly Spoken[],
    wrong: (said: Said, session: Session) => string | null,
    expected: string,
  ): void {
    for (const { session, said } of spoken) {
      const what = wrong(said, session);
      if (what !== null) this.accuse(session, said, `${commandName(said.header.command)}: ${what}`, expected);
    }
  }
}

/** A rule for clients. */
export type ClientRule = Rule<ClientWorld>;

/** Declares a rule for clients. */
export const clientRule = (declaration: RuleDeclaration<ClientWorld>): ClientRule => rule(declaration);

/** What the server of a session has told the client that it takes. */
export function limitsOf({ offers }: Session): Limits {
  return { ...MODEL_LIMITS, ...offers };
}

/** The messages of the client before the server did anything wrong on purpose. */
function honest(session: Session): Said[] {
  const fault = session.happenings.findIndex(
    (one) => one.kind === 'told' && one.fault !== null && one.to !== null,
  );
  const before = fault < 0 ? session.happenings : session.happenings.slice(0, fault);
  return saidIn({ ...session, happenings: before });
}

function show(happening: Happening): Shown {
  if (happening.kind === 'ended')
    return { kind: 'event', channel: 'main', text: happening.text, hex: '', bytes: 0 };
  const { header, payload } = happening;
  const kind = happening.kind === 'said' ? 'received' : 'sent';
  const fds = happening.kind === 'said' ? happening.fds.length : 0;
  const text = describeMessage(header, payload, fds).slice(0, LONGEST_TEXT) + faultText(happening);
  const hex = Buffer.from(payload.subarray(0, SHOWN_BYTES)).toString('hex');
  return { kind, channel: 'main', text, hex, bytes: HEADER_SIZE + lengthOf(happening) };
}

function faultText(happening: Said | Told): string {
  return happening.kind === 'told' && happening.fault !== null ? ` (on purpose: ${happening.fault})` : '';
}

function lengthOf(happening: Said | Told): number {
  return happening.kind === 'said' ? happening.length : happening.payload.length;
}
