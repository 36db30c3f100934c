import { moduleName } from '../kernel-facts.ts';
import type { Host } from './host.ts';

/** The modules that VFIO consists of, and without which there is none. */
const VFIO_MODULES = ['vfio', 'vfio_pci', 'vfio_pci_core', 'vfio_iommu_type1', 'iommufd', 'mdev'] as const;

/** Which modules of VFIO are loaded or built in. */
export function loadedModules(host: Host): string[] {
  return VFIO_MODULES.filter((name) => host.has('sys/module', name));
}

/** Every module that can be loaded, by its name; null when the folder of modules can't be read. */
export function loadableModules(host: Host, release: string | null): string[] | null {
  const folder = release === null ? null : ['lib/modules', release];
  const text = folder === null ? null : host.text(...folder, 'modules.dep');
  if (text === null || folder === null) return null;
  const builtIn = host.text(...folder, 'modules.builtin') ?? '';
  const paths = [...text.split('\n').map((line) => line.split(':')[0] ?? ''), ...builtIn.split('\n')];
  return paths.flatMap((path) => {
    const match = /([^/]+)\.ko(?:\.\w+)?$/.exec(path);
    return match?.[1] === undefined ? [] : [moduleName(match[1])];
  });
}

/** A driver that says which devices it would take if told to (modules.alias, `vfio_pci:`). */
export interface VfioAlias {
  readonly pattern: RegExp;
  readonly wildcards: number;
  readonly module: string;
}

/** The aliases by which VFIO drivers are found, as libvirt finds them. */
export function vfioAliases(host: Host, release: string | null): VfioAlias[] {
  const text = release === null ? null : host.text('lib/modules', release, 'modules.alias');
  if (text === null) return [];
  return [...text.matchAll(/^alias vfio_pci:(\S+) (\S+)$/gm)].map(([, glob = '', module = '']) => ({
    pattern: new RegExp(`^${glob.split('*').map(escaped).join('.*')}$`, 'i'),
    wildcards: glob.split('*').length,
    module: moduleName(module),
  }));
}

/** The modules whose alias fits the `modalias` of a PCI device, the most special first. */
export function matchingModules(aliases: readonly VfioAlias[], modalias: string): string[] {
  const id = modalias.replace(/^pci:/, '');
  const fitting = aliases.filter(({ pattern }) => pattern.test(id));
  return fitting.sort((a, b) => a.wildcards - b.wildcards).map(({ module }) => module);
}

function escaped(text: string): string {
  return text.replace(/[.+?^${}()|[\]\\]/g, '\\$&');
}
