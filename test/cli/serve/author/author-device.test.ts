import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DeviceClient } from '../../../../src/client/index.ts';
import { Shell } from '../../ferry.ts';

let shell: Shell;
beforeEach(() => {
  shell = new Shell();
});
afterEach(() => shell.close());

/** Files of an author, by their names. */
function write(files: Readonly<Record<string, string>>): void {
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(shell.path(name)), { recursive: true });
    writeFileSync(shell.path(name), text);
  }
}

/** What the device of a module says in its only register. */
async function registerOf(module: string, ...words: readonly string[]): Promise<number> {
  await shell.serve(module, 'a.sock', ...words);
  const client = await DeviceClient.connect(shell.path('a.sock'));
  try {
    return await client.readU32(0, 0);
  } finally {
    client.close();
  }
}

/** A device in TypeScript that Node.js 20 can't run as it is. */
const TYPED = `
import { field, PciDevice, type RegisterMap, u32 } from 'vfio-ferry/device';
import { FerryError } from 'vfio-ferry';
import { VENDOR } from './ids.ts';

interface Options { readonly word?: string }

export default class Typed extends PciDevice {
  readonly identity = { kind: 'typed', vendor: VENDOR, device: 0x10f1, classCode: 0xff0000 };
  readonly state = this.migratable({ word: u32({ initial: 7 }) });
  readonly interrupts = {};
  readonly bars = { 0: this.registers(4096, { 0: field(this.state, 'word') } satisfies RegisterMap) };

  constructor({ word }: Options = {}) {
    super();
    if (word !== undefined) this.state.word = Number(word);
    if (FerryError.name !== 'FerryError') throw new Error('the package has another room');
  }
}
`;
const TYPESCRIPT = { 'typed.ts': TYPED, 'ids.ts': 'export const VENDOR: number = 0x1af4;\n' };

/** The same in JavaScript. */
const JAVASCRIPT = {
  'plain.mjs': TYPED.replace('type RegisterMap, ', '')
    .replace(' satisfies RegisterMap', '')
    .replace(/^interface.*$/m, '')
    .replace(': Options', '')
    .replaceAll('readonly ', '')
    .replace('ids.ts', 'ids.mjs'),
  'ids.mjs': 'export const VENDOR = 0x1af4;\n',
};

describe("an author's module", () => {
  it.each([
    ['TypeScript', './typed.ts', TYPESCRIPT],
    ['JavaScript', './plain.mjs', JAVASCRIPT],
  ])('in %s finds the package that serves it when it has none of its own', async (_, module, files) => {
    write(files);
    expect(await registerOf(module)).toBe(7);
  });

  it.each([
    ['TypeScript', './typed.ts', TYPESCRIPT],
    ['JavaScript', './plain.mjs', JAVASCRIPT],
  ])('in %s is served on a thread of its own', async (_, module, files) => {
    write(files);
    expect(await registerOf(module, '--dedicated')).toBe(7);
  });

  it('gets the options of the command line', async () => {
    write(TYPESCRIPT);
    expect(await registerOf('./typed.ts', '--option', 'word=99')).toBe(99);
  });

  it('leaves nothing behind', async () => {
    write(TYPESCRIPT);
    const before = readdirSync(shell.folder);
    const server = await shell.serve('./typed.ts', 'a.sock');
    expect(await server.kill('SIGTERM')).toMatchObject({ status: 0, stderr: '' });
    expect(readdirSync(shell.folder)).toEqual(before);
  });

  it.each(['typed.ts', 'typed.mjs'])(
    '%s uses the package of the project that it belongs to',
    async (name) => {
      const device = new URL('../../../../dist/device/index.js', import.meta.url).href;
      const text = `import { MARK, PciDevice, constant } from 'vfio-ferry/device';
      export default class Marked extends PciDevice {
        identity = { kind: 'marked', vendor: 0x1af4, device: 0x10f1, classCode: 0xff0000 };
        bars = { 0: this.registers(4096, { 0: constant(MARK) }) };
        interrupts = {};
      }`;
      write({
        [name]: text,
        'node_modules/vfio-ferry/package.json': JSON.stringify({
          name: 'vfio-ferry',
          type: 'module',
          exports: { './device': './device.js', './package.json': './package.json' },
        }),
        'node_modules/vfio-ferry/device.js': `export * from ${JSON.stringify(device)};\nexport const MARK = 0x77;\n`,
      });
      expect(await registerOf(`./${name}`)).toBe(0x77);
    },
  );
});

