import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, statSync, symlinkSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { withDirectory } from './support.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** A copy of what the build reads, with or without the development dependencies. */
function clone(directory: string, { dependencies }: { readonly dependencies: boolean }): void {
  for (const part of ['native', 'scripts', 'package.json']) {
    cpSync(join(root, part), join(directory, part), { recursive: true });
  }
  mkdirSync(join(directory, 'node_modules'));
  if (!dependencies) return;
  symlinkSync(join(root, 'node_modules/node-api-headers'), join(directory, 'node_modules/node-api-headers'));
}

function build(directory: string, script: string, environment: Record<string, string> = {}) {
  const { status, stderr } = spawnSync(process.execPath, [join(directory, 'scripts', script)], {
    encoding: 'utf8',
    env: { ...process.env, ...environment },
  });
  return { status, stderr };
}

const binaryIn = (directory: string) => {
  const places = ['', '-musl'].map((libc) =>
    join(directory, `prebuilds/linux-${process.arch}${libc}/ferry.node`),
  );
  return places.find((place) => existsSync(place)) ?? '';
};

describe('the build of the addon', () => {
  it('makes a binary that loads, and leaves it alone until a source is newer', () => {
    withDirectory((directory) => {
      clone(directory, { dependencies: true });
      expect(build(directory, 'build-native.js')).toEqual({ status: 0, stderr: '' });
      const binary = binaryIn(directory);
      expect(
        spawnSync(process.execPath, ['-e', `require(${JSON.stringify(binary)}).eventfd(0)`]).status,
      ).toBe(0);
      const { ino } = statSync(binary);
      build(directory, 'build-native.js');
      expect(statSync(binary).ino).toBe(ino);
      utimesSync(join(directory, 'native/ferry.h'), new Date(), new Date(Date.now() + 10_000));
      expect(build(directory, 'build-native.js').status).toBe(0);
      expect(statSync(binary).ino).not.toBe(ino);
    });
  });

  it('keeps a binary that is there when there is no compiler', () => {
    withDirectory((directory) => {
      clone(directory, { dependencies: true });
      expect(build(directory, 'build-native.js').status).toBe(0);
      utimesSync(binaryIn(directory), new Date(0), new Date(0));
      const { status, stderr } = build(directory, 'build-native.js', { CC: '/nowhere/cc' });
      expect({ status, stderr }).toEqual({
        status: 0,
        stderr: 'native addon not built: no C compiler (/nowhere/cc); the present binary stays\n',
      });
    });
  });

  it('fails without a compiler where the development dependencies promise one', () => {
    withDirectory((directory) => {
      clone(directory, { dependencies: true });
      const { status, stderr } = build(directory, 'build-native.js', { CC: '/nowhere/cc' });
      expect({ status, stderr }).toEqual({
        status: 1,
        stderr: 'native addon not built: no C compiler (/nowhere/cc)\n',
      });
    });
  });

  it('passes with one line for each thing it could not build when only dependencies for users are installed', () => {
    withDirectory((directory) => {
      clone(directory, { dependencies: false });
      const { status, stderr } = build(directory, 'build.js', { CC: '/nowhere/cc' });
      expect(status).toBe(0);
      expect(stderr.trimEnd().split('\n')).toEqual([
        'native addon not built: no C compiler (/nowhere/cc)',
        'dist/ not built: TypeScript is not installed (npm ci installs it)',
      ]);
    });
  });

  it('passes on what the compiler says', () => {
    withDirectory((directory) => {
      clone(directory, { dependencies: true });
      const { status, stderr } = build(directory, 'build-native.js', { CC: 'cc -include /nowhere.h' });
      expect(status).not.toBe(0);
      expect(stderr).toContain('nowhere.h');
      expect(binaryIn(directory)).toBe('');
    });
  });
});
