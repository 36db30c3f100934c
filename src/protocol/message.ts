import { type Command, commandName } from './commands.ts';
import type { AnyPayload } from './payload.ts';

/** Which file descriptors a message may carry. */
export interface FdUse {
  /** The most that mean anything; more are closed unused. */
  readonly max: number | 'max_msg_fds';
  /** What they are. */
  readonly doc: string;
}

/** A command of the protocol with the payloads of its request and of its (successful) reply. */
export interface Message<Q extends AnyPayload = AnyPayload, P extends AnyPayload = AnyPayload> {
  readonly command: Command;
  readonly name: string;
  readonly doc: string;
  /** Who sends the request. */
  readonly sender: 'client' | 'server';
  readonly request: Q;
  readonly reply: P;
  /** Null: this direction never carries descriptors. */
  readonly fds: { readonly request: FdUse | null; readonly reply: FdUse | null };
}

/** Declares a message. */
export function message<Q extends AnyPayload, P extends AnyPayload>(declaration: {
  readonly command: Command;
  readonly doc: string;
  readonly sender?: 'client' | 'server';
  readonly request: Q;
  readonly reply: P;
  readonly fds?: { readonly request?: FdUse; readonly reply?: FdUse };
}): Message<Q, P> {
  const { command, doc, sender = 'client', request, reply, fds = {} } = declaration;
  const name = commandName(command);
  return {
    command,
    name,
    doc,
    sender,
    request,
    reply,
    fds: { request: fds.request ?? null, reply: fds.reply ?? null },
  };
}
