import type { StatFile } from './backing.ts';
import type { DirtyLog } from './dirty-log.ts';
import type { WindowBudget } from './mapped-backing.ts';

/** How an AddressSpace may differ from the usual. */
export interface AddressSpaceOptions {
  /** How many maps may exist at once. */
  readonly maxMaps?: number;
  /** Where writes of the device are recorded. */
  readonly dirtyLog?: DirtyLog;
  /** fstat, for tests. */
  readonly stat?: StatFile;
  /** How much may be mapped into this process. */
  readonly windows?: WindowBudget;
}
