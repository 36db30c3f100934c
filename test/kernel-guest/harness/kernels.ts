import { existsSync, readdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { type Kernel, kernelAt } from '../../guest/harness/kernels.ts';

/** Where scripts/fetch-kernels.js puts kernels and their drivers. */
const TREE =
  process.env['FERRY_KERNEL_TREE'] ??
  join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'ferry-kernels');
const ADVICE = 'run `node scripts/fetch-kernels.js`';

/** The version of Debian's stable release; the other one is newer. */
export const STABLE = '6.12';

/** A kernel with the sample driver that was built for it. */
export interface DriverKernel extends Kernel {
  /** Such as 6.12. */
  readonly version: string;
  /** The file of mtty. */
  readonly mtty: string;
  /** The folder with the modules of VFIO built with iommufd, which Debian leaves out; null when they were not built. */
  readonly iommufd: string | null;
  /** It runs with those. */
  readonly hasIommufd: boolean;
}

/** The newest kernel of each version, oldest version first. A string says what is missing. */
export function findDriverKernels(): readonly DriverKernel[] | string {
  const folder = join(TREE, 'usr/lib/modules');
  const releases = existsSync(folder) ? readdirSync(folder) : [];
  const kernels = releases.flatMap((release) => driverKernelAt(join(folder, release), release) ?? []);
  const byVersion = new Map<string, DriverKernel>();
  for (const kernel of kernels.sort((a, b) => compare(a.release, b.release)))
    byVersion.set(kernel.version, kernel);
  return byVersion.size >= 2 ? [...byVersion.values()] : `${folder} has not two versions of Linux; ${ADVICE}`;
}

function driverKernelAt(folder: string, release: string): DriverKernel | null {
  const kernel = kernelAt(folder, release);
  const mtty = join(folder, 'mtty.ko');
  const [version] = /^\d+\.\d+/.exec(release) ?? [];
  if (kernel === null || version === undefined || !existsSync(mtty)) return null;
  const iommufd = join(folder, 'iommufd');
  return { ...kernel, version, mtty, iommufd: existsSync(iommufd) ? iommufd : null, hasIommufd: false };
}

/** The same kernel with the modules of VFIO that know iommufd. A string says what is missing. */
export function withIommufd(kernel: DriverKernel): DriverKernel | string {
  const { iommufd, release } = kernel;
  if (iommufd === null) return `VFIO was not built with iommufd for ${release}; ${ADVICE} --again`;
  const built = readdirSync(iommufd).filter((file) => file.endsWith('.ko.xz'));
  const modules = new Map(kernel.modules);
  for (const file of built)
    modules.set(file.slice(0, -'.ko.xz'.length).replaceAll('-', '_'), join(iommufd, file));
  return { ...kernel, modules, hasIommufd: true, mtty: join(iommufd, 'mtty.ko') };
}

/** By the numbers in them, so that 6.12.94 comes before 6.12.107. */
function compare(a: string, b: string): number {
  return a.localeCompare(b, 'en', { numeric: true });
}
