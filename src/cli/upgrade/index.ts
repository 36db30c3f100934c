export { upgradeCommand } from './upgrade.ts';
