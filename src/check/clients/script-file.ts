import { Errno, type ErrnoName, FerryError } from '../../errors/index.ts';
import { commandName } from '../../protocol/index.ts';
import { type Behaviour, commandNumber, type Deed, type Offers, type Step, type When } from './script.ts';

/** A script that can't be played. */
export class ScriptError extends FerryError {
  constructor(where: string, what: string) {
    super('ERR_SCRIPT', `${where}: ${what}`, { errno: Errno.EINVAL, context: { where } });
  }
}

/** The most steps of one script, and the longest text. */
const MOST_STEPS = 1000;
const LONGEST_TEXT = 1024 * 1024;
const LARGEST = 0xffff_ffff;
const LONGEST_DELAY_MS = 600_000;

type Fields = ReadonlyMap<string, unknown>;

/**
 * Reads a behaviour from JSON: `{"name", "does", "offers": {...}, "steps": [{"when": {"command", "nth"}, "do": {"kind",
 * ...}}]}`. Commands and errno values by name. Throws ScriptError with the place of the mistake.
 */
export function parseScript(text: string): Behaviour {
  if (text.length > LONGEST_TEXT) throw new ScriptError('script', `longer than ${LONGEST_TEXT} characters`);
  const root = fieldsOf(parse(text), 'script');
  const list = root.get('steps') ?? [];
  if (!Array.isArray(list) || list.length > MOST_STEPS)
    throw new ScriptError('steps', `must be a list of at most ${MOST_STEPS}`);
  const steps = list.map((each: unknown, index) => readStep(each, `steps[${index}]`));
  return {
    name: textIn(root, 'name', 'script', 'script'),
    does: textIn(root, 'does', 'script', 'follows a script'),
    steps,
    offers: readOffers(root.get('offers')),
  };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new ScriptError('script', error instanceof Error ? error.message : String(error));
  }
}

function readStep(value: unknown, where: string): Step {
  const fields = fieldsOf(value, where);
  return {
    when: readWhen(fields.get('when'), `${where}.when`),
    do: readDeed(fields.get('do'), `${where}.do`),
  };
}

function readWhen(value: unknown, where: string): When {
  const fields = fieldsOf(value ?? {}, where);
  const name = fields.get('command') ?? null;
  const nth = fields.has('nth') ? numberIn(fields, 'nth', where, LARGEST) : null;
  if (name === null) return { command: null, nth };
  const command = typeof name === 'string' ? commandNumber(name) : null;
  if (command === null) throw new ScriptError(`${where}.command`, `is no command such as ${commandName(1)}`);
  return { command, nth };
}

function readDeed(value: unknown, where: string): Deed {
  const fields = fieldsOf(value, where);
  const kind = fields.get('kind');
  switch (kind) {
    case 'delay':
      return { kind, ms: numberIn(fields, 'ms', where, LONGEST_DELAY_MS) };
    case 'refuse':
      return { kind, errno: errnoIn(fields, where) };
    case 'silent':
    case 'wrong-id':
    case 'twice':
      return { kind };
    case 'disconnect':
      return { kind, after: fields.get('after') === true };
    case 'short':
    case 'oversized':
    case 'wrong-size':
      return { kind, bytes: numberIn(fields, 'bytes', where, kind === 'oversized' ? 1 << 26 : LARGEST) };
    case 'pieces':
      return { kind, bytes: numberIn(fields, 'bytes', where, LARGEST, 1) };
    case 'patch':
      return { kind, at: numberIn(fields, 'at', where, LARGEST), bytes: hexIn(fields, where) };
    case 'ask':
      return { kind, ask: askIn(fields, where) };
    default:
      throw new ScriptError(`${where}.kind`, `is nothing that a server can do: ${String(kind)}`);
  }
}

function readOffers(value: unknown): Offers {
  if (value === undefined) return {};
  const fields = fieldsOf(value, 'offers');
  const number = (name: string): number | undefined =>
    fields.has(name) ? numberIn(fields, name, 'offers', LARGEST) : undefined;
  const [maxMsgFds, maxDataXferSize] = [number('maxMsgFds'), number('maxDataXferSize')];
  return {
    ...(maxMsgFds === undefined ? {} : { maxMsgFds }),
    ...(maxDataXferSize === undefined ? {} : { maxDataXferSize }),
    leftInStopCopy: fields.get('leftInStopCopy') === true,
  };
}

function fieldsOf(value: unknown, where: string): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new ScriptError(where, 'must be an object');
  return new Map(Object.entries(value));
}

function textIn(fields: Fields, name: string, where: string, otherwise: string): string {
  const value = fields.get(name) ?? otherwise;
  if (typeof value !== 'string') throw new ScriptError(`${where}.${name}`, 'must be a text');
  return value;
}

function numberIn(fields: Fields, name: string, where: string, most: number, least = 0): number {
  const value = fields.get(name);
  if (typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most) return value;
  throw new ScriptError(`${where}.${name}`, `must be a whole number from ${least} to ${most}`);
}

function errnoIn(fields: Fields, where: string): number {
  const value = fields.get('errno');
  const known = Object.entries(Errno).find(([name]) => name === value);
  if (known !== undefined) return known[1];
  const example: ErrnoName = 'EINVAL';
  throw new ScriptError(`${where}.errno`, `must be a name such as ${example}`);
}

function hexIn(fields: Fields, where: string): Uint8Array {
  const value = fields.get('bytes');
  if (typeof value === 'string' && /^(?:[0-9a-f]{2})+$/i.test(value))
    return Uint8Array.from(Buffer.from(value, 'hex'));
  throw new ScriptError(`${where}.bytes`, 'must be bytes in hexadecimal');
}

function askIn(fields: Fields, where: string): Extract<Deed, { kind: 'ask' }>['ask'] {
  const value = fields.get('ask');
  const known = (['dma-read', 'dma-write', 'dma-outside', 'unknown'] as const).find((each) => each === value);
  if (known === undefined)
    throw new ScriptError(`${where}.ask`, 'must be dma-read, dma-write, dma-outside or unknown');
  return known;
}
