/** Builds the addon and compiles src/ to dist/. It is npm's `prepare`, so it must also pass without what is optional. */
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, writeFileSync } from 'node:fs';
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

/** Writes dist/vfio-user.lua, for those who have Wireshark but don't want to run `ferry trace dissector`. */
async function writeDissector() {
  const module = new URL('../dist/trace/index.js', import.meta.url);
  if (!existsSync(module)) return;
  const { renderDissector } = await import(module.href);
  writeFileSync(new URL('../dist/vfio-user.lua', import.meta.url), renderDissector());
}

process.exitCode = buildNative() || compileTypeScript();
if (process.exitCode === 0) await writeDissector();
if (existsSync(command)) chmodSync(command, 0o755);
