import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import type { Host } from './host.ts';

/** No configuration of a kernel is longer, in bytes. */
const MAX_SETTINGS = 4 * 1024 * 1024;

/** The settings that the running kernel was built with: /boot/config-<release> or /proc/config.gz; null without both. */
export function kernelSettings(host: Host, release: string | null): ReadonlyMap<string, string> | null {
  const text =
    (release === null
      ? null
      : (host.text('boot', `config-${release}`) ?? host.text('lib/modules', release, 'config'))) ??
    compressed(host);
  if (text === null) return null;
  return new Map(
    [...text.matchAll(/^(CONFIG_\w+)=(.*)$/gm)].map(([, name = '', value = '']) => [name, value]),
  );
}

function compressed(host: Host): string | null {
  try {
    return gunzipSync(readFileSync(host.path('proc/config.gz')), { maxOutputLength: MAX_SETTINGS }).toString(
      'utf8',
    );
  } catch {
    return null;
  }
}
