/** A module hook of Node (`module.register`): who imports this package and has no copy of it gets the one that runs. */
import type { ResolveHook } from 'node:module';
import { isOwnName } from './own-package.ts';

export const resolve: ResolveHook = (specifier, context, next) =>
  next(specifier, isOwnName(specifier) ? { ...context, parentURL: import.meta.url } : context);
