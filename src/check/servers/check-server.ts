import { loadNative, type Native } from '../../native/index.ts';
import { DeviceInfoFlag, migrationFlags } from '../../protocol/index.ts';
import type { Report, Result } from '../result.ts';
import { runRules } from '../run-rules.ts';
import { type Selection, select } from '../selection.ts';
import type { Launcher } from './instance.ts';
import { knownDevice } from './known-devices.ts';
import { SERVER_RULES } from './rules/index.ts';
import { ServerStage } from './stage.ts';

/** How a server is checked. */
export interface CheckServerOptions {
  readonly launcher: Launcher;
  readonly selection?: Selection;
  /** How long the server may take for each answer, milliseconds; 5000 by default. */
  readonly timeoutMs?: number;
  /** From which what is random is made; 1 by default. */
  readonly seed?: number;
  /** Told of each result at once. */
  readonly onResult?: (result: Result) => void;
  /** Stops before the next rule. */
  readonly signal?: AbortSignal;
  readonly native?: Native;
}

const DEFAULT_TIMEOUT_MS = 5000;
/** Twice as long as Ferry's own servers wait for VERSION. */
const SILENCE_MS = 10_000;
/** The longest that one rule takes with a server that answers each message at the last moment it may. */
const RULE_LIMIT_MS = 120_000;

/**
 * Tries every rule that is wanted on a server. Throws UnknownRuleError, and InconclusiveError when there is no server
 * at all; whatever goes wrong later is in the report.
 */
export async function checkServer(options: CheckServerOptions): Promise<Report> {
  const {
    launcher,
    selection = {},
    timeoutMs = DEFAULT_TIMEOUT_MS,
    seed = 1,
    native = loadNative(),
  } = options;
  const rules = select(SERVER_RULES, selection);
  const stage = new ServerStage({ native, launcher, timeoutMs, seed, silenceMs: SILENCE_MS, effort: 1 });
  try {
    await stage.prepare();
    const { onResult, signal } = options;
    const results = await runRules({
      ...{ rules, stage, limitMs: RULE_LIMIT_MS },
      ...(onResult === undefined ? {} : { onResult }),
      ...(signal === undefined ? {} : { signal }),
    });
    return { kind: 'server', subject: launcher.subject, about: about(stage), results };
  } finally {
    await stage.close();
  }
}

function about({ facts, oneClient }: ServerStage): readonly string[] {
  if (facts === null) return ['it could not be asked what it is'];
  const { identity, regions, irqs, deviceFlags } = facts;
  const hex = (value: number): string => value.toString(16).padStart(4, '0');
  const id = identity === null ? 'no identity' : `PCI ${hex(identity.vendor)}:${hex(identity.device)}`;
  const name = knownDevice(identity)?.name;
  const present = regions
    .filter(({ size }) => size > 0n)
    .map(({ index, size }) => `${index} (${size} bytes)`);
  const vectors = irqs.filter(({ count }) => count > 0).map(({ index, count }) => `${index} (${count})`);
  const flags = facts.migrationFlags === null ? 'none' : migrationFlags.print(BigInt(facts.migrationFlags));
  return [
    `${id}${name === undefined ? '' : `, ${name}`}; ${DeviceInfoFlag.print(deviceFlags)}`,
    `regions ${present.join(', ') || 'none'}; interrupts ${vectors.join(', ') || 'none'}`,
    ...(oneClient ? ['it serves one client, and no other after it'] : []),
    `migration: ${flags}; DMA logging: ${facts.logging ? 'yes' : 'no'}; max_data_xfer_size ${facts.maxDataXferSize}`,
  ];
}
