import { type ChildProcess, spawn } from 'node:child_process';

/**
 * Reads what there is (`+`) and what there is no more (`-`): numbers of process groups, and paths, which begin with `/`.
 * At the end of its input it kills the groups that are left and removes what is at the paths.
 */
const SCRIPT = `
set -f
newline='
'
IFS=$newline
left=
while read -r line; do
  case $line in
    +*) left="$left\${line#+}$newline" ;;
    -*)
      kept=
      for each in $left; do [ "$each" = "\${line#-}" ] || kept="$kept$each$newline"; done
      left=$kept ;;
  esac
done
for each in $left; do case $each in /*) ;; *) kill -s KILL -- "-$each" ;; esac; done
for each in $left; do case $each in /*) rm -rf -- "$each" ;; esac; done
`;

/**
 * A process that outlives this one and does what a process that is killed (SIGKILL) can't do itself. Only this process has
 * the other end of its standard input, which the kernel closes however this process ends.
 */
export class LastWill {
  readonly #executor: ChildProcess;

  constructor() {
    // In a session of its own: a signal to this process' group, or from its terminal, is not for it.
    this.#executor = spawn('/bin/sh', ['-c', SCRIPT], {
      cwd: '/',
      detached: true,
      stdio: ['pipe', 'ignore', 'ignore'],
    });
    // Without it only the last resort is missing.
    this.#executor.on('error', () => {});
    this.#executor.stdin?.on('error', () => {});
    this.#executor.unref();
  }

  /** Notes a process group or an absolute path; `noted` is called when it can't get lost any more. */
  add(what: string, noted: () => void = () => {}): void {
    this.#executor.stdin?.write(`+${what}\n`, noted);
  }

  /** What was noted is gone. */
  drop(what: string): void {
    this.#executor.stdin?.write(`-${what}\n`);
  }

  /** Carries out what is left, and ends the process. Its input is closed at once; what was written is in the kernel. */
  end(): void {
    this.#executor.stdin?.destroy();
  }
}
