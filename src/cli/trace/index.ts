export { traceCommand } from './trace-command.ts';
