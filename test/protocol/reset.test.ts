import { expect, it } from 'vitest';
import { deviceReset } from '../../src/protocol/index.ts';
import { hex } from './support.ts';

it('is empty both ways and ignores a payload', () => {
  for (const part of [deviceReset.request, deviceReset.reply]) {
    expect(part.encode({})).toHaveLength(0);
    expect(part.decode(hex('00112233'))).toEqual({});
  }
});
