/** Keeps the listings of a guide equal to the files that they show. */

/** A comment that names a file, and perhaps a region of it, and the fenced block below. */
const LISTING = /(<!-- (examples\/[\w.-]+)(?:: (\w+))? -->\n```(\w+)\n).*?(```\n)/gs;
/** The marks of editors around a part of a file. */
const MARK = /^\s*\/\/ #(?:end)?region\b.*\n?/gm;

/**
 * @param {string} guide
 * @param {(path: string) => string} read
 * @returns {string} the guide with its listings as the files are
 */
export function fillListings(guide, read) {
  return guide.replaceAll(LISTING, (_, head, path, region, _language, foot) => {
    const text = region === undefined ? withoutHead(read(path)) : regionOf(read(path), region, path);
    return `${head}${text}${foot}`;
  });
}

/** @param {string} source @returns {string[]} the regions of a file, in their order */
export function regionsOf(source) {
  return [...source.matchAll(/^\s*\/\/ #region (\w+)$/gm)].map(([, name = '']) => name);
}

/** @param {string} source @param {string} region @param {string} path @returns {string} */
function regionOf(source, region, path) {
  const start = new RegExp(`^\\s*// #region ${region}\\n`, 'm').exec(source);
  if (start === null) throw new Error(`${path} has no region ${region}`);
  const rest = source.slice(start.index + start[0].length);
  const end = /^\s*\/\/ #endregion\n/m.exec(rest);
  if (end === null) throw new Error(`the region ${region} of ${path} does not end`);
  return rest.slice(0, end.index).replace(MARK, '');
}

/** The comments at the beginning of a file are for who finds it without the guide. @param {string} source */
function withoutHead(source) {
  return source.replace(/^(?:\/\/.*\n)+/, '');
}
