import { Errno, FerryError } from '../errors/index.ts';
import { ProxyError } from './proxy-error.ts';
import type { SwapStep } from './swap-steps.ts';

/** The swap is not possible; nothing was touched. */
export function refused(why: string): ProxyError {
  return new ProxyError('ERR_SWAP_REFUSED', `the back end can't be swapped: ${why}`);
}

/** The swap has failed in this step, for this reason. */
export function failedIn(step: SwapStep, error: unknown): ProxyError {
  const errno = error instanceof FerryError ? error.errno : Errno.EIO;
  const message = `the swap failed in step "${step}": ${reasonOf(error)}`;
  return new ProxyError('ERR_SWAP_FAILED', message, { step }, { errno, cause: error });
}

/** The swap has `failed`, and then the back end at `path` did not go on: `error`. */
export function strandedAt(path: string, failed: ProxyError, error: unknown): ProxyError {
  const message = `${failed.message}; and ${path} does not run again: ${reasonOf(error)}`;
  return new ProxyError('ERR_SWAP_STRANDED', message, failed.context, { cause: error });
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
