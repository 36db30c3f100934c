/** What `ferry` says to scripts. Documented in --help and in docs/cli.md. */
export const ExitCode = {
  OK: 0,
  /** It failed; nothing was changed, or what was changed has been undone: the device runs where it was. */
  FAILED: 1,
  /** The command line is wrong. */
  USAGE: 2,
  /** A migration failed, and the device runs nowhere or nobody can tell where: somebody must look. */
  IN_DOUBT: 3,
  /** A migration failed after the device had been given to the destination for good. */
  AT_DESTINATION: 4,
} as const;

/** One of {@link ExitCode}. */
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode];

/** For the end of --help. */
export const EXIT_CODES_HELP = `
Exit codes:
  0  done
  1  failed; nothing was changed, or it was undone: the device is where it was
  2  the command line is wrong
  3  in doubt: nobody can tell who has the device, or it runs nowhere; the message says how to go on
  4  failed after the device had been given to the destination, whether or not it runs there yet`;
