import { type Command, Option } from 'commander';
import { V1_RULE_NAMES, type V1Options } from '../../server/index.ts';
import { parseBytes } from '../options/quantities.ts';
import { UsageError } from '../outcome/usage-error.ts';

/** What the command line says about how a device offers its migration. */
export interface MigrationInterfaceOptions {
  readonly migration?: 'v1' | 'v2';
  readonly v1Rule?: string;
  readonly v1Data?: number;
}

/** Adds the options to `ferry serve`. */
export function addMigrationOptions(command: Command): Command {
  return command
    .addOption(
      new Option('--migration <interface>', 'how it is migrated: v2, or through a region as of v1')
        .choices(['v1', 'v2'])
        .default('v2'),
    )
    .addOption(
      new Option('--v1-rule <name>', 'v1: which changes of device_state are refused').choices(V1_RULE_NAMES),
    )
    .option('--v1-data <bytes>', 'v1: the longest piece, in whole pages (default: 1M)', parseBytes);
}

/** What the server is told; null: v2. Throws UsageError for options of v1 without it. */
export function v1OptionsOf({ migration, v1Rule, v1Data }: MigrationInterfaceOptions): V1Options | null {
  if (migration === 'v1') {
    return {
      ...(v1Rule === undefined ? {} : { rule: v1Rule }),
      ...(v1Data === undefined ? {} : { dataSize: v1Data }),
    };
  }
  if (v1Rule === undefined && v1Data === undefined) return null;
  throw new UsageError('--v1-rule and --v1-data belong to --migration v1');
}
