/** Builds the addon and compiles src/ to dist/. It is npm's `prepare`, so it must also pass without what is optional. */
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { buildNative } from './build-native.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const tsc = fileURLToPath(new URL('../node_modules/typescript/bin/tsc', import.meta.url));
const command = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));

/** @returns {number} the exit status */
function compileTypeScript() {
  if (!existsSync(tsc)) {
    console.error('dist/ not built: TypeScript is not installed (npm ci installs it)');
    return 0;
  }
  const arguments_ = [tsc, '-p', 'tsconfig.build.json'];
  return spawnSync(process.execPath, arguments_, { cwd: root, stdio: 'inherit' }).status ?? 1;
}

process.exitCode = buildNative() || compileTypeScript();
if (existsSync(command)) chmodSync(command, 0o755);
