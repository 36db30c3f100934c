import { Command } from '../../protocol/index.ts';
import { broken } from '../verdict.ts';
import { versionPayload } from '../wire/bytes.ts';
import type { Received } from '../wire/message-cutter.ts';
import { failed } from './ask.ts';
import type { ServerWorld } from './world.ts';

/** Says VERSION on a new connection; the reply, whatever it says. */
export async function greet(
  world: ServerWorld,
  payload: Uint8Array,
  fds: readonly number[] = [],
): Promise<Received> {
  const wire = await world.connect();
  try {
    return await wire.request(Command.VERSION, payload, { fds });
  } finally {
    wire.close();
  }
}

/** Says something as the first message, and demands an error reply or the end of the connection. */
export async function turnedAway(
  world: ServerWorld,
  what: string,
  command: number,
  payload: Uint8Array,
): Promise<void> {
  const wire = await world.connect();
  const id = await wire.post(command, payload);
  const reply = await wire.replyOrEnd(id, what);
  if (reply !== null && !failed(reply))
    broken(`${what} was accepted`, 'an error reply, or the end of the connection');
  wire.close();
}

/** Demands that each of these is turned away as the first VERSION. */
export const refusesFirst =
  (cases: readonly (readonly [string, Uint8Array])[]) => async (world: ServerWorld) => {
    for (const [what, payload] of cases) await turnedAway(world, what, Command.VERSION, payload);
  };

/** The payload of VERSION that proposes these members of `capabilities`. */
export const capabilities = (text: string): Uint8Array => versionPayload(`{"capabilities":{${text}}}`);
