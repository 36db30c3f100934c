/** Renders docs/features.md from docs/features.json; test/docs/features.test.ts checks both. */

/**
 * @typedef {{ area: string, what: string, theirs: string[], verdict: string, ours: string[], how: string, proof: string[] }} Feature
 * @typedef {{ what: string, ours: string[], proof: string[] }} Beyond
 */

const INTRODUCTION = `# Features beside libvfio-user's

libvfio-user is the C library for vfio-user servers. This table goes through its public header, name by name
(ORIGIN), and says what of Ferry does the same, and which test proves it. It is made
from \`docs/features.json\`; a test checks that no name of the header is left out, that Ferry exports what is named, and
that the tests are there.

*Otherwise*: what it is for is reached in another way. *Left out*: there is no need for it, and the reason is given.
*Missing*: it is not there yet.
`;

/** @param {string} names @returns {string} */
const cell = (names) => names.replaceAll('|', '\\|');

/** @param {readonly string[]} names @returns {string} */
const codes = (names) => names.map((name) => `\`${name}\``).join(', ');

/** `room:Name.member` as an author writes it. @param {string} reference @returns {string} */
const nameOf = (reference) => reference.slice(reference.indexOf(':') + 1);

/** Links to the tests, each once. @param {readonly string[]} proof @returns {string} */
function links(proof) {
  const files = [...new Set(proof.map((each) => each.split(': ')[0] ?? each))];
  return files
    .map((file) => `[${file.replace(/^test\//, '').replace(/\.(test|guest)\.ts$/, '')}](../${file})`)
    .join(', ');
}

/** @param {readonly Feature[]} features @returns {string[]} */
function table(features) {
  return [
    '| libvfio-user | what it is | Ferry | |',
    '|---|---|---|---|',
    ...features.map(({ theirs, what, verdict, ours, how, proof }) => {
      const mine = [verdict === 'yes' ? '' : `**${verdict}**`, codes(ours.map(nameOf)), how].filter(
        (part) => part !== '',
      );
      return `| ${codes(theirs)} | ${cell(what)} | ${cell(mine.join(': '))} | ${links(proof)} |`;
    }),
  ];
}

/**
 * @param {{ features: Feature[], beyond: Beyond[] }} list
 * @param {string} origin where the names of the header are from
 * @returns {string}
 */
export function renderFeatures({ features, beyond }, origin) {
  const areas = [...new Set(features.map(({ area }) => area))];
  const parts = areas.flatMap((area) => [
    `## ${area}`,
    '',
    ...table(features.filter((feature) => feature.area === area)),
    '',
  ]);
  const more = beyond.map(
    ({ what, ours, proof }) => `| ${cell(what)} | ${codes(ours.map(nameOf))} | ${links(proof)} |`,
  );
  return [
    INTRODUCTION.replace('ORIGIN', origin),
    ...parts,
    '## What libvfio-user has not',
    '',
    '| | Ferry | |',
    '|---|---|---|',
    ...more,
    '',
  ].join('\n');
}
