import { InvalidArgumentError } from 'commander';

/** What the command line says to an author's device: `--option name=value`, each name once. */
export type AuthorOptions = Readonly<Record<string, string>>;

/** Adds one `name=value` to those before it. A value may be empty and may contain `=`. */
export function addAuthorOption(text: string, before: AuthorOptions = {}): AuthorOptions {
  const [, name, value] = /^([A-Za-z_][\w-]*)=(.*)$/s.exec(text) ?? [];
  if (name === undefined || value === undefined)
    throw new InvalidArgumentError('Write it as name=value, such as period=50.');
  if (Object.hasOwn(before, name)) throw new InvalidArgumentError(`${name} has a value already.`);
  return { ...before, [name]: value };
}
