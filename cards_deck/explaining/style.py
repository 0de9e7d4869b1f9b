"""The look of the page: the colours of the server's page, light and dark, and nothing loaded from anywhere."""

STYLE = """
:root { color-scheme: light dark; --paper: #f6f4f0; --panel: #fffefb; --ink: #22262b; --quiet: #61676e; --line: #e0dcd4;
  --track: #ebe8e1; --accent: #2f6aa8; --warn: #8a5a00; --warn-paper: #fbf0d9; --series-0: #2f6aa8; --series-1: #bf6317;
  --series-2: #2c8263; --series-3: #8250a0; --series-4: #a03d5f; --series-5: #6b6a2a; }
@media (prefers-color-scheme: dark) { :root { --paper: #14171a; --panel: #1c2024; --ink: #e9e7e2; --quiet: #a1a7ad;
  --line: #30363c; --track: #2a3036; --accent: #7fb2e5; --warn: #f0c878; --warn-paper: #3a3018; --series-0: #7fb2e5;
  --series-1: #eda15f; --series-2: #72c9a6; --series-3: #c29be0; --series-4: #e592b1; --series-5: #c9c676; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: clamp(1rem, 3vw, 2.5rem); background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1, h2, h3, p, figure, ul { margin: 0; padding: 0; list-style: none; }
header { margin-bottom: 1.25rem; }
h1 { font-size: 1.6rem; font-weight: 650; letter-spacing: -0.015em; }
h2 { margin-bottom: 0.8rem; font-size: 1.05rem; font-weight: 650; }
h3 { margin: 1.2rem 0 0.5rem; font-size: 0.95rem; font-weight: 600; }
header p, .quiet, figcaption, footer { color: var(--quiet); font-size: 0.9rem; }
main { display: grid; gap: 1.25rem; grid-template-columns: minmax(0, 1fr); }
section { padding: clamp(1rem, 2.5vw, 1.6rem); border: 1px solid var(--line); border-radius: 14px;
  background: var(--panel); }
.verdict { font-size: 2.4rem; line-height: 1.15; font-weight: 650; letter-spacing: -0.02em; overflow-wrap: anywhere; }
.verdict small { font-size: inherit; font-weight: 350; color: var(--quiet); }
.sentence { margin-top: 0.5rem; max-width: 70ch; }
.badge { display: inline-block; margin: 0.7rem 0.5rem 0 0; padding: 0.25rem 0.8rem; border-radius: 99px;
  background: var(--warn-paper); color: var(--warn); font-size: 0.9rem; font-weight: 600; }
.answer { display: grid; gap: 1.5rem; grid-template-columns: minmax(0, 1fr); }
.images { display: grid; gap: 1rem; grid-template-columns: 1fr 1fr; align-items: start; }
.images figure { min-width: 0; }
.images img { width: 100%; height: auto; aspect-ratio: 1; object-fit: contain; border-radius: 8px;
  background: var(--track); }
.seen img, .plane img { image-rendering: pixelated; }
.planes { display: grid; gap: 1.1rem 1rem; grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); }
.plane img { display: block; width: 100%; height: auto; border-radius: 8px; border: 1px solid var(--line); }
figcaption { margin-top: 0.35rem; font-size: 0.85rem; line-height: 1.35; }
figcaption b { color: var(--ink); font-weight: 600; }
.bars { display: grid; grid-template-columns: minmax(5rem, 9rem) minmax(3rem, 1fr) minmax(3.6rem, auto); gap: 0 0.8rem;
  font-size: 0.92rem; }
.bars li { display: grid; grid-column: 1 / -1; grid-template-columns: subgrid; align-items: center;
  padding: 0.14rem 0; }
.bars .name { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.bars .value { text-align: right; font-variant-numeric: tabular-nums; color: var(--quiet); }
.track { position: relative; height: 0.65rem; border-radius: 99px; background: var(--track); }
.fill { display: block; height: 100%; min-width: 2px; border-radius: 99px; }
.mark { position: absolute; top: -0.25rem; bottom: -0.25rem; width: 2px; background: var(--warn); }
.hand { display: grid; gap: 0.9rem; grid-template-columns: repeat(auto-fill, minmax(16.5rem, 1fr)); }
.card { padding: 0.8rem 0.95rem 0.9rem; border: 1px solid var(--line); border-radius: 10px; min-width: 0; }
.card.idle { border-style: dashed; }
.card.plays { border-color: var(--own); box-shadow: inset 0 0 0 1px var(--own); }
.card .top { display: flex; justify-content: space-between; gap: 1rem; font-weight: 600; }
.card.idle .top { color: var(--quiet); font-weight: 400; }
.card .quiet { margin-bottom: 0.5rem; }
.card .bars { grid-template-columns: minmax(4rem, 6.5rem) minmax(2rem, 1fr) 2.8rem; gap: 0 0.6rem; }
.bars + .quiet, .planes + .quiet, .hand + .quiet { margin-top: 0.8rem; }
svg { display: block; width: 100%; height: auto; max-height: 24rem; }
svg text { font-size: 13px; fill: var(--quiet); }
svg .series { font-weight: 600; }
svg .grid { stroke: var(--line); }
svg polyline { fill: none; stroke-width: 2; stroke-linejoin: round; }
svg .reference { stroke-dasharray: 1 5; stroke-linecap: round; stroke-width: 2.5; }
svg .image { stroke-width: 3; }
table { border-collapse: collapse; font-size: 0.92rem; }
th { padding: 0.2rem 2rem 0.2rem 0; font-weight: 400; color: var(--quiet); text-align: left; vertical-align: top; }
td { padding: 0.2rem 0; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
footer { margin-top: 1.25rem; }
@media (min-width: 52rem) { .answer { grid-template-columns: 26rem minmax(0, 1fr); } }
@media print { body { max-width: none; padding: 0; } section { break-inside: avoid; } }
"""
