/** Writes docs/protocol.md from the declarations of the protocol; `npm run build` has to have run. */
import { writeFileSync } from 'node:fs';
import { renderProtocolDocs } from '../dist/protocol/docs.js';

writeFileSync(new URL('../docs/protocol.md', import.meta.url), renderProtocolDocs());
