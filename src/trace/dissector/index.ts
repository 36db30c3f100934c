export { renderDissector } from './render.ts';
