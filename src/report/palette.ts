import { MigrationState } from '../states/index.ts';

/** A colour of the page: what it is called in the style sheet, and what it is by day and by night. */
interface Tone {
  readonly light: string;
  readonly dark: string;
}

/** The colours of everything that is drawn; each is a variable of the style sheet, so that one chart serves both. */
export const TONES = {
  page: { light: '#f6f7f9', dark: '#14171c' },
  card: { light: '#ffffff', dark: '#1d2128' },
  ink: { light: '#1c2128', dark: '#e6e9ee' },
  soft: { light: '#5c6673', dark: '#9aa5b3' },
  line: { light: '#dfe3e8', dark: '#343b46' },
  accent: { light: '#2563c9', dark: '#6ba2f7' },
  good: { light: '#1f7a46', dark: '#5cc98b' },
  warn: { light: '#a35c00', dark: '#f0ae4d' },
  bad: { light: '#b3261e', dark: '#ff8a80' },
  shade: { light: '#f0e6d6', dark: '#33291a' },
  phase: { light: '#e3e7ec', dark: '#333b47' },
  running: { light: '#3f9d68', dark: '#3f9d68' },
  'running-p2p': { light: '#a3d6b8', dark: '#7cc49b' },
  'pre-copy': { light: '#4378d6', dark: '#4378d6' },
  'pre-copy-p2p': { light: '#a9c3f2', dark: '#86abec' },
  'stop-copy': { light: '#e69b2e', dark: '#e69b2e' },
  stop: { light: '#b9c0c9', dark: '#8a94a1' },
  resuming: { light: '#8a63cf', dark: '#8f6ad1' },
  error: { light: '#c8362d', dark: '#d9473d' },
  silent: { light: '#3d444e', dark: '#59626f' },
  'on-dark': { light: '#ffffff', dark: '#ffffff' },
  'on-light': { light: '#1c2128', dark: '#14171c' },
} as const satisfies Readonly<Record<string, Tone>>;

/** One of {@link TONES}. */
export type ToneName = keyof typeof TONES;

/** A colour as charts and the style sheet name it. */
export function tone(name: ToneName): string {
  return `var(--${name})`;
}

/** How a state is drawn: its colour, and the one of what is written on it. */
export interface StateLook {
  readonly fill: ToneName;
  readonly ink: 'on-dark' | 'on-light';
}

const { RUNNING, RUNNING_P2P, PRE_COPY, PRE_COPY_P2P, STOP_COPY, STOP, RESUMING } = MigrationState;

const LOOKS: ReadonlyMap<number, StateLook> = new Map([
  [RUNNING, { fill: 'running', ink: 'on-dark' }],
  [RUNNING_P2P, { fill: 'running-p2p', ink: 'on-light' }],
  [PRE_COPY, { fill: 'pre-copy', ink: 'on-dark' }],
  [PRE_COPY_P2P, { fill: 'pre-copy-p2p', ink: 'on-light' }],
  [STOP_COPY, { fill: 'stop-copy', ink: 'on-light' }],
  [STOP, { fill: 'stop', ink: 'on-light' }],
  [RESUMING, { fill: 'resuming', ink: 'on-dark' }],
]);
const SILENT: StateLook = { fill: 'silent', ink: 'on-dark' };
const BROKEN: StateLook = { fill: 'error', ink: 'on-dark' };

/** How a state is drawn; null: the device did not answer. */
export function lookOf(state: number | null): StateLook {
  return state === null ? SILENT : (LOOKS.get(state) ?? BROKEN);
}

/** The variables of the style sheet, by day or by night. */
export function variables(time: keyof Tone): string {
  return Object.entries(TONES)
    .map(([name, value]) => `--${name}:${value[time]};`)
    .join('');
}
