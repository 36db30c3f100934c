/** Writes docs/channel.md from the declarations of the channel; `npm run build` has to have run. */
import { writeFileSync } from 'node:fs';
import { renderChannelDocs } from '../dist/channel/docs.js';

writeFileSync(new URL('../docs/channel.md', import.meta.url), renderChannelDocs());
