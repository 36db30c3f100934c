import type { Report } from '../result.ts';
import { renderJson } from './json.ts';
import { renderJunit } from './junit.ts';
import { type Palette, PLAIN, renderPeople } from './people.ts';
import { renderTap } from './tap.ts';

/** The forms of a report. */
export const FORMATS = ['people', 'json', 'junit', 'tap'] as const;

/** One of {@link FORMATS}. */
export type Format = (typeof FORMATS)[number];

/** A report in one of its forms; the palette is for people. */
export function renderReport(report: Report, format: Format, palette: Palette = PLAIN): string {
  switch (format) {
    case 'people':
      return renderPeople(report, palette);
    case 'json':
      return renderJson(report);
    case 'junit':
      return renderJunit(report);
    case 'tap':
      return renderTap(report);
  }
}
