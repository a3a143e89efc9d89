"""The style sheet of reports: for wide and narrow screens, light and dark, and paper."""

from __future__ import annotations

STYLE = """
:root { color-scheme: light dark; --paper: #fbfaf8; --card: #ffffff; --ink: #23211e; --faint: #6b665f;
  --line: #dedad3; --accent: #1f6f8b; --error: #b3261e; --warning: #9a6700; --note: #1f6f8b;
  --series-1: #2f7f9e; --series-2: #d9822b; --series-3: #7a9a3a; --series-4: #8a5fa8;
  --run-1: #0349b5; --run-2: #d19f0c; --run-3: #d657ab; --run-4: #086a59;
  --run-5: #5b97ff; --run-6: #46106c; --run-7: #857e00; --run-8: #123a19; }
@media (prefers-color-scheme: dark) { :root { --paper: #171614; --card: #211f1d; --ink: #ebe7e0;
  --faint: #a39d93; --line: #3a3733; --accent: #7cc3db; --error: #ff8a80; --warning: #f0c14b;
  --note: #7cc3db; --series-1: #5fb3d1; --series-2: #f0a860; --series-3: #a9c96a; --series-4: #bb94d6;
  --run-1: #2ca3ff; --run-2: #cb8420; --run-3: #d36aa6; --run-4: #0b8a63;
  --run-5: #b1f9fc; --run-6: #a24fc4; --run-7: #f0f046; --run-8: #b8c39c; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-behavior: smooth; }
body { margin: 0; background: var(--paper); color: var(--ink); line-height: 1.5;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif; }
main, header, footer { max-width: 70rem; margin: 0 auto; padding: 0 1rem; }
header { padding-top: 2rem; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .25rem; text-wrap: balance; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .75rem; padding-top: .75rem; border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.5rem 0 .5rem; }
h3 small { font-weight: 400; color: var(--faint); }
p { max-width: 44rem; margin: .5rem 0; overflow-wrap: anywhere; }
.faint, figcaption, footer, caption { color: var(--faint); font-size: .875rem; }
nav { margin: 1rem 0 0; display: flex; flex-wrap: wrap; gap: .25rem 1rem; font-size: .9375rem; }
a { color: var(--accent); text-underline-offset: .15em; }
.facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(10.5rem, 1fr)); gap: .5rem;
  margin: 1.25rem 0; padding: 0; }
.facts div { background: var(--card); border: 1px solid var(--line); border-radius: .5rem;
  padding: .6rem .75rem; }
.facts dt { color: var(--faint); font-size: .8125rem; }
.facts dd { margin: 0; font-size: 1.0625rem; font-weight: 600; overflow-wrap: anywhere;
  font-variant-numeric: tabular-nums; }
.notices { list-style: none; margin: 1rem 0; padding: 0; display: grid; gap: .5rem; }
.notices li { background: var(--card); border: 1px solid var(--line); border-left: .3rem solid var(--level);
  border-radius: .375rem; padding: .5rem .75rem; overflow-wrap: anywhere; }
.notices b { color: var(--level); margin-right: .35rem; }
.error { --level: var(--error); } .warning { --level: var(--warning); } .note { --level: var(--note); }
.scroll { overflow-x: auto; margin: .75rem 0; }
table { border-collapse: collapse; font-size: .9375rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: .25rem; }
th, td { padding: .25rem .9rem .25rem 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); }
th { font-weight: 600; color: var(--faint); }
td.number, th.number { text-align: right; white-space: nowrap; }
table.bars { width: 100%; max-width: 46rem; }
td.bar { width: 55%; min-width: 7rem; padding-right: 0; white-space: nowrap; font-size: 0;
  vertical-align: middle; }
td.bar span { display: inline-block; height: .8rem; vertical-align: middle; }
td.bar span:first-child { border-radius: .2rem 0 0 .2rem; }
td.bar span:last-child { border-radius: 0 .2rem .2rem 0; }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1rem; font-size: .875rem; color: var(--faint);
  margin: .5rem 0; }
.legend i { display: inline-block; width: .8rem; height: .8rem; border-radius: .2rem; margin-right: .35rem;
  vertical-align: -.08rem; }
.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(19rem, 100%), 1fr));
  gap: 1rem; margin: 1rem 0; }
figure { margin: 0; break-inside: avoid; }
.figures figure { background: var(--card); border: 1px solid var(--line); border-radius: .5rem;
  padding: .6rem; }
figure svg { display: block; width: 100%; height: auto; max-width: 34rem; }
svg text { font-family: inherit !important; }
.pictures { display: flex; flex-wrap: wrap; gap: .35rem; margin: .5rem 0 1rem; }
.pictures img { display: block; height: 6rem; width: auto; max-width: 100%; object-fit: contain;
  border-radius: .2rem; background: var(--line); }
.pairs { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(20rem, 100%), 1fr)); gap: .75rem;
  margin: .75rem 0; }
.pair { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .6rem;
  break-inside: avoid; }
.pair .two { display: grid; grid-template-columns: 1fr 1fr; gap: .5rem; }
.pair img { display: block; width: 100%; height: 9rem; object-fit: contain; background: var(--line);
  border-radius: .2rem; }
.pair figcaption { font-size: .75rem; line-height: 1.35; overflow-wrap: anywhere; margin-top: .25rem; }
.pair figcaption b { color: var(--ink); }
.pair p { margin: 0 0 .4rem; font-size: .8125rem; color: var(--faint); }
details { margin: .75rem 0; } summary { cursor: pointer; color: var(--accent); }
footer { padding-top: 2rem; padding-bottom: 3rem; }
.verdicts { margin: .5rem 0; padding-left: 1.2rem; max-width: 48rem; overflow-wrap: anywhere; }
.run { display: inline-block; width: .7rem; height: .7rem; border-radius: 50%; margin-right: .4rem;
  vertical-align: -.02rem; background: var(--of); }
.run.again { background: var(--paper); border: .2rem solid var(--of); }
table.wide { font-size: .875rem; }
table.wide th:first-child, table.wide td:first-child { position: sticky; left: 0; background: var(--paper);
  padding-right: .75rem; min-width: 8rem; max-width: 15rem; overflow-wrap: break-word; z-index: 1;
  border-right: 1px solid var(--line); color: var(--ink); font-weight: 400; }
table.wide th, table.wide td { padding-left: .75rem; padding-right: .35rem; }
table.wide th:first-child, table.wide td:first-child { padding-left: 0; }
table.wide thead th { vertical-align: bottom; }
table.wide thead th { min-width: 4rem; max-width: 10rem; overflow-wrap: break-word; white-space: normal; }
table.wide.values td { min-width: 5rem; max-width: 16rem; overflow-wrap: break-word; }
table.wide.values td.short { white-space: nowrap; }
.figures.two { grid-template-columns: repeat(auto-fill, minmax(min(28rem, 100%), 1fr)); }
.figures.two svg { max-width: 100%; }
.legend i.run { border-radius: 50%; }
td small, th small { display: block; color: var(--faint); font-size: .75rem; font-weight: 400;
  white-space: nowrap; }
.best { color: var(--accent); font-weight: 700; }
.level, .other { color: var(--faint); } .other { font-style: italic; }
tr.real td { border-top: 2px solid var(--line); color: var(--faint); font-style: italic; }
table.wide tr.real td:first-child { color: var(--faint); font-style: italic; }
.beside { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(26rem, 100%), 1fr)); gap: 1rem;
  margin: .75rem 0 1.25rem; align-items: start; }
.beside.small { grid-template-columns: repeat(auto-fill, minmax(min(19rem, 100%), 1fr)); }
.beside figcaption { margin-bottom: .3rem; color: var(--ink); overflow-wrap: anywhere; }
.beside figcaption small { color: var(--faint); font-size: .8125rem; }
.beside img { display: block; width: 100%; height: auto; border-radius: .25rem; background: #fff; }
table.confusion { font-size: .75rem; border-collapse: separate; border-spacing: 2px; width: 100%;
  table-layout: fixed; }
table.confusion th, table.confusion td { padding: .2rem .1rem; border: 0; text-align: center;
  overflow-wrap: anywhere; line-height: 1.25; }
table.confusion thead th:first-child { width: 5.4rem; }
table.confusion tbody th { text-align: right; padding-right: .35rem; vertical-align: middle; }
table.confusion thead th { vertical-align: bottom; font-weight: 500; padding: 0; }
table.confusion td { border-radius: .2rem; vertical-align: middle; height: 2rem; color: var(--ink);
  background: color-mix(in srgb, var(--accent) calc(var(--share) * .75%), var(--card)); }
table.confusion td.right { outline: 1px solid var(--faint); outline-offset: -1px; }
dl.words { margin: .5rem 0; max-width: 48rem; font-size: .9375rem; }
dl.words dt { font-weight: 600; margin-top: .4rem; } dl.words dd { margin: 0 0 0 1rem; color: var(--faint); }
@media (max-width: 30rem) { table.wide th:first-child, table.wide td:first-child { max-width: 8.5rem;
  min-width: 6.5rem; font-size: .8125rem; } table.wide { font-size: .8125rem; }
  table.confusion { font-size: .6875rem; } table.confusion thead th:first-child { width: 4.8rem; }
  .pictures img { height: 4.6rem; } h1 { font-size: 1.4rem; }
  header { padding-top: 1rem; } .facts { grid-template-columns: 1fr 1fr; } .pair img { height: 7rem; }
  th, td { padding-right: .6rem; font-size: .875rem; } }
@media print { :root { --paper: #fff; --card: #fff; --ink: #000; --faint: #444; --line: #ccc;
  --accent: #124; --error: #900; --warning: #740; --note: #124; --series-1: #2f7f9e; --series-2: #d9822b;
  --series-3: #7a9a3a; --series-4: #8a5fa8;
  --run-1: #0349b5; --run-2: #d19f0c; --run-3: #d657ab; --run-4: #086a59;
  --run-5: #5b97ff; --run-6: #46106c; --run-7: #857e00; --run-8: #123a19; }
  nav { display: none; } body { font-size: 11pt; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } h2, h3, h2 + p, .legend {
  break-after: avoid; } .pictures, .facts, li, tr, table { break-inside: avoid; }
  .beside figure, .beside { break-inside: auto; } .beside figure { break-inside: avoid; }
  .scroll { overflow: visible; } table.wide { font-size: 7.5pt; } td small { font-size: 6.5pt; }
  table.wide th, table.wide td { padding-left: .3rem; padding-right: .15rem; position: static !important;
  overflow-wrap: anywhere; } table.wide.values td, table.wide.values td.short { white-space: normal;
  min-width: 0; }
  details::details-content { content-visibility: visible; height: auto; } }
"""
