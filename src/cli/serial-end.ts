import { UsageError } from './usage-error.ts';

/** The other end of a serial line: this process's own input and output, or whoever connects to a socket. */
export type SerialEnd = { readonly kind: 'stdio' } | { readonly kind: 'unix'; readonly path: string };

/** Reads `--backend` of serial. Throws UsageError for what is neither of the two. */
export function serialEnd(text: string): SerialEnd {
  if (text === 'stdio') return { kind: 'stdio' };
  const path = /^unix:(.+)$/s.exec(text)?.[1];
  if (path !== undefined) return { kind: 'unix', path };
  const hint = text === 'pty' ? '; a pty is made of unix:PATH by socat (see --help)' : '';
  throw new UsageError(`--backend ${text} is no end of a serial line: it is stdio or unix:PATH${hint}`);
}
