/** Writes docs/states.md from the declarations of the migration states; `npm run build` has to have run. */
import { writeFileSync } from 'node:fs';
import { renderStatesDocs } from '../dist/states/docs/render.js';

writeFileSync(new URL('../docs/states.md', import.meta.url), renderStatesDocs());
