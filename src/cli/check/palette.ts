import type { Palette } from '../../check/index.ts';
import { outColors } from '../output/colors.ts';

/** The colours of a report on standard output. */
export const palette: Palette = {
  bad: outColors.red,
  good: outColors.green,
  doubtful: outColors.yellow,
  dim: outColors.dim,
  strong: outColors.bold,
};
