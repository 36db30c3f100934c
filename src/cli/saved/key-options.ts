import { readFile } from 'node:fs/promises';
import { type Command, Option } from 'commander';
import type { SealKey } from '../../channel/index.ts';
import { Errno, FerryError } from '../../errors/index.ts';

/** What the command line says about the encryption of a file. */
export interface KeyOptions {
  readonly keyFile?: string;
  readonly passphraseFile?: string;
}

/** Adds the options. A passphrase itself would be seen by everybody who lists processes. */
export function addKeyOptions(command: Command): Command {
  return command
    .option('--key-file <file>', 'the file is encrypted with this key: 32 random bytes or more')
    .addOption(
      new Option(
        '--passphrase-file <file>',
        'the file is encrypted with the passphrase in the first line of FILE',
      ).conflicts('keyFile'),
    );
}

/** The key; null: no encryption. Rejects with FerryError. */
export async function keyOf({ keyFile, passphraseFile }: KeyOptions): Promise<SealKey | null> {
  if (keyFile !== undefined) return { key: await read(keyFile) };
  if (passphraseFile === undefined) return null;
  const [passphrase = ''] = (await read(passphraseFile)).toString('utf8').split(/\r?\n/);
  return { passphrase };
}

async function read(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new FerryError('ERR_INPUT', `${path} can't be read: ${why}`, {
      ...{ errno: Errno.EACCES, context: { path } },
      cause,
    });
  }
}
