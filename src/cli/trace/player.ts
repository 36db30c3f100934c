import { Errno, type FerryError } from '../../errors/index.ts';
import type { Native } from '../../native/index.ts';
import { HEADER_SIZE, Header, HeaderFlag } from '../../protocol/index.ts';
import type { Answer, Script, ScriptedAnswer, ScriptedRequest } from '../../trace/index.ts';
import { Connection, type IncomingMessage, type Reactor } from '../../transport/index.ts';
import { StandInFds } from './stand-in-fds.ts';

/** What a server answers now; or why nothing came. */
export type Outcome = { readonly answer: Answer } | { readonly failure: FerryError };

/** What a player is made of. */
export interface PlayerOptions {
  readonly native: Native;
  readonly reactor: Reactor;
  /** Connected to the server; the player closes it. */
  readonly fd: number;
  readonly script: Script;
  /** How long a reply is waited for, in milliseconds. */
  readonly timeoutMs: number;
}

/** Room for a message beyond the longest of the recording: another server may answer more. */
const MIN_MESSAGE = 2 * 1024 * 1024;

/** Plays the client's side of a recorded connection. */
export class Player {
  readonly #connection: Connection;
  readonly #fds: StandInFds;
  readonly #answers: ScriptedAnswer[];
  readonly #timeoutMs: number;
  /** Requests of the server for which the recording has no answer; they were refused. */
  unexpected = 0;

  constructor({ native, reactor, fd, script, timeoutMs }: PlayerOptions) {
    this.#fds = new StandInFds(native);
    this.#answers = [...script.answers];
    this.#timeoutMs = timeoutMs;
    const longest = Math.max(0, ...lengthsOf(script));
    this.#connection = new Connection({
      ...{ native, reactor, fd, maxMessage: Math.max(MIN_MESSAGE, longest) },
      handler: { command: (message) => this.#answer(message), closed() {}, report() {} },
    });
  }

  /** Recorded answers to the server's requests that it has not asked for. */
  get unasked(): number {
    return this.#answers.length;
  }

  /** Sends a request; what comes back, null when it wants no reply. */
  play(request: ScriptedRequest): Promise<Outcome | null> {
    const { event, message } = request.told;
    const payload = event.bytes.subarray(HEADER_SIZE);
    return new Promise((resolve, reject) => {
      const complete = (reply: IncomingMessage | null, error: FerryError | null): void => {
        if (reply !== null) resolve({ answer: answerOf(reply) });
        else if (error !== null) resolve({ failure: error });
      };
      try {
        const fds = this.#fds.standInsFor(event.fds);
        const whenDone = request.wantsReply ? complete : null;
        const { command } = message.header;
        const at = this.#connection.request(command, payload.length, this.#timeoutMs, whenDone);
        this.#connection.out.bytes.set(payload, at);
        this.#connection.attachFds(fds);
        this.#connection.flush();
        if (whenDone === null) resolve(null);
      } catch (error) {
        reject(error);
      }
    });
  }

  close(): void {
    this.#connection.close();
    this.#fds.close();
  }

  /** A request of the server: it gets what the recorded client answered to the same one. */
  #answer(message: IncomingMessage): boolean {
    const asked = message.payload();
    const index = this.#answers.findIndex(({ request }) =>
      sameRequest(request.bytes, message.command, asked),
    );
    const [found] = index < 0 ? [] : this.#answers.splice(index, 1);
    if (found === undefined) {
      this.unexpected += 1;
      this.#connection.replyError(message, Errno.EINVAL);
      return true;
    }
    const { bytes } = found.reply;
    const { flags, error } = headerOf(bytes);
    if ((flags & HeaderFlag.ERROR) !== 0) this.#connection.replyError(message, error);
    else this.#reply(message, bytes.subarray(HEADER_SIZE));
    return true;
  }

  #reply(message: IncomingMessage, payload: Uint8Array): void {
    const at = this.#connection.reply(message, payload.length);
    if (at >= 0) this.#connection.out.bytes.set(payload, at);
  }
}

function headerOf(bytes: Uint8Array): Header {
  return Header.read(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), 0);
}

function* lengthsOf({ requests, answers }: Script): Generator<number> {
  for (const { told, reply } of requests) yield Math.max(told.event.bytes.length, reply?.bytes.length ?? 0);
  for (const { request, reply } of answers) yield Math.max(request.bytes.length, reply.bytes.length);
}

function sameRequest(recorded: Uint8Array, command: number, asked: Uint8Array): boolean {
  if (headerOf(recorded).command !== command) return false;
  return Buffer.compare(recorded.subarray(HEADER_SIZE), asked) === 0;
}

/** A copy of a reply, header included; its descriptors are closed by the connection. */
function answerOf(reply: IncomingMessage): Answer {
  return { bytes: reply.bytes.slice(reply.start - HEADER_SIZE, reply.end), fds: reply.fds.length };
}
