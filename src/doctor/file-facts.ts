/** What a path leads to. */
export type FileKind =
  | 'socket'
  | 'character device'
  | 'file'
  | 'directory'
  | 'other'
  | 'missing'
  | 'out of reach';

/** What there is to know of a path without opening it. */
export interface FileFacts {
  readonly path: string;
  readonly kind: FileKind;
  /** Permission bits; 0 when nothing is there. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

/** Who asks: the credentials by which the kernel judges. */
export interface Caller {
  readonly uid: number;
  readonly gids: readonly number[];
}

/** Whether `caller` may read and write a file, by its permission bits; root may (capabilities(7), CAP_DAC_OVERRIDE). */
export function mayUse({ mode, uid, gid }: FileFacts, caller: Caller): boolean {
  const READ_WRITE = 0o6;
  if (caller.uid === 0) return true;
  const shift = uid === caller.uid ? 6 : caller.gids.includes(gid) ? 3 : 0;
  return ((mode >> shift) & READ_WRITE) === READ_WRITE;
}

/** Permissions as people write them: `0660, owner 0, group 107`. */
export function permissionsText({ mode, uid, gid }: FileFacts): string {
  return `${mode.toString(8).padStart(4, '0')}, owner ${uid}, group ${gid}`;
}
