import { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { addConfigurationOption, endOptionsOf } from '../../../src/cli/options/configuration-option.ts';

function parse(...words: string[]) {
  const command = addConfigurationOption(
    new Command().exitOverride().configureOutput({ writeErr: () => {} }),
  );
  return endOptionsOf(command.parse(words, { from: 'user' }).opts());
}

describe('--configuration', () => {
  it.each([
    ['in-state', null],
    ['at-end', 'none'],
    ['ahead', 'ahead'],
    ['every-time', 'every-time'],
  ])('%s is %o for the engine', (word, configuration) => {
    expect(parse('--configuration', word)).toEqual({ configuration });
  });

  it('leaves it to the server when nothing is said', () => {
    expect(parse()).toEqual({});
  });

  it('refuses another word', () => {
    expect(() => parse('--configuration', 'never')).toThrow(/in-state, at-end, ahead, every-time/);
  });
});
