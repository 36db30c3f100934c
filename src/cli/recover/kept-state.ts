import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type Channel,
  ChannelError,
  fileSink,
  fileSource,
  type Source,
  saveTo,
} from '../../channel/index.ts';
import type { Journals } from '../../journal/index.ts';

/** What a receiver has been given and has not yet run, in a file beside its journal. */
function pathOf({ name }: Journals, group: string): string {
  return join(name, `${group}.kept`);
}

/** Where to keep what comes over a channel. */
export async function keepBeside(journals: Journals, { group, epoch }: Channel['peer']): Promise<Channel> {
  await mkdir(journals.name, { recursive: true, mode: 0o700 });
  return saveTo(await fileSink(pathOf(journals, group)), { group, epoch });
}

/** What was kept; null when nothing was. The caller closes it. */
export async function keptBeside(journals: Journals, group: string): Promise<Source | null> {
  try {
    return await fileSource(pathOf(journals, group));
  } catch (error) {
    if (error instanceof ChannelError) return null;
    throw error;
  }
}

/** It is of no use any more. */
export async function forgetKept(journals: Journals, group: string): Promise<void> {
  await rm(pathOf(journals, group), { force: true });
}
