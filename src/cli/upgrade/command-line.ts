/** Options of `ferry serve`, each with a value, that the one who takes over is told by the running server. */
const WITH_VALUE: ReadonlySet<string> = new Set([
  '--socket-path',
  '--fd',
  '--control-path',
  '--take-over',
  '--on-reconnect',
  '--ready-fd',
]);
/** The same without a value. */
const WITHOUT_VALUE: ReadonlySet<string> = new Set(['--no-control']);

/** The arguments of `serve` in the command line of a process; null when it is none of `ferry serve`. */
export function serveArguments(commandLine: readonly string[]): readonly string[] | null {
  const at = commandLine.indexOf('serve', 1);
  return at < 0 ? null : commandLine.slice(at + 1);
}

/** What of the arguments of `serve` holds for the process that takes over as well: the device, and what it is like. */
export function keptArguments(args: readonly string[]): readonly string[] {
  const kept: string[] = [];
  for (let i = 0; i < args.length; i += 1) {
    const arg = args[i] ?? '';
    const [name = ''] = arg.split('=', 1);
    if (WITHOUT_VALUE.has(arg)) continue;
    if (!WITH_VALUE.has(name)) kept.push(arg);
    else if (arg === name) i += 1;
  }
  return kept;
}

/** The value of an option among arguments, the last one; null when it is not there. */
export function optionOf(args: readonly string[], name: string): string | null {
  let value: string | null = null;
  for (const [i, arg] of args.entries()) {
    if (arg === name) value = args[i + 1] ?? null;
    else if (arg.startsWith(`${name}=`)) value = arg.slice(name.length + 1);
  }
  return value;
}
