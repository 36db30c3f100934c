import type { TraceStyle } from '../../trace/index.ts';
import { outColors as colors } from '../output/colors.ts';

const STREAMS = [colors.cyan, colors.green, colors.magenta, colors.blue, colors.yellow] as const;

/** The colours of a trace on standard output, none where that is no terminal. */
export const TERMINAL_STYLE: TraceStyle = {
  stream: (connection, text) => (STREAMS[(connection - 1) % STREAMS.length] ?? colors.cyan)(text),
  error: (text) => colors.red(text),
  change: (text) => colors.bold(colors.inverse(text)),
  dim: (text) => colors.dim(text),
};
