/**
 * Calls `asked` at the first SIGINT or SIGTERM; the second one ends the process as usual. Returns what ends this.
 */
export function onInterrupt(asked: () => void): () => void {
  const stop = (): void => {
    off();
    asked();
  };
  const off = (): void => void process.off('SIGINT', stop).off('SIGTERM', stop);
  process.on('SIGINT', stop).on('SIGTERM', stop);
  return off;
}
