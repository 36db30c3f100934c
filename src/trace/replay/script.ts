import { HeaderFlag } from '../../protocol/index.ts';
import { Conversation, type Told } from '../conversation.ts';
import type { MessageEvent, TraceEvent } from '../trace-event.ts';

/** A request of the recorded client, with what it was answered. */
export interface ScriptedRequest {
  readonly told: Told;
  /** Whether it wanted a reply. */
  readonly wantsReply: boolean;
  /** The recorded reply; null when none was wanted, or none had come when the recording ended. */
  readonly reply: MessageEvent | null;
}

/** A request of the recorded server, with what the client answered. */
export interface ScriptedAnswer {
  readonly request: MessageEvent;
  readonly reply: MessageEvent;
}

/** The client's side of one connection. */
export interface Script {
  readonly requests: readonly ScriptedRequest[];
  /** In the order of the server's requests. */
  readonly answers: readonly ScriptedAnswer[];
  /** Pieces of the client that were no message, or neither command nor reply; they are not played. */
  readonly leftOut: number;
}

/** Bytes of messages that a script may hold: it is made in memory. */
export const MAX_SCRIPT = 1024 * 1024 * 1024;

/** Makes a script from the events of one connection; null when it is too large to be held. */
export function scriptOf(events: Iterable<TraceEvent>, connection: number): Script | null {
  const conversation = new Conversation();
  const byNumber = new Map<number, Told>();
  const replies = new Map<number, MessageEvent>();
  const requests: Told[] = [];
  const asked: Told[] = [];
  let leftOut = 0;
  let size = 0;
  for (const event of events) {
    if (event.connection.number !== connection) continue;
    if (event.kind === 'bytes' && event.from === 'client') leftOut += 1;
    if (event.kind !== 'message') continue;
    size += event.bytes.length;
    if (size > MAX_SCRIPT) return null;
    const told = conversation.tell(event);
    byNumber.set(told.number, told);
    if (told.answers !== null) replies.set(told.answers, event);
    else if (told.message.kind !== 'request') leftOut += event.from === 'client' ? 1 : 0;
    else if (event.from === 'client') requests.push(told);
    else asked.push(told);
  }
  return {
    requests: requests.map((told) => scripted(told, replies.get(told.number) ?? null)),
    answers: asked.flatMap(({ event: request, number }) => {
      const reply = replies.get(number);
      return reply === undefined ? [] : [{ request, reply }];
    }),
    leftOut,
  };
}

function scripted(told: Told, reply: MessageEvent | null): ScriptedRequest {
  return { told, wantsReply: (told.message.header.flags & HeaderFlag.NO_REPLY) === 0, reply };
}
