import { constants } from 'node:fs';
import { access, open, rename, rm, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import type { Command } from 'commander';
import { Errno, FerryError } from '../../errors/index.ts';
import { renderReport, type Story, storyOfFailure } from '../../report/index.ts';
import { failureOf } from '../outcome/failure.ts';
import { printFailure } from '../output/terminal.ts';

/** What the command line says about a report. */
export interface ReportOption {
  /** Where the page is to be. */
  readonly report?: string;
}

/** Adds where a page is written about how it went. */
export function addReportOption(command: Command): Command {
  return command.option('--report <file>', 'write a page about how it went, also when it fails (HTML)');
}

/**
 * Does the work, and writes a report of it when one is wanted, however it ends. `what` it is: what the title of a
 * failure calls it. A place where no file can be written is found before the work begins; what goes wrong later with
 * the report alone is said, and changes nothing about the outcome.
 */
export async function reported<T>(
  { report: path }: ReportOption,
  what: string,
  work: () => Promise<T>,
  storyOf: (result: T) => Story,
): Promise<T> {
  if (path === undefined) return work();
  await requireWritable(path);
  let result: T;
  try {
    result = await work();
  } catch (error) {
    await attempt(path, storyOfFailure(error, what, failureOf(error).next));
    throw error;
  }
  await attempt(path, storyOf(result));
  return result;
}

async function requireWritable(path: string): Promise<void> {
  const folder = dirname(resolve(path));
  try {
    await access(folder, constants.W_OK);
    const there = await stat(path).catch(() => null);
    if (there !== null && !there.isFile()) throw new Error('it is no file');
  } catch (error) {
    throw unwritable(path, error);
  }
}

async function attempt(path: string, story: Story): Promise<void> {
  try {
    await writeWhole(path, await renderReport(story));
  } catch (error) {
    printFailure(failureOf(unwritable(path, error)));
  }
}

/** The file is there under its name only when it is whole. */
async function writeWhole(path: string, text: string): Promise<void> {
  const beside = `${path}.${process.pid}.part`;
  try {
    const file = await open(beside, 'wx', 0o644);
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(beside, path);
  } catch (error) {
    await rm(beside, { force: true });
    throw error;
  }
}

function unwritable(path: string, error: unknown): FerryError {
  const why = error instanceof Error ? error.message : String(error);
  const message = `the report can't be written to ${path}: ${why}`;
  return new FerryError('ERR_REPORT', message, { errno: Errno.EIO, context: { path } });
}
