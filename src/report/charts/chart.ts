import type { EChartsCoreOption } from 'echarts/core';

/** A chart as data: what the library draws, and what each of its items says when it is pointed at. */
export interface Chart {
  /** Names it within the page. */
  readonly id: string;
  readonly title: string;
  /** What there is to see, for who can't or does not want to look. */
  readonly caption: string;
  readonly width: number;
  readonly height: number;
  readonly option: EChartsCoreOption;
  /** For each series, for each of its items. */
  readonly tips: readonly (readonly string[])[];
}

/** The width of all charts, in the units of their drawing; the page scales them. */
export const WIDTH = 1080;
