import { readFileSync } from 'node:fs';
import { afterAll, describe, expect, it } from 'vitest';
import { lastJson, Shell } from './ferry.ts';

const shell = new Shell();
afterAll(() => shell.close());

const commands = 'serve inspect migrate receive migration recover save restore show test-ca state demo'.split(
  ' ',
);

describe('ferry', () => {
  it('tells its version', async () => {
    const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
    expect(await shell.run('--version')).toMatchObject({ status: 0, stdout: `${version}\n` });
  });

  it.each([[], ...commands.map((name) => [name])])(
    '%s --help has examples and the exit codes',
    async (...words) => {
      const { status, stdout } = await shell.run(...words, '--help');
      expect(status).toBe(0);
      expect(stdout).toContain('Examples:\n  ferry ');
      expect(stdout).toContain('3  in doubt');
    },
  );

  it('prints its help and the status of a wrong command line when it is given nothing', async () => {
    const { status, stderr } = await shell.run();
    expect(status).toBe(2);
    expect(stderr).toContain('Usage: ferry');
  });

  it.each([
    [['frobnicate'], /unknown command 'frobnicate'/],
    [['serve'], /missing required argument 'device'/],
    [['serve', 'memory'], /give the main socket/],
    [['serve', 'memory', '--socket-path', 'a', '--fd', '3'], /cannot be used with/],
    [['serve', 'memory', '--socket-path', 'a', '--size', 'big'], /Write a size such as/],
    [['serve', 'edu', '--socket-path', 'a', '--size', '64K'], /--size belongs to the device memory/],
    [['serve', 'edu', '--socket-path', 'a', '--image', 'x'], /--image belongs to the device memory/],
    [['serve', 'vga', '--socket-path', 'a'], /there is no device vga/],
    [['serve', './nothing.js', '--socket-path', 'a'], /there is no file/],
    [['serve', 'memory', '--fd', '42'], /fd 42 is no socket/],
    [['serve', 'memory', '--socket-path', 'a', '--image', 'nothing'], /the image nothing can't be read/],
    [['migrate', 'a'], /name a SOURCE and a DESTINATION/],
    [['migrate', 'a', 'b', '--max-bandwidth', '0'], /Write a size/],
    [['state', 'a', '--set', 'ERROR'], /Write one of STOP, RUNNING/],
    [['state', 'a', '--set', 'STOP', '--reset'], /cannot be used with/],
    [['demo', '--size', '-1'], /Write a size/],
    [['inspect', 'a', '--yaml'], /unknown option '--yaml'/],
  ])('refuses %j with status 2 and one sentence', async (words, message) => {
    const { status, stdout, stderr } = await shell.run(...words);
    expect(stderr).toMatch(message);
    expect(stderr).toMatch(/^ferry: /);
    expect(stdout).toBe('');
    expect(status).toBe(2);
  });

  it('says so in JSON when asked for JSON', async () => {
    const { status, stdout, stderr } = await shell.run('inspect', '--json', '--yaml', 'a');
    expect(status).toBe(2);
    expect(lastJson(stdout)).toMatchObject({ error: { code: 'ERR_USAGE', errno: 'EINVAL', exitCode: 2 } });
    expect(stderr).toBe('');
  });

  it.each(['inspect', 'state'])('%s says what to do when nobody is there', async (command) => {
    const { status, stderr } = await shell.run(command, shell.path('nobody.sock'));
    expect(status).toBe(1);
    expect(stderr).toMatch(/cannot connect to .*nobody\.sock: ENOENT/);
    expect(stderr).toContain('next: start the server with: ferry serve');
  });

  it('names the errno in JSON', async () => {
    const { stdout } = await shell.run('inspect', shell.path('nobody.sock'), '--json');
    expect(lastJson(stdout)).toMatchObject({ error: { code: 'ERR_SOCKET', errno: 'ENOENT', exitCode: 1 } });
  });
});
