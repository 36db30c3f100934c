import type { Command } from 'commander';
import { asTyped } from '../../engine/index.ts';
import { DiskJournalFiles, Journals, journalDirectory } from '../../journal/index.ts';

/** The environment variable that names the directory when the command line does not. */
const VARIABLE = 'FERRY_JOURNAL';

/** Adds where decisions are kept. */
export function addJournalOption(command: Command): Command {
  return command.option('--journal <directory>', 'where decisions are kept, for ferry recover', nonEmpty);
}

/** The journals in a directory: the one that was named, that of the environment, or that of the user. */
export function journalsIn(directory: string | undefined): Journals {
  return new Journals(new DiskJournalFiles(directory ?? process.env[VARIABLE] ?? journalDirectory()));
}

/** So long a journal is kept after its migration has ended, in milliseconds: 30 days. */
const KEPT_MS = 30 * 24 * 60 * 60_000;

/** Removes journals of which nobody has needed anything for long. What keeps it from that does not matter now. */
export async function forgetOld(journals: Journals): Promise<void> {
  await journals.prune(KEPT_MS).catch(() => {});
}

/** The command that finishes what a migration has left behind, as it is typed. */
export function recoverCommand(group: string, directory: string | undefined): string {
  const where = directory === undefined ? '' : ` --journal ${asTyped(directory)}`;
  return `ferry recover ${group}${where}`;
}

function nonEmpty(text: string): string {
  return text === '' ? '.' : text;
}
