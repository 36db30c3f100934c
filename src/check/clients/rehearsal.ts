import { setTimeout as delay } from 'node:timers/promises';
import type { Native } from '../../native/index.ts';
import { Exchange } from '../exchange.ts';
import type { ProcessGroup } from '../process-group.ts';
import { inconclusive } from '../verdict.ts';
import type { Doorstep } from './doorstep.ts';
import type { Session } from './happening.ts';
import type { Behaviour } from './script.ts';
import { SessionPlayer } from './session-player.ts';

/** How one behaviour is played. */
export interface RehearsalOptions {
  readonly native: Native;
  readonly doorstep: Doorstep;
  readonly behaviour: Behaviour;
  /** The client, if it was started here. */
  readonly client: ProcessGroup | null;
  /** How long the first connection is waited for, milliseconds. */
  readonly startMs: number;
  /** How long the connections of one behaviour may last together, milliseconds. */
  readonly limitMs: number;
  /** How long is waited after the last connection whether there is another, milliseconds. */
  readonly quietMs: number;
  readonly signal?: AbortSignal;
}

/** Connections of one behaviour that are played; more are closed at once and counted. */
const MOST_PLAYED = 8;
const LOOK_MS = 10;

/** Plays one behaviour to a client: to its first connection, and to those that it makes besides or afterwards. */
export async function rehearse(options: RehearsalOptions): Promise<Session[]> {
  const { doorstep, client, startMs, limitMs, quietMs } = options;
  const players: SessionPlayer[] = [];
  const runs: Promise<void>[] = [];
  let open = 0;
  let more = 0;
  const deadline = performance.now() + startMs;
  let end = Number.POSITIVE_INFINITY;
  doorstep.onConnection = (fd) => {
    if (players.length >= MOST_PLAYED) {
      more += 1;
      options.native.close(fd);
      return;
    }
    if (players.length === 0) end = performance.now() + limitMs;
    const player = playerFor(options, fd, Math.max(LOOK_MS, end - performance.now()));
    players.push(player);
    open += 1;
    runs.push(
      player.run().then(() => {
        open -= 1;
      }),
    );
  };
  try {
    while (players.length === 0) await waitForFirst(options, deadline);
    const isBusy = (): boolean => open > 0 || (client !== null && client.outcome === null);
    await untilQuiet(isBusy, quietMs, end);
  } finally {
    doorstep.onConnection = null;
  }
  // The time of each is up as well: how it ended has to be written down before anybody judges it.
  await Promise.all(runs);
  return players.map((player, index) =>
    sessionOf(options, player, index === 0 ? players.length - 1 + more : 0),
  );
}

async function waitForFirst({ client, signal, startMs }: RehearsalOptions, deadline: number): Promise<void> {
  if (signal?.aborted === true) inconclusive('it was stopped');
  if (client !== null && client.outcome !== null)
    inconclusive(`the client ended (${client.outcome}) without a connection${quoted(client.log)}`);
  if (performance.now() > deadline) inconclusive(`no client connected within ${startMs} ms`);
  await delay(LOOK_MS);
}

/** Waits until nothing has been going on for a moment; at most until `end` and that moment more. */
async function untilQuiet(isBusy: () => boolean, quietMs: number, end: number): Promise<void> {
  let quietSince = performance.now();
  while (performance.now() < end + quietMs) {
    if (isBusy()) quietSince = performance.now();
    if (performance.now() - quietSince >= quietMs) return;
    await delay(LOOK_MS);
  }
}

function playerFor({ native, behaviour }: RehearsalOptions, fd: number, limitMs: number): SessionPlayer {
  return new SessionPlayer({ native, fd, behaviour, exchange: new Exchange(), limitMs });
}

function sessionOf(options: RehearsalOptions, player: SessionPlayer, reconnections: number): Session {
  const { behaviour, client } = options;
  return {
    behaviour: behaviour.name,
    does: behaviour.does,
    offers: behaviour.offers ?? {},
    happenings: player.recorder.happenings,
    impossible: player.impossible,
    reconnections,
    exit: client?.outcome ?? null,
  };
}

function quoted(log: string): string {
  const said = log.trim();
  return said === '' ? '' : `; it said: ${said}`;
}
