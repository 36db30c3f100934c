import { variables } from './palette.ts';

/** The style of the page: light or dark as its reader has it, and light on paper. */
export const STYLE = `
:root{color-scheme:light dark;${variables('light')}}
@media (prefers-color-scheme:dark){:root{${variables('dark')}}}
@media print{:root{${variables('light')}}section{break-inside:avoid}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1180px;margin:0 auto;padding:28px 24px 48px}
h1{font-size:26px;line-height:1.2;margin:0;display:flex;gap:12px;align-items:center;flex-wrap:wrap}
h2{font-size:17px;margin:0 0 10px}
p{margin:0}
.mark{font-size:13px;font-weight:600;padding:2px 10px;border-radius:999px;border:1.5px solid currentColor}
.done .mark{color:var(--good)}.failed .mark{color:var(--bad)}.in-doubt .mark{color:var(--warn)}
.lead{margin-top:8px;font-size:16px;overflow-wrap:anywhere}
.when{color:var(--soft);font-size:13px;margin-top:4px;overflow-wrap:anywhere}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(190px,1fr));gap:12px;margin:20px 0 0;padding:0}
.figures div,section{background:var(--card);border:1px solid var(--line);border-radius:10px}
.figures div{padding:12px 16px}
dt{color:var(--soft);font-size:13px}
dd{margin:0}
.figures dd{font-size:24px;font-weight:600;line-height:1.25;font-variant-numeric:tabular-nums}
.figures small{display:block;color:var(--soft);font-size:13px;font-weight:400}
section{padding:16px 20px;margin-top:16px}
svg{display:block;width:100%;height:auto}
.hint{color:var(--soft);font-size:13px;margin:-6px 0 10px}
.failure{border-left:5px solid var(--bad)}.in-doubt .failure{border-left-color:var(--warn)}
.failure dl{display:grid;grid-template-columns:max-content 1fr;gap:6px 18px;margin:10px 0 0}
.failure dd{overflow-wrap:anywhere}
ul,ol{margin:0;padding-left:20px}
code{font:13px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;background:var(--page);border:1px solid var(--line);border-radius:4px;padding:1px 5px;overflow-wrap:anywhere}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:right;padding:5px 10px;border-bottom:1px solid var(--line);white-space:nowrap}
th{color:var(--soft);font-weight:500;font-size:13px}
th:first-child,td:first-child{text-align:left;padding-left:0}
.texts th,.texts td{text-align:left;white-space:normal;overflow-wrap:anywhere}
tr.total td{font-weight:600;border-bottom:0}
details{margin-top:4px}
summary{cursor:pointer;color:var(--accent);font-size:14px;padding:4px 0}
footer{color:var(--soft);font-size:13px;margin-top:20px}
`;
