import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { FETCH_ADVICE, GUEST_TREE } from './tree.ts';

/** Debian's two builds of Linux: the usual one, and the one for virtual machines, with fewer drivers. */
export type Flavour = 'full' | 'cloud';

/** One kernel that guests can boot. */
export interface Kernel {
  readonly flavour: Flavour;
  /** Such as 7.2.12+deb13-amd64. */
  readonly release: string;
  /** The bootable image. */
  readonly image: string;
  /** The modules by name, with underscores, and where each is. */
  readonly modules: ReadonlyMap<string, string>;
}

/** Finds kernels, one of each flavour: below $FERRY_GUEST_KERNELS, else what was unpacked. A string says what is missing. */
export function findKernels(): readonly Kernel[] | string {
  const folder = process.env['FERRY_GUEST_KERNELS'] ?? join(GUEST_TREE, 'usr/lib/modules');
  const releases = existsSync(folder) ? readdirSync(folder) : [];
  const kernels = releases.flatMap((release) => kernelAt(join(folder, release), release) ?? []);
  const newest = (['full', 'cloud'] as const).flatMap(
    (flavour) => kernels.filter((kernel) => kernel.flavour === flavour).at(-1) ?? [],
  );
  return newest.length === 2 ? newest : `${folder} has not both flavours of Linux; ${FETCH_ADVICE}`;
}

/** The kernel whose modules are in `folder`; null when no image is with them. */
export function kernelAt(folder: string, release: string): Kernel | null {
  const image = join(folder, 'vmlinuz');
  if (!existsSync(image)) return null;
  const listed = readFileSync(join(folder, 'modules.order'), 'utf8').trim().split('\n');
  return {
    flavour: release.includes('cloud') ? 'cloud' : 'full',
    release,
    image,
    modules: new Map(listed.map((path) => [nameOf(path), join(folder, `${path}.xz`)])),
  };
}

function nameOf(path: string): string {
  return (/([^/]+)\.ko$/.exec(path)?.[1] ?? path).replaceAll('-', '_');
}

/** A module's content, ready to be loaded. */
export interface Module {
  readonly name: string;
  readonly content: Buffer;
}

/** A module and what it depends on, in the order of loading; nothing if the kernel does not have it as a module. */
export function withDependencies(kernel: Kernel, name: string): readonly Module[] {
  const file = kernel.modules.get(name);
  if (file === undefined) return [];
  const content = execFileSync('xz', ['-dc', file], { maxBuffer: 2 ** 26 });
  const depends = /\0depends=([^\0]*)\0/.exec(content.toString('latin1'))?.[1] ?? '';
  const needed = depends.split(',').filter((dependency) => dependency !== '');
  return [
    ...needed.flatMap((dependency) => withDependencies(kernel, dependency.replaceAll('-', '_'))),
    { name, content },
  ];
}