describe("what is wrong with an author's module", () => {
  const IMPORT = "import { PciDevice } from 'vfio-ferry/device';\n";
  const CASES: readonly (readonly [
    what: string,
    text: string,
    line: number | null,
    said: string,
    next: string,
  ])[] = [
    ['is no code', `${IMPORT}\nexport default class {\n  a = { b: 1 ;\n}\n`, 4, '', 'correct that line'],
    [
      'imports no file',
      `${IMPORT}\nimport './absent.mjs';\n`,
      3,
      'absent.mjs, which is not there',
      'npm install',
    ],
    ['imports no package', `import 'no-such-package';\n`, 1, 'it imports no-such-package', 'npm install'],
    [
      'imports a name that is not exported',
      "\nimport { Absent } from 'vfio-ferry/device';\nexport default class extends Absent {}\n",
      null,
      "'vfio-ferry/device' does not provide an export named 'Absent'",
      'correct the name',
    ],
    ['throws', '\n\nnull.oops;\n', 3, 'it threw while it was loaded: Cannot read', 'correct what threw'],
    [
      'has no default export',
      'export const device = 1;\n',
      null,
      'it has no default export',
      'export the device',
    ],
    ['exports a number', '\nexport default 42;\n', 2, 'its default export is no device', 'extends PciDevice'],
    [
      'exports another class',
      'export default class A {}\n',
      1,
      'class A does not extend PciDevice',
      'extends PciDevice',
    ],
    [
      'exports a class that throws',
      `${IMPORT}export default class extends PciDevice {\n  constructor() {\n    super();\n    throw new Error('no luck');\n  }\n}\n`,
      5,
      "the device can't be made: no luck",
      'correct what threw',
    ],
    [
      'declares what Ferry refuses',
      `${IMPORT}export default class extends PciDevice {\n  a = this.migratable({});\n  b = this.migratable({});\n}\n`,
      4,
      "the device can't be made: a device declares its state once",
      'correct what threw',
    ],
    [
      'exports a function that throws',
      'export default () => {\n  throw "a string";\n};\n',
      null,
      'a string',
      'correct',
    ],
  ];
  const table = CASES.flatMap((each) => ['wrong.ts', 'wrong.mjs'].map((name) => [name, ...each] as const));

  it.each(table)(
    '%s, which %s, is told with its place and the next step',
    async (name, _, text, line, said, next) => {
      write({ [name]: text });
      const { status, stderr, stdout } = await shell.run(
        'serve',
        `./${name}`,
        '--socket-path',
        shell.path('a.sock'),
      );
      expect(stderr).toContain(`${shell.path(name)}:${line ?? ''}`);
      expect(stderr).toContain(said);
      expect(stderr).toMatch(new RegExp(`\\n {2}next: .*${next}`));
      expect(stderr).not.toContain('    at ');
      expect([status, stdout]).toEqual([1, '']);
    },
  );

  it('is told as well from a thread of its own, and in JSON with a code', async () => {
    write({ 'wrong.ts': '\nexport default 42;\n' });
    const words = ['--socket-path', shell.path('a.sock'), '--dedicated', '--json'];
    const { status, stdout } = await shell.run('serve', './wrong.ts', ...words);
    expect(status).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'ERR_MODULE_NO_DEVICE', errno: 'EINVAL' } });
  });

  it('can be its package.json', async () => {
    write({ 'package.json': '{"type": "commonjs"}', 'module.js': `${IMPORT}export default 1;\n` });
    const { stderr } = await shell.run('serve', './module.js', '--socket-path', shell.path('a.sock'));
    expect(stderr).toContain(`${shell.path('module.js')}:1: Node takes it for CommonJS`);
    expect(stderr).toContain('next: npm pkg set type=module');
  });

  it('is looked for in the file that it imports', async () => {
    write({ 'good.ts': "import './bad.ts';\n", 'bad.ts': '\nconst a: number = ;\n' });
    const { stderr } = await shell.run('serve', './good.ts', '--socket-path', shell.path('a.sock'));
    expect(stderr).toMatch(/\/(bad\.ts:2|good\.ts): /);
  });

  it('can be that there is no such file', async () => {
    const { status, stderr } = await shell.run('serve', './none.ts', '--socket-path', shell.path('a.sock'));
    expect(status).toBe(2);
    expect(stderr).toContain(`there is no file ${shell.path('none.ts')}`);
  });

  it('is not that an option is meant for another device', async () => {
    const words = ['--socket-path', shell.path('a.sock'), '--option', 'a=1'];
    const { status, stderr } = await shell.run('serve', 'edu', ...words);
    expect(status).toBe(2);
    expect(stderr).toContain('--option belongs to a module of yours, not to edu');
  });
});
