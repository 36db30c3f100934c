import { describe, expect, it } from 'vitest';
import { keptArguments, optionOf, serveArguments } from '../../../src/cli/upgrade/command-line.ts';

const words = (text: string): string[] => text.split(' ');

describe('the command line of a running server', () => {
  it.each([
    ['node /usr/bin/ferry serve nvme --ram 1M', 'nvme --ram 1M'],
    ['/usr/bin/node --max-old-space-size=99 main.js serve edu', 'edu'],
  ])('%s serves %s', (line, args) => {
    expect(serveArguments(words(line))).toEqual(words(args));
  });

  it('is none of a server elsewhere', () => {
    expect(serveArguments(words('node ferry inspect a.sock'))).toBeNull();
    expect(serveArguments(words('serve'))).toBeNull();
  });

  it.each([
    ['edu --socket-path /a --control-path /b --log-level info', 'edu --log-level info'],
    ['edu --socket-path=/a --spin', 'edu --spin'],
    ['nvme --take-over /a --ready-fd 3 --backend d.img', 'nvme --backend d.img'],
    ['./m.ts --option a=--fd --fd 3', './m.ts --option a=--fd'],
  ])('is kept without what the running server tells: %s', (before, after) => {
    expect(keptArguments(words(before))).toEqual(words(after));
  });

  it('has the last value of an option', () => {
    const args = words('edu --socket-path /a --socket-path=/b');
    expect(optionOf(args, '--socket-path')).toBe('/b');
    expect(optionOf(args, '--fd')).toBeNull();
  });
});
