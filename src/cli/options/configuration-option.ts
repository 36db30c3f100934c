import { type Command, Option } from 'commander';
import type { ClientEndOptions, ConfigurationNeed } from '../../engine/index.ts';

/** The words for how a configuration space travels. */
const WAYS: ReadonlyMap<string, ConfigurationNeed | null> = new Map([
  ['in-state', null],
  ['at-end', 'none'],
  ['ahead', 'ahead'],
  ['every-time', 'every-time'],
]);

/** What the command line says of that. */
export interface ConfigurationOption {
  readonly configuration?: string;
}

/** Adds it to a command that moves devices. */
export function addConfigurationOption(command: Command): Command {
  const what = 'how the configuration space travels, for servers that do not say; on both sides the same';
  return command.addOption(new Option('--configuration <how>', what).choices([...WAYS.keys()]));
}

/** What ends are made with; nothing when nothing was said: the server knows, or it is in the device's state. */
export function endOptionsOf({ configuration }: ConfigurationOption): ClientEndOptions {
  const need = configuration === undefined ? undefined : WAYS.get(configuration);
  return need === undefined ? {} : { configuration: need };
}
