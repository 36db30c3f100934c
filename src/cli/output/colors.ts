import picocolors from 'picocolors';

/**
 * Colours for a stream: only on a terminal. The library's own guess also colours pipes and files when the environment
 * names a CI, where somebody else reads them. NO_COLOR and FORCE_COLOR are obeyed.
 */
function colorsFor({ isTTY }: { readonly isTTY?: boolean }): ReturnType<typeof picocolors.createColors> {
  const forced = process.env['FORCE_COLOR'] !== undefined;
  return picocolors.createColors(picocolors.isColorSupported && (forced || isTTY === true));
}

/** For what goes to standard output. */
export const outColors = colorsFor(process.stdout);
/** For what goes to standard error. */
export const errorColors = colorsFor(process.stderr);
