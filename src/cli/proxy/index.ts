export { proxyCommand } from './proxy.ts';
