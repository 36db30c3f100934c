import type { ClientRule } from '../client-world.ts';
import { dmaRules } from './dma.ts';
import { headerRules } from './header.ts';
import { irqRules } from './irq.ts';
import { migrationRules } from './migration.ts';
import { negotiationRules } from './negotiation.ts';
import { reactionRules } from './reaction.ts';
import { regionRules } from './region.ts';

/** Every rule for clients. */
export const CLIENT_RULES: readonly ClientRule[] = [
  ...negotiationRules,
  ...headerRules,
  ...regionRules,
  ...dmaRules,
  ...irqRules,
  ...migrationRules,
  ...reactionRules,
];
