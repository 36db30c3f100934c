import { type Body, type BodyInput, type BodyValue, body } from './body.ts';
import { Cursor, malformed } from './cursor.ts';
import type { FieldPlace, Fields, Struct, StructValue } from './layout.ts';
import type { BodyShape, Tail } from './tail.ts';
import type { OlderElement } from './tails.ts';

/** Something that must hold for a message by itself, whatever the device is like. */
export interface Rule<T> {
  /** The field that the error names, as in the value. */
  readonly field: string;
  /** What must hold, as the rest of a sentence that begins "field must": `be at least 16`. */
  readonly must: string;
  /** Where the rule and its errno come from. */
  readonly source: string;
  /** EINVAL unless told otherwise. */
  readonly errno?: number;
  holds(value: T): boolean;
}

/** A rule on the number of file descriptors that came with the message. */
export interface FdRule<T> {
  readonly must: string;
  readonly source: string;
  readonly errno?: number;
  holds(value: T, fds: number): boolean;
}

/** What happens to bytes after the end of a payload. */
export type Trailing = 'refused' | 'tolerated';

/** The declaration of a payload. */
export interface PayloadDeclaration<F extends Fields, N extends string, V, L extends string> {
  readonly fixed: Struct<F>;
  readonly tail?: Tail<N, V, L>;
  /** `refused` unless told otherwise. */
  readonly trailing?: Trailing;
  /** Rules on the fixed part, checked before the tail is read. */
  readonly fixedRules?: readonly Rule<NoInfer<StructValue<F>>>[];
  readonly rules?: readonly Rule<NoInfer<BodyValue<F, N, V>>>[];
  readonly fdRules?: readonly FdRule<NoInfer<BodyValue<F, N, V>>>[];
  /** An older form of the fixed part, accepted when the message is exactly as long as it. */
  readonly older?: OlderElement<StructValue<F>>;
}

/** What is the same for every payload: enough to decode, print and document it without knowing its type. */
export interface AnyPayload {
  /** Command and direction: `DMA_MAP request`. */
  readonly label: string;
  readonly shape: BodyShape;
  readonly older: BodyShape['fixed'] | null;
  readonly trailing: Trailing;
  readonly rules: readonly Omit<Rule<never>, 'holds'>[];
  readonly fdRules: readonly Omit<FdRule<never>, 'holds'>[];
  /** The smallest payload that can be right, in bytes. */
  readonly minSize: number;
  decode(bytes: Uint8Array, fds?: number): object;
  /** Decodes and prints in one go. */
  describe(bytes: Uint8Array): string;
}

/** The payload of one message in one direction, with everything that follows from its declaration. */
export interface Payload<F extends Fields, N extends string, V, L extends string> extends AnyPayload {
  readonly fixed: Struct<F>;
  /** Byte offsets of the fixed fields, from the end of the header. */
  readonly at: Struct<F>['at'];
  /**
   * Bytes to value. Throws ProtocolError (EINVAL unless a rule says otherwise) with the message, the field and the
   * byte when the bytes are short, too many, inconsistent or break a rule. Byte fields are views, not copies.
   * `fds`: how many file descriptors came along; without it the rules on them are not checked.
   */
  decode(bytes: Uint8Array, fds?: number): BodyValue<F, N, V>;
  /** Value to bytes. Computes the fields that follow from the tail and checks every rule. Throws ProtocolError. */
  encode(value: BodyInput<F, N, V, L>, fds?: number): Uint8Array;
  /** Throws ProtocolError when the value breaks a rule. */
  check(value: BodyValue<F, N, V>, fds?: number): void;
  /** One line of `name=value`. */
  print(value: BodyValue<F, N, V>): string;
}

/** The value that a payload decodes to. */
export type ValueOf<P extends { decode(bytes: Uint8Array): unknown }> = ReturnType<P['decode']>;

/** Declares a payload: a fixed part, perhaps a tail, and the rules that hold for them. */
export function payload<F extends Fields, N extends string = never, V = never, L extends string = never>(
  label: string,
  declaration: PayloadDeclaration<F, N, V, L>,
): Payload<F, N, V, L> {
  const { fixed, tail = null, trailing = 'refused', fixedRules = [], rules = [], fdRules = [] } = declaration;
  const older = declaration.older ?? null;
  const whole = body(fixed, tail);
  const checkFixed = (value: StructValue<F>): void => {
    checkFields(label, fixed.fields, value);
    checkRules(label, fixed.fields, fixedRules, value);
  };
  const checkWhole = (value: BodyValue<F, N, V>, fds?: number): void => {
    checkRules(label, fixed.fields, rules, value);
    if (fds !== undefined) checkFds(label, fdRules, value, fds);
  };
  const check = (value: BodyValue<F, N, V>, fds?: number): void => {
    checkFixed(value);
    checkWhole(value, fds);
  };
  const decode = (bytes: Uint8Array, fds?: number): BodyValue<F, N, V> => {
    const cursor = new Cursor(label, bytes);
    const value = whole.read(cursor, { older, check: checkFixed });
    if (trailing === 'refused' && cursor.left > 0)
      cursor.fail('payload', `has ${cursor.left} bytes too many`);
    checkWhole(value, fds);
    return value;
  };
  return {
    ...{ label, fixed, at: fixed.at, shape: whole.shape, older: older?.shape ?? null, trailing, fdRules },
    rules: [...fixedRules, ...rules],
    minSize: Math.min(fixed.size, older?.shape.size ?? fixed.size),
    ...{ check, decode, print: whole.print },
    describe: (bytes) => whole.print(decode(bytes)),
    encode: (input, fds) => encode(whole, whole.link(input), (value) => check(value, fds)),
  };
}

function encode<F extends Fields, N extends string, V, L extends string>(
  whole: Body<F, N, V, L>,
  value: BodyValue<F, N, V>,
  check: (value: BodyValue<F, N, V>) => void,
): Uint8Array {
  check(value);
  const bytes = new Uint8Array(whole.size(value));
  whole.write(bytes, 0, value);
  return bytes;
}

/** The rules that stand in the fields themselves: the only value that is allowed, and unknown flags. */
function checkFields(
  label: string,
  places: readonly FieldPlace[],
  value: Readonly<Record<string, unknown>>,
): void {
  for (const { name, wireName, offset, field } of places) {
    const { only, strict, format } = field.options;
    const actual = value[name];
    if (typeof actual !== 'number' && typeof actual !== 'bigint') continue;
    if (only !== undefined && BigInt(actual) !== BigInt(only)) {
      throw malformed(label, wireName, offset, `must be ${only}, not ${actual}`);
    }
    if (strict === true && typeof format === 'object' && format.unknown(actual) !== 0n) {
      throw malformed(label, wireName, offset, `has unknown bits: ${format.print(actual)}`);
    }
  }
}

function checkRules<T>(
  label: string,
  places: readonly FieldPlace[],
  rules: readonly Rule<T>[],
  value: T,
): void {
  for (const rule of rules) {
    if (rule.holds(value)) continue;
    const place = places.find(({ name }) => name === rule.field);
    throw malformed(
      label,
      place?.wireName ?? rule.field,
      place?.offset ?? 0,
      `must ${rule.must}`,
      rule.errno,
    );
  }
}

function checkFds<T>(label: string, rules: readonly FdRule<T>[], value: T, fds: number): void {
  for (const rule of rules) {
    if (!rule.holds(value, fds)) {
      throw malformed(label, `file descriptors (${fds})`, 0, `must ${rule.must}`, rule.errno);
    }
  }
}
