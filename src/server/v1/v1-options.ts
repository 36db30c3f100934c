import { type RuleSet, V1_RULES } from '../../states/index.ts';
import { ServerError } from '../server-error.ts';

/** How a device is offered through a v1 migration region. Everything has a default; survives structured clone. */
export interface V1Options {
  /** The rules by which changes of device_state are refused: one of {@link V1_RULE_NAMES}; `v1-2021-12` by default. */
  readonly rule?: string;
  /** Size of the data section in bytes, whole pages up to 256 MiB; 1 MiB by default. */
  readonly dataSize?: number;
}

/** Every valid state reaches every other, as linux/vfio.h promises a user after a failure, and as QEMU relies on. */
const DEFAULT_RULE = 'v1-2021-12';

/** The names of the rules that a server can be told to enforce. */
export const V1_RULE_NAMES: readonly string[] = V1_RULES.map(({ id }) => id);

/** The rules of this name. @throws ServerError EINVAL, naming those that there are */
export function v1RulesOf(name: string = DEFAULT_RULE): RuleSet {
  const found = V1_RULES.find(({ id }) => id === name);
  if (found !== undefined) return found;
  const message = `there are no rules ${name} for v1: they are ${V1_RULE_NAMES.join(', ')}`;
  throw new ServerError('ERR_BAD_RANGE', message, { rule: name });
}
