import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  isErrorV1,
  isValidV1,
  parseV1State,
  setErrorV1,
  V1_RESET_STATE,
  V1State,
  v1Bits,
  v1Name,
  v1ReservedBits,
  v1SessionKind,
} from '../../../src/states/index.ts';

const table = [
  { bits: '000', name: 'STOP', valid: true, state: true, error: false },
  { bits: '001', name: 'RUNNING', valid: true, state: true, error: false },
  { bits: '010', name: 'STOP_COPY', valid: true, state: true, error: false },
  { bits: '011', name: 'PRE_COPY', valid: true, state: true, error: false },
  { bits: '100', name: 'RESUMING', valid: true, state: true, error: false },
  { bits: '101', name: 'invalid 101', valid: false, state: false, error: false },
  { bits: '110', name: 'ERROR', valid: false, state: true, error: true },
  { bits: '111', name: 'invalid 111', valid: false, state: false, error: false },
];

it.each(table)('$bits is $name', ({ bits, name, valid, state, error }) => {
  const value = Number.parseInt(bits, 2);
  expect(v1Bits(value)).toBe(bits);
  expect(v1Name(value)).toBe(name);
  expect(isValidV1(value)).toBe(valid);
  expect(isErrorV1(value)).toBe(error);
  expect(parseV1State(value)).toBe(state ? value : null);
});

it('begins, and is reset to, RUNNING', () => {
  expect(V1_RESET_STATE).toBe(V1State.RUNNING);
});

describe('reserved bits', () => {
  it.each([
    [0xf000, true, 'STOP with reserved bits 0xf000'],
    [0xf004, true, 'RESUMING with reserved bits 0xf000'],
    [0x8000_0001, true, 'RUNNING with reserved bits 0x80000000'],
    [0xf006, false, 'ERROR with reserved bits 0xf000'],
    [0x8, true, 'STOP with reserved bits 0x8'],
  ])('of 0x%x do not make it invalid (%s), and are told', (value, valid, name) => {
    expect(isValidV1(value)).toBe(valid);
    expect(v1Name(value)).toBe(name);
    expect(v1ReservedBits(value)).toBe(value - (value & 7));
  });

  it('have no part in which state it is', () => {
    fc.assert(
      fc.property(fc.nat(0xffff_ffff), (value) => {
        expect(parseV1State(value)).toBe(parseV1State(value & 7));
        expect(isErrorV1(value)).toBe(isErrorV1(value & 7));
      }),
    );
  });

  it('stay when the state becomes ERROR', () => {
    fc.assert(
      fc.property(fc.nat(0xffff_ffff), (value) => {
        const error = setErrorV1(value);
        expect(isErrorV1(error)).toBe(true);
        expect(v1ReservedBits(error)).toBe(v1ReservedBits(value));
      }),
    );
    expect(setErrorV1(0xffff_ffff)).toBe(0xffff_fffe);
  });
});

it('has a saving session while the state can be read, a resuming one while it can be written', () => {
  const kinds = Object.entries(V1State).map(([name, state]) => [name, v1SessionKind(state)]);
  expect(Object.fromEntries(kinds)).toEqual({
    STOP: null,
    RUNNING: null,
    STOP_COPY: 'saving',
    PRE_COPY: 'saving',
    RESUMING: 'resuming',
    ERROR: null,
  });
});
