import { Command } from 'commander';
import { readSavedContent, type SavedContent } from '../../engine/index.ts';
import { stateName } from '../../states/index.ts';
import { formatBytes } from '../options/quantities.ts';
import { EXIT_CODES_HELP } from '../outcome/exit-code.ts';
import { migrationFlagNames } from '../output/names.ts';
import { print, printable, toJson } from '../output/terminal.ts';
import { addKeyOptions, type KeyOptions } from './key-options.ts';
import { sourceAt } from './saved-file.ts';

interface Options extends KeyOptions {
  readonly json?: boolean;
}

const HELP = `
All of it is read and verified: what is shown was written by ferry save, and has not been changed since.

Examples:
  ferry show a.ferry
  ferry show both.ferry --key-file ferry.key --json
${EXIT_CODES_HELP}`;

/** `ferry show`. */
export function showCommand(): Command {
  const command = new Command('show')
    .description('show what is in a saved file')
    .argument('<file>', 'what ferry save has written');
  return addKeyOptions(command).option('--json', 'print JSON').addHelpText('after', HELP).action(run);
}

async function run(path: string, options: Options): Promise<void> {
  const source = await sourceAt(path, options);
  try {
    const content = await readSavedContent(source);
    if (options.json === true) return print(toJson(content));
    for (const line of linesOf(source.name, content)) print(line);
  } finally {
    await source.close();
  }
}

function linesOf(name: string, { summary, manifest, devices, memoryBytes }: SavedContent): string[] {
  const { group, messages, rawBytes, wireBytes } = summary;
  const memory = manifest.memory.length === 0 ? [] : [`  guest memory: ${formatBytes(memoryBytes)}`];
  return [
    `${printable(name)}: whole, ${formatBytes(wireBytes)} for ${formatBytes(rawBytes)}, ${messages} messages`,
    `  group ${group}${manifest.paused ? ', of a guest that was paused' : ''}`,
    ...devices.flatMap((device, i) => deviceLines(device, manifest.devices[i])),
    ...memory,
  ];
}

function deviceLines(
  { name, bytes, configurationBytes }: SavedContent['devices'][number],
  described: SavedContent['manifest']['devices'][number] | undefined,
): string[] {
  const flags = described?.flags === null ? [] : migrationFlagNames(BigInt(described?.flags ?? 0));
  const configuration = configurationBytes === 0 ? '' : `, configuration ${formatBytes(configurationBytes)}`;
  const identity = Object.entries(described?.identity ?? {}).map(
    ([key, value]) => `${key} ${typeof value === 'number' ? `0x${value.toString(16)}` : value}`,
  );
  return [
    `  device ${printable(name)}: ${formatBytes(bytes)}${configuration}`,
    `    was in ${stateName(described?.state ?? 0)}; ${flags.join(', ')}`,
    ...identity.map((each) => `    ${printable(each)}`),
  ];
}
