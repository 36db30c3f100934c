import { Errno, FerryError } from '../../../errors/index.ts';
import type { SourcePlace } from './source-place.ts';

/** What can be wrong with an author's module; each has its next step (advice.ts). */
export type ModuleErrorCode =
  /** It is no JavaScript or TypeScript. */
  | 'ERR_MODULE_SYNTAX'
  /** It is a module, but its package.json says otherwise. */
  | 'ERR_MODULE_COMMONJS'
  /** It imports what is not there. */
  | 'ERR_MODULE_IMPORT'
  /** Its code, or the constructor of its device, threw. */
  | 'ERR_MODULE_FAILED'
  /** Its default export is no device. */
  | 'ERR_MODULE_NO_DEVICE';

/** An author's module can't be used. The message begins with the file and, where it is known, the line. */
export class ModuleError extends FerryError {
  constructor(code: ModuleErrorCode, { file, line }: SourcePlace, reason: string, cause?: unknown) {
    super(code, `${file}${line === null ? '' : `:${line}`}: ${reason}`, {
      errno: Errno.EINVAL,
      context: { file, line },
      cause,
    });
  }
}
