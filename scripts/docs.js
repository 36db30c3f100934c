/** Writes the pages of docs/ that are made from something else; `npm run build` has to have run. */
import { readFileSync, writeFileSync } from 'node:fs';
import { writeCheckDocs } from './check-docs.js';
import { renderFeatures } from './feature-docs.js';
import { fillListings } from './listings.js';
import './protocol-docs.js';
import './states-docs.js';
import './channel-docs.js';

/** @param {string} path from the root of the project @returns {URL} */
const at = (path) => new URL(`../${path}`, import.meta.url);

/** @param {string} path @returns {string} */
const text = (path) => readFileSync(at(path), 'utf8');

/** @param {string} path */
const json = (path) => JSON.parse(text(path));

writeFileSync(
  at('docs/features.md'),
  renderFeatures(json('docs/features.json'), json('test/fixtures/libvfio-user-api.json').header),
);

writeFileSync(at('docs/write-a-device.md'), fillListings(text('docs/write-a-device.md'), text));

await writeCheckDocs();
