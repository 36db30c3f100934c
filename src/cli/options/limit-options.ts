import { type Command, Option } from 'commander';
import type { MigrationLimits } from '../../engine/index.ts';
import { parseBytes, wholeNumber } from './quantities.ts';

/** What the command line says about how a migration is to go. */
export interface LimitOptions {
  readonly preCopy: boolean;
  readonly bandwidth?: number;
  readonly downtimeLimit?: number;
  readonly maxIterations?: number;
  readonly allowUnknownSize?: boolean;
  readonly switchAnyway?: boolean;
  readonly timeout?: number;
  /** Former spellings. */
  readonly maxBandwidth?: number;
  readonly downtime?: number;
}

/** Adds them. */
export function addLimitOptions(command: Command): Command {
  return command
    .option('--no-pre-copy', 'stop at once and move everything then')
    .option('--bandwidth <bytes>', 'bytes per second at most, such as 100M', parseBytes)
    .option('--downtime-limit <ms>', 'how long the guest may stand still (default: 300)', wholeNumber(1))
    .option('--max-iterations <number>', 'rounds of pre-copy at most (default: 30)', wholeNumber(1))
    .option('--allow-unknown-size', "take as long as it takes when a device can't tell how much there is")
    .option('--switch-anyway', 'when the rounds end without success, switch all the same')
    .option('--timeout <ms>', 'how long each request may take (default: 5000)', wholeNumber(1))
    .addOption(new Option('--max-bandwidth <bytes>').argParser(parseBytes).hideHelp())
    .addOption(new Option('--downtime <ms>').argParser(wholeNumber(1)).hideHelp());
}

/** The limits as the engine takes them; what was not said has the engine's default. */
export function limitsOf(options: LimitOptions): Partial<MigrationLimits> {
  const { maxIterations, allowUnknownSize = false, switchAnyway = false } = options;
  const downtimeMs = options.downtimeLimit ?? options.downtime;
  return {
    bytesPerSecond: options.bandwidth ?? options.maxBandwidth ?? null,
    allowUnknownSize,
    whenNotConverging: switchAnyway ? 'switch' : 'fail',
    ...(downtimeMs === undefined ? {} : { downtimeMs }),
    ...(maxIterations === undefined ? {} : { maxIterations }),
  };
}

/** How long requests may take, where it was said. */
export function timeoutOf({ timeout }: Pick<LimitOptions, 'timeout'>): { readonly timeoutMs?: number } {
  return timeout === undefined ? {} : { timeoutMs: timeout };
}
