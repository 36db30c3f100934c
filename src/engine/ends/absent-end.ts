import type { MigrationEnd } from '../migration-end.ts';

/** Stands for a device that can't be reached, so that the others of its group can be recovered: all fails with `why`. */
export function absentEnd(name: string, why: Error): MigrationEnd {
  const fail = (): Promise<never> => Promise.reject(why);
  return {
    name,
    flags: fail,
    state: fail,
    setState: fail,
    read: fail,
    write: fail,
    precopyInfo: fail,
    dataSize: fail,
    reset: fail,
    inspect: fail,
  };
}
