/** How much a broken rule matters, most first. */
export const SEVERITIES = ['must', 'should', 'interoperability', 'hardening'] as const;

/**
 * `must`: the specification or the uAPI demands it. `should`: they recommend or imply it. `interoperability`: peers
 * that people use rely on it. `hardening`: a peer that errs or attacks is survived.
 */
export type Severity = (typeof SEVERITIES)[number];

/** Where a rule comes from. */
export interface Clause {
  /** `specification`: vfio-user.rst of QEMU 11.1; `uapi`: linux/vfio.h and the kernel's code; `practice`: peers. */
  readonly source: 'specification' | 'uapi' | 'practice';
  /** Section, structure or program, with the words that matter where there are any. */
  readonly where: string;
}

/** What has to be there for a rule to be tried; without it the rule is not applicable. */
export const NEEDS = {
  spawn: 'instances of its own, because it changes or may harm the device',
  second: 'a second instance',
  migration: 'a device that can be migrated',
  precopy: 'a device with PRE_COPY',
  p2p: 'a device with the P2P states',
  logging: 'DMA logging',
  dma: 'a device whose DMA can be started as its documentation says: edu',
  process: 'the process of the other end, to look at its descriptors and memory',
} as const;

/** A key of {@link NEEDS}. */
export type Need = keyof typeof NEEDS;

/** What is said of a rule: enough to list, to select and to report it. */
export interface RuleFacts {
  /** Stable, `area.name`, such as `framing.split-header`. */
  readonly id: string;
  /** The part before the dot of the id. */
  readonly area: string;
  readonly clause: Clause;
  readonly severity: Severity;
  readonly needs: readonly Need[];
  /** What has to hold, as one sentence without a full stop. */
  readonly title: string;
  /** Why it matters: what goes wrong for whom when it does not hold. */
  readonly why: string;
}

/**
 * A rule with the way to try it. `check` returns when the rule holds, and throws one of the verdicts (`verdict.ts`)
 * otherwise. `W` is what it is tried on.
 */
export interface Rule<W> extends RuleFacts {
  check(world: W): void | Promise<void>;
}

/** A rule as it is written down: the area follows from the id, and most rules need nothing. */
export type RuleDeclaration<W> = Omit<Rule<W>, 'area' | 'needs'> & { readonly needs?: readonly Need[] };

/** Declares a rule. */
export function rule<W>(declaration: RuleDeclaration<W>): Rule<W> {
  const [area = ''] = declaration.id.split('.');
  return { needs: [], ...declaration, area };
}

/** The facts of a rule alone, for reports. */
export function factsOf({ id, area, clause, severity, needs, title, why }: RuleFacts): RuleFacts {
  return { id, area, clause, severity, needs, title, why };
}

/** A clause of the specification, vfio-user.rst of QEMU 11.1. */
export const specification = (where: string): Clause => ({ source: 'specification', where });

/** A clause of the kernel's interface: linux/vfio.h, or the code behind it. */
export const uapi = (where: string): Clause => ({ source: 'uapi', where });

/** What peers that people use do, or rely on. */
export const practice = (where: string): Clause => ({ source: 'practice', where });
