import { join } from 'node:path';
import { loadNative, type Native } from '../../native/index.ts';
import { ProcessGroup } from '../process-group.ts';
import { temporaryFolder } from '../remains.ts';
import type { Report } from '../result.ts';
import type { RuleFacts } from '../rule.ts';
import { runRules } from '../run-rules.ts';
import { type Selection, select } from '../selection.ts';
import { InconclusiveError, notApplicable } from '../verdict.ts';
import { BEHAVIOURS } from './behaviours.ts';
import { ClientWorld } from './client-world.ts';
import { Doorstep } from './doorstep.ts';
import type { Session } from './happening.ts';
import { rehearse } from './rehearsal.ts';
import { CLIENT_RULES } from './rules/index.ts';
import type { Behaviour } from './script.ts';

/** How a client is checked. */
export interface CheckClientOptions {
  /** Where the server listens, for clients that others start; null with {@link spawn}. */
  readonly socketPath: string | null;
  /** A line for the shell that starts the client, with `{socket}`; it is started once for each behaviour. */
  readonly spawn: string | null;
  /** What is played, in this order; all by default. */
  readonly behaviours?: readonly Behaviour[];
  readonly selection?: Selection;
  /** How long a client may take to connect, milliseconds. */
  readonly startMs: number;
  /** How long one behaviour is played at most, milliseconds. */
  readonly limitMs: number;
  /** How long is waited after the last connection of a behaviour whether there is another, milliseconds; 250 by default. */
  readonly quietMs?: number;
  /** Told before each behaviour. */
  readonly onPlay?: (behaviour: Behaviour, path: string) => void;
  /** Stops playing; what has been played is judged. */
  readonly signal?: AbortSignal;
  readonly native?: Native;
}

/** A rule only looks at what was written down. */
const RULE_LIMIT_MS = 60_000;
const QUIET_MS = 250;

/**
 * Plays servers of every behaviour to a client and judges what it did. Throws UnknownRuleError; InconclusiveError when no
 * client ever connects.
 */
export async function checkClient(options: CheckClientOptions): Promise<Report> {
  const rules = select(CLIENT_RULES, options.selection ?? {});
  const { sessions, logs, missed } = await playAll(options);
  const world = new ClientWorld(sessions);
  const results = await runRules({
    rules,
    limitMs: RULE_LIMIT_MS,
    stage: {
      begin: ({ needs }: RuleFacts) => {
        if (needs.includes('process') && options.spawn === null)
          notApplicable("it needs the client's process (--spawn)");
        return { world, exchange: () => world.shown, log: () => logs.join(''), end: () => {} };
      },
    },
  });
  const played = new Set(sessions.map(({ behaviour }) => behaviour)).size;
  const about = [`${played} behaviours in ${sessions.length} connections`, ...missed];
  return { kind: 'client', subject: options.spawn ?? options.socketPath ?? '', about, results };
}

async function playAll(options: CheckClientOptions) {
  const folder = temporaryFolder();
  const native = options.native ?? loadNative();
  const doorstep = new Doorstep(native, options.socketPath ?? join(folder.path, 'server.sock'));
  const sessions: Session[] = [];
  const logs: string[] = [];
  const missed: string[] = [];
  let trouble: InconclusiveError | null = null;
  try {
    for (const behaviour of options.behaviours ?? BEHAVIOURS) {
      if (options.signal?.aborted === true) break;
      try {
        sessions.push(...(await playOne(options, native, doorstep, folder.path, behaviour, logs)));
      } catch (error) {
        if (!(error instanceof InconclusiveError)) throw error;
        trouble = error;
        missed.push(`${behaviour.name} could not be played: ${error.message}`);
      }
    }
  } finally {
    doorstep.close();
    folder.remove();
  }
  if (sessions.length === 0 && trouble !== null) throw trouble;
  return { sessions, logs, missed };
}

/** One behaviour, with a client of its own where clients are started here. */
async function playOne(
  options: CheckClientOptions,
  native: Native,
  doorstep: Doorstep,
  folder: string,
  behaviour: Behaviour,
  logs: string[],
): Promise<Session[]> {
  const { spawn, startMs, limitMs, signal, quietMs = QUIET_MS } = options;
  options.onPlay?.(behaviour, doorstep.path);
  const client = spawn === null ? null : startClient(spawn.replaceAll('{socket}', doorstep.path), folder);
  try {
    const stopping = signal === undefined ? {} : { signal };
    return await rehearse({ native, doorstep, behaviour, client, startMs, limitMs, quietMs, ...stopping });
  } finally {
    await client?.stop();
    if (client !== null && client.log.trim() !== '') logs.push(`${behaviour.name}:\n${client.log}\n`);
  }
}

/** exec: the shell's pid is the client's, and so is the signal by which it ends. */
function startClient(line: string, folder: string): ProcessGroup {
  return new ProcessGroup(`exec ${line}`, folder);
}
