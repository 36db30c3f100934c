#!/usr/bin/env node
import { run } from './run.ts';

// A reader that has seen enough, as in `ferry inspect SOCKET | head`, is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
});

process.exitCode = await run(process.argv);
