export { reconnectCommand } from './reconnect.ts';
