"""The style sheet of reports: for wide and narrow screens, light and dark, and paper."""

from __future__ import annotations

STYLE = """
:root { color-scheme: light dark; --paper: #fbfaf8; --card: #ffffff; --ink: #23211e; --faint: #6b665f;
  --line: #dedad3; --accent: #1f6f8b; --error: #b3261e; --warning: #9a6700; --note: #1f6f8b;
  --series-1: #2f7f9e; --series-2: #d9822b; --series-3: #7a9a3a; --series-4: #8a5fa8; }
@media (prefers-color-scheme: dark) { :root { --paper: #171614; --card: #211f1d; --ink: #ebe7e0;
  --faint: #a39d93; --line: #3a3733; --accent: #7cc3db; --error: #ff8a80; --warning: #f0c14b;
  --note: #7cc3db; --series-1: #5fb3d1; --series-2: #f0a860; --series-3: #a9c96a; --series-4: #bb94d6; } }
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
@media (max-width: 30rem) { .pictures img { height: 4.6rem; } h1 { font-size: 1.4rem; }
  header { padding-top: 1rem; } .facts { grid-template-columns: 1fr 1fr; } .pair img { height: 7rem; }
  th, td { padding-right: .6rem; font-size: .875rem; } }
@media print { :root { --paper: #fff; --card: #fff; --ink: #000; --faint: #444; --line: #ccc;
  --accent: #124; --error: #900; --warning: #740; --note: #124; --series-1: #2f7f9e; --series-2: #d9822b;
  --series-3: #7a9a3a; --series-4: #8a5fa8; } nav { display: none; } body { font-size: 11pt; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } h2, h3, h2 + p, .legend {
  break-after: avoid; } .pictures, .facts, li, tr, table { break-inside: avoid; }
  .scroll { overflow: visible; } details::details-content { content-visibility: visible; height: auto; } }
"""
