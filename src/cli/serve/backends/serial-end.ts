import { UsageError } from '../../outcome/usage-error.ts';

/**
 * The other end of a serial line: this process's own input and output, whoever opens a pseudo-terminal, or whoever
 * connects to a socket.
 */
export type SerialEnd =
  | { readonly kind: 'stdio' }
  | { readonly kind: 'pty' }
  | { readonly kind: 'unix'; readonly path: string };

/** Reads `--backend` of serial. Throws UsageError for what is none of the three. */
export function serialEnd(text: string): SerialEnd {
  if (text === 'stdio' || text === 'pty') return { kind: text };
  const path = /^unix:(.+)$/s.exec(text)?.[1];
  if (path !== undefined) return { kind: 'unix', path };
  throw new UsageError(`--backend ${text} is no end of a serial line: it is stdio, pty or unix:PATH`);
}
