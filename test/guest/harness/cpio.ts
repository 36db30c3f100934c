/** A file of an initramfs. */
export interface ArchiveEntry {
  readonly path: string;
  readonly content: Uint8Array | string;
}

const DIRECTORY = 0o040755;
const EXECUTABLE = 0o100755;
const TRAILER = 'TRAILER!!!';

/**
 * A cpio archive in the "newc" format, which the kernel unpacks as its first file system
 * (Documentation/driver-api/early-userspace/buffer-format.rst). Folders come first, all files are executable.
 */
export function cpio(folders: readonly string[], files: readonly ArchiveEntry[]): Buffer {
  const members = [
    ...folders.map((path) => member(path, DIRECTORY, Buffer.alloc(0))),
    ...files.map(({ path, content }) => member(path, EXECUTABLE, Buffer.from(content))),
    member(TRAILER, 0, Buffer.alloc(0)),
  ];
  return Buffer.concat(members);
}

function member(path: string, mode: number, content: Buffer): Buffer {
  const links = mode === DIRECTORY ? 2 : 1;
  const name = `${path}\0`;
  const numbers = [0, mode, 0, 0, links, 0, content.length, 0, 0, 0, 0, name.length, 0];
  const header = `070701${numbers.map((number) => number.toString(16).padStart(8, '0')).join('')}${name}`;
  return Buffer.concat([padded(Buffer.from(header)), padded(content)]);
}

/** Names (with their headers) and contents end at multiples of 4. */
function padded(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, Buffer.alloc(-bytes.length & 3)]);
}
