import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { renderDissector } from '../../src/trace/index.ts';

/** Why tshark can't be asked here; null when it can (Debian: apt install tshark). */
export const NO_TSHARK: string | null =
  spawnSync('tshark', ['--version'], { timeout: 30_000 }).status === 0 ? null : 'tshark is not installed';

/** A field as tshark prints it in PDML. */
export interface TsharkField {
  readonly key: string;
  /** From the start of the record. */
  readonly position: number;
  readonly size: number;
  /** The bytes in hex; of a part of a field its value. */
  readonly value: string;
  readonly show: string;
  readonly label: string;
}

/** What tshark says with our dissector of each record of a recording; `first`: of the first so many. */
export function askTshark(recording: Uint8Array, first = 1_000_000): readonly (readonly TsharkField[])[] {
  const folder = mkdtempSync(join(tmpdir(), 'ferry-tshark-'));
  try {
    const file = join(folder, 'recording.pcapng');
    const script = join(folder, 'vfio-user.lua');
    writeFileSync(file, recording);
    writeFileSync(script, renderDissector());
    const args = ['-X', `lua_script:${script}`, '-r', file, '-T', 'pdml', '-2', '-c', String(first)];
    return parsePdml(
      execFileSync('tshark', args, {
        encoding: 'utf8',
        maxBuffer: 256 * 1024 * 1024,
        timeout: 120_000,
        stdio: ['ignore', 'pipe', 'pipe'],
      }),
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function parsePdml(text: string): readonly (readonly TsharkField[])[] {
  return text
    .split('<packet>')
    .slice(1)
    .map((packet) => {
      const tags = packet.match(/<(?:field|proto) name="[^"]*"[^>]*>/g) ?? [];
      const lost = tags.find((tag) => /"(?:_ws\.lua\.error|_ws\.malformed)/.test(tag));
      if (lost !== undefined) throw new Error(`tshark could not: ${lost}`);
      return tags.filter((tag) => tag.startsWith('<field name="vfio_user.')).map(fieldOf);
    });
}

function fieldOf(tag: string): TsharkField {
  const attribute = (name: string): string => new RegExp(` ${name}="([^"]*)"`).exec(tag)?.[1] ?? '';
  return {
    key: attribute('name'),
    position: Number(attribute('pos')),
    size: Number(attribute('size')),
    value: attribute('value'),
    show: attribute('show'),
    label: attribute('showname'),
  };
}
