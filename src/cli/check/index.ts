export { checkCommand } from './check.ts';
