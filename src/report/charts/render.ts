import { escaped, Markup } from '../markup.ts';
import type { Chart } from './chart.ts';

type Library = typeof import('echarts/core');

/** The library is large, and few commands need it. */
async function load(): Promise<Library> {
  const [core, charts, components, renderers] = await Promise.all([
    import('echarts/core'),
    import('echarts/charts'),
    import('echarts/components'),
    import('echarts/renderers'),
  ]);
  core.use([
    charts.BarChart,
    charts.CustomChart,
    charts.LineChart,
    components.GridComponent,
    components.LegendComponent,
    components.MarkAreaComponent,
    components.MarkLineComponent,
    renderers.SVGRenderer,
  ]);
  return core;
}

/**
 * Draws charts as SVG. What is pointed at explains itself by a title of SVG, so the page needs no script, and is drawn
 * where none may run.
 */
export async function renderCharts(charts: readonly Chart[]): Promise<ReadonlyMap<Chart, Markup>> {
  const library = await load();
  return new Map(charts.map((chart) => [chart, render(library, chart)]));
}

function render(library: Library, { width, height, option, tips, caption }: Chart): Markup {
  const drawing = library.init(null, null, { renderer: 'svg', ssr: true, width, height });
  try {
    drawing.setOption({ animation: false, ...option });
    return new Markup(explained(drawing.renderToSVGString({ useViewBox: true }), tips, caption));
  } finally {
    drawing.dispose();
  }
}

/** A shape of an item, by the numbers of its series and of itself. */
const ITEM =
  /(<(path|rect|circle|text) [^>]*?)ecmeta_series_index="(\d+)" ecmeta_data_index="(\d+)" ecmeta_ssr_type="chart"([^>]*>)(?=<\/\2>|[^<]*<\/\2>)/g;
/** What the library adds for an interactive page. */
const HOVER =
  /<style\s*>[\s\S]*?<\/style>|\s(?:class|ecmeta_\w+|pointer-events|xmlns:xlink|version|baseProfile)="[^"]*"/g;

function explained(svg: string, tips: Chart['tips'], caption: string): string {
  return svg
    .replace(ITEM, (_, head: string, _name: string, series: string, item: string, tail: string) => {
      const tip = tips[Number(series)]?.[Number(item)];
      return tip === undefined ? `${head}${tail}` : `${head}${tail}<title>${escaped(tip)}</title>`;
    })
    .replace(HOVER, '')
    .replace('<svg ', `<svg role="img" aria-label="${escaped(caption)}" `);
}
